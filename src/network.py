# SPDX-License-Identifier: Apache-2.0
"""The RetinaFace manual's src.network."""
from src.retinaface.loss import RetinaFaceWithLossCell, TrainingWrapper
from src.retinaface.network import ResNet, RetinaFace, mobilenet025, resnet50

__all__ = ["ResNet", "RetinaFace", "RetinaFaceWithLossCell", "TrainingWrapper", "mobilenet025", "resnet50"]
