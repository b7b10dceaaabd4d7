# SPDX-License-Identifier: Apache-2.0
"""The anchors ("priors") of RetinaFace: two squares in every cell of the maps at stride 8, 16 and 32.

    priors = prior_box((840, 840))          # float32 [29126, 4]: centre x, centre y, width, height
    anchor_count(840)                       # 29126

Anchors are shares of the input's width and height (0..1), in the order of the network's output: level, row, column,
size.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

MIN_SIZES = ((16, 32), (64, 128), (256, 512))
STEPS = (8, 16, 32)
# Anchors of a large photograph take 4 MB; an evaluation meets many sizes.
CACHED_SIZES = 16
LARGEST_SIDE = 4096


def prior_box(image_sizes: Sequence[int], min_sizes: Sequence[Sequence[int]] = MIN_SIZES,
              steps: Sequence[int] = STEPS, clip: bool = False) -> np.ndarray:
    """Anchors of an input of this size (Deng et al. 2019, section 4.2; one aspect ratio).

    A map has ceil(side / step) cells, so that centres of the last row and column may lie outside the input.

    Args:
        image_sizes: (height, width) of the input in pixels.
        min_sizes: sides of a cell's anchors in pixels, per level.
        steps: pixels per cell, per level.
        clip: limit all four numbers to 0..1.

    Returns:
        float32 [N, 4] centre x, centre y, width, height; read-only, the same array for the same arguments.
    """
    height, width = image_sizes
    return _priors(int(height), int(width), tuple(map(tuple, min_sizes)), tuple(steps), bool(clip))


def anchor_count(image_size: int | Sequence[int]) -> int:
    """Number of anchors of a square input of this side, or of (height, width), in pixels."""
    height, width = (image_size, image_size) if np.ndim(image_size) == 0 else image_size
    return sum(-(-height // step) * -(-width // step) * len(sizes) for step, sizes in zip(STEPS, MIN_SIZES))


def square_side(count: int) -> int | None:
    """The side of the largest square input with `count` anchors; None when no square up to 4096 has so many."""
    sides = range(STEPS[0], LARGEST_SIDE + 1, STEPS[0])
    return next((side for side in sides if anchor_count(side) == count), None)


@lru_cache(maxsize=CACHED_SIZES)
def _priors(height: int, width: int, min_sizes: tuple, steps: tuple, clip: bool) -> np.ndarray:
    levels = []
    for step, sizes in zip(steps, min_sizes):
        rows, columns = -(-height // step), -(-width // step)
        level = np.empty((rows, columns, len(sizes), 4), np.float64)
        level[..., 0] = ((np.arange(columns) + 0.5) * step / width)[None, :, None]
        level[..., 1] = ((np.arange(rows) + 0.5) * step / height)[:, None, None]
        level[..., 2] = np.array(sizes) / width
        level[..., 3] = np.array(sizes) / height
        levels.append(level.reshape(-1, 4))
    priors = np.concatenate(levels).astype(np.float32)
    if clip:
        priors = priors.clip(0, 1)
    priors.setflags(write=False)
    return priors
