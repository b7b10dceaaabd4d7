# SPDX-License-Identifier: Apache-2.0
"""Detectors for files that were exported for one size of input, or for one number of images.

    detector = FixedSizeDetector((640, 832), forward, decode, **options)      # height, width
    forward = fill_batch(forward, 4)                                          # takes 1 to 4 images, or more
"""
from typing import Any, Callable

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.detectors.option_rules import ORIGINAL
from dependency.centernet.src.lib.utils.image import Placement, place
from dependency.errors import InputError

Forward = Callable[[np.ndarray], tuple[np.ndarray, ...]]


class FixedSizeDetector(BaseDetector):
    """A detector whose network takes one size: images are fitted into it at the top left, proportions kept.

    Args:
        size: (height, width) of the network's input.
        forward, decode, **options: as `BaseDetector`; `test_size` and `pad` do not apply.
    """

    def __init__(self, size: tuple[int, int], forward: Forward, decode: Callable[..., np.ndarray], **options: Any):
        super().__init__(forward, decode, **{**options, "test_size": ORIGINAL, "pad": None})
        if max(self.test_scales) > 1:
            raise InputError(f"test_scales {list(self.test_scales)}: the file takes {size[1]} x {size[0]} pixels, "
                             "scales over 1 do not fit in; export it with --input_h 0 --input_w 0")
        self.size = size

    def pre_process(self, image: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, Placement]:
        """Make the network's input uint8 [H, W, 3]; returns it with the place of the image on it."""
        factor = scale * min(side / own for side, own in zip(self.size, image.shape))
        placement = Placement(factor, 0.0, 0.0)
        return place(image, placement, *self.size, self.fill), placement


def fill_batch(forward: Forward, batch: int) -> Forward:
    """Turn a network for `batch` images into one for any number; the last image fills an incomplete batch."""
    def filled(images: np.ndarray) -> tuple[np.ndarray, ...]:
        count = len(images)
        images = np.concatenate([images, np.repeat(images[-1:], -count % batch, axis=0)])
        parts = [forward(images[start:start + batch]) for start in range(0, len(images), batch)]
        return tuple(np.concatenate(each)[:count] for each in zip(*parts))
    return filled
