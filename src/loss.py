# SPDX-License-Identifier: Apache-2.0
"""The RetinaFace manual's src.loss."""
from src.retinaface.loss import MultiBoxLoss

__all__ = ["MultiBoxLoss"]
