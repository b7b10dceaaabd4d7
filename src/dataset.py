# SPDX-License-Identifier: Apache-2.0
"""The RetinaFace manual's src.dataset."""
from src.retinaface.dataset import create_dataset

__all__ = ["create_dataset"]
