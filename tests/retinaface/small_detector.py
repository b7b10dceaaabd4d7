# SPDX-License-Identifier: Apache-2.0
"""A detector of one matrix for images of 16 pixels, for tests of what stands behind the network."""
import numpy as np
from mindspore import Tensor, nn

from src.retinaface.anchors import anchor_count, prior_box
from src.retinaface.matching import match

SIDE = 16
ANCHORS = anchor_count(SIDE)
NUMBERS = (4, 2, 10)


class SmallDetector(nn.Cell):
    """[B, 3, 16, 16] -> bbox [B, 12, 4], conf [B, 12, 2], landm [B, 12, 10]."""

    def __init__(self):
        super().__init__()
        weight = np.random.default_rng(0).normal(0, 1e-3, (ANCHORS * sum(NUMBERS), 3 * SIDE * SIDE))
        self.dense = nn.Dense(3 * SIDE * SIDE, ANCHORS * sum(NUMBERS), Tensor(weight.astype(np.float32)), "zeros")

    def construct(self, images: Tensor) -> tuple:
        x = self.dense(images.reshape(images.shape[0], -1)).reshape(images.shape[0], ANCHORS, sum(NUMBERS))
        return x[..., :4], x[..., 4:6], x[..., 6:]


def batch(images: int, seed: int = 0) -> list[np.ndarray]:
    """image uint8 [B, 16, 16, 3] and targets; each image has one bright face with landmarks."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(images):
        image = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        x, y = rng.integers(0, 4, 2)
        image[y:y + 12, x:x + 12] += 150
        box = np.array([(x, y, x + 12, y + 12)]) / SIDE
        points = np.array([(x + 3, y + 4, x + 9, y + 4, x + 6, y + 6, x + 4, y + 9, x + 8, y + 9)]) / SIDE
        samples.append((image, *match(0.35, box, prior_box((SIDE, SIDE)), (0.1, 0.2), [1], points)))
    return [np.stack(column) for column in zip(*samples)]
