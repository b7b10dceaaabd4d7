# SPDX-License-Identifier: Apache-2.0
"""Two images of 64 pixels with known targets and known losses (an independent implementation agreed to 7 digits)."""
import numpy as np

from src.retinaface.anchors import prior_box
from src.retinaface.matching import match

SIDE, ANCHORS = 64, 168
VARIANCES = (0.1, 0.2)
PRIORS = prior_box((SIDE, SIDE))
BOXES = (np.array([(8, 8, 24, 24), (30, 10, 62, 50), (1, 50, 5, 54)]) / SIDE, np.array([(20, 20, 44, 48)]) / SIDE)
LABELS = (np.array([1, -1, -1]), np.array([1]))
LANDMARKS = (np.array([(12, 13, 20, 13, 16, 16, 13, 20, 19, 20), (0,) * 10, (0,) * 10]) / SIDE,
             np.array([(26, 28, 38, 28, 32, 34, 27, 41, 37, 41)]) / SIDE)


def targets(**options) -> list[np.ndarray]:
    """loc [2, 168, 4], conf [2, 168], landm [2, 168, 10] of both images."""
    images = [match(0.35, boxes, PRIORS, VARIANCES, labels, landmarks, **options)
              for boxes, labels, landmarks in zip(BOXES, LABELS, LANDMARKS)]
    return [np.stack(column) for column in zip(*images)]


def predictions() -> list[np.ndarray]:
    """loc, conf logits and landm of both images, made of sines."""
    def wave(function, scale, step, numbers):
        place = numbers * np.arange(ANCHORS)[None, :, None] + np.arange(numbers)
        return (scale * function(step * place + np.arange(2)[:, None, None])).astype(np.float32)
    return [wave(np.sin, 0.1, 0.37, 4), wave(np.cos, 1.0, 0.53, 2), wave(np.sin, 0.2, 0.11, 10)]
