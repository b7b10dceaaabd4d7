# SPDX-License-Identifier: Apache-2.0
"""The anchors ("priors") of RetinaFace, and boxes and landmarks as offsets from them.

    priors = prior_box((840, 840))                  # float32 [29126, 4]: centre x, centre y, width, height
    loc = bbox_encode(boxes, priors, VARIANCE)      # row i belongs to prior i
    boxes = decode_bbox(loc, priors, VARIANCE)

There are two squares in every cell of the maps at stride 8, 16 and 32, in the order of the network's output: level,
row, column, size. Anchors, boxes (xyxy) and landmarks are relative to the input's width and height (0..1). Decoders
take leading batch dimensions.

Offsets of a box (Ren et al. 2015, arXiv 1506.01497, equation 2, divided by the variances v as in SSD, arXiv
1512.02325): t_xy = (centre - prior_xy) / (v0 prior_wh), t_wh = ln(wh / prior_wh) / v1; of a landmark p:
t = (p - prior_xy) / (v0 prior_wh).
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

MIN_SIZES = ((16, 32), (64, 128), (256, 512))
STEPS = (8, 16, 32)
# Anchors of a large photograph take 4 MB, and an evaluation has images of many sizes.
CACHED_SIZES = 16
LARGEST_SIDE = 4096
POINTS = 5
# Scale of the offsets: of centre and landmarks, of size.
VARIANCE = (0.1, 0.2)
# ln of a side of zero must stay finite.
SMALLEST_RATIO = 1e-12


def prior_box(image_sizes: Sequence[int], min_sizes: Sequence[Sequence[int]] = MIN_SIZES,
              steps: Sequence[int] = STEPS, clip: bool = False) -> np.ndarray:
    """Return the anchors of an input of this size (Deng et al. 2019, arXiv 1905.00641, section 4.2; one aspect ratio).

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
    """Count the anchors of a square input of this side, or of (height, width), in pixels."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return sum(-(-height // step) * -(-width // step) * len(sizes) for step, sizes in zip(STEPS, MIN_SIZES))


def square_side(count: int) -> int | None:
    """Find the side of the largest square input with `count` anchors; None when no square up to 4096 has so many."""
    sides = range(STEPS[0], LARGEST_SIDE + 1, STEPS[0])
    return next((side for side in sides if anchor_count(side) == count), None)


def bbox_encode(matched: np.ndarray, priors: np.ndarray, variances: Sequence[float]) -> np.ndarray:
    """Encode boxes [N, 4] xyxy as offsets [N, 4] float32 from their priors [N, 4]."""
    centres = (matched[:, :2] + matched[:, 2:]) / 2
    ratios = (matched[:, 2:] - matched[:, :2]) / priors[:, 2:]
    offsets = (centres - priors[:, :2]) / (variances[0] * priors[:, 2:])
    sizes = np.log(np.maximum(ratios, SMALLEST_RATIO)) / variances[1]
    return np.concatenate([offsets, sizes], axis=1).astype(np.float32)


def landmark_encode(matched: np.ndarray, priors: np.ndarray, variances: Sequence[float]) -> np.ndarray:
    """Encode landmarks [N, 10] (x, y of five points) as offsets [N, 10] float32 from their priors [N, 4]."""
    points = matched.reshape(-1, POINTS, 2)
    offsets = (points - priors[:, None, :2]) / (variances[0] * priors[:, None, 2:])
    return offsets.reshape(-1, 2 * POINTS).astype(np.float32)


def decode_bbox(bbox: np.ndarray, priors: np.ndarray, variance: Sequence[float]) -> np.ndarray:
    """Decode offsets [..., N, 4] to boxes [..., N, 4] xyxy, as shares of the input."""
    centres = priors[:, :2] + bbox[..., :2] * (priors[:, 2:] * np.float32(variance[0]))
    halves = priors[:, 2:] * np.exp(bbox[..., 2:] * np.float32(variance[1])) / 2
    return np.concatenate([centres - halves, centres + halves], axis=-1)


def decode_landm(landm: np.ndarray, priors: np.ndarray, variance: Sequence[float]) -> np.ndarray:
    """Decode offsets [..., N, 10] to landmarks [..., N, 10] (x, y of five points), as shares of the input."""
    points = landm.reshape(*landm.shape[:-1], POINTS, 2)
    decoded = priors[:, None, :2] + points * (priors[:, None, 2:] * np.float32(variance[0]))
    return decoded.reshape(landm.shape)


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
