# SPDX-License-Identifier: Apache-2.0
"""Sample functions that worker processes can import."""
import os
import signal
import time
from dataclasses import dataclass

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.extd.utils.augmentations import Window
from src.data.training_set import BadImageError


def sample(index, rng):
    return np.array([index, rng.integers(1 << 30)], np.int64), np.full((2, 2), index, np.uint8)


def late_sample(index, rng):
    image, mark = sample(index, rng)
    return image, mark + 100


@dataclass(frozen=True)
class Unreadable:
    """A sample function for which these images cannot be read."""
    bad: tuple

    def __call__(self, index, rng):
        if index in self.bad:
            raise BadImageError(f"{index}.jpg: not a readable image", index)
        return sample(index, rng)


def unreadable(*bad):
    return Unreadable(bad)


def signalled(index, rng):
    """Each worker gets the signals of a stop of the whole job."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    return sample(index, rng)


def slow(index, rng):
    time.sleep(0.2)
    return sample(index, rng)


def smooth_photograph(folder):
    """A JPEG of 1280 x 960 without fine detail; gives its Record, of five faces."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (5, 5), 0)
    cv2.imwrite(str(folder / "smooth.jpg"), cv2.resize(noise, (1280, 960), interpolation=cv2.INTER_CUBIC))
    corners, sides = rng.uniform(0, 800, (5, 2)), rng.uniform(60, 160, (5, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    points = (boxes[:, None, :2] + rng.random((5, 5, 2)) * sides[:, None]).astype(np.float32)
    return Record("smooth.jpg", boxes, points, np.full((5, 5), 2, np.uint8), np.zeros(5, bool), 960, 1280)


def check_smaller_images(samples, monkeypatch):
    """The samples of an image that is decoded smaller look like those of the whole one; their targets are the same."""
    factors = []
    reduction = Window.reduction
    monkeypatch.setattr(Window, "reduction", lambda *args: factors.append(reduction(*args)) or factors[-1])
    smaller = [samples(0, np.random.default_rng(seed)) for seed in range(12)]
    monkeypatch.setattr(Window, "reduction", lambda *args: 1)
    for seed, (image, *targets) in enumerate(smaller):
        whole, *expected = samples(0, np.random.default_rng(seed))
        assert np.abs(image.astype(int) - whole).mean() < 3 and whole.std() > 10
        for column, other in zip(targets, expected):
            np.testing.assert_array_equal(column, other)
    assert max(factors) >= 4
