# SPDX-License-Identifier: Apache-2.0
"""The RetinaFace manual's src.lr_schedule."""
from src.retinaface.lr_schedule import adjust_learning_rate

__all__ = ["adjust_learning_rate"]
