# SPDX-License-Identifier: Apache-2.0
"""Change pixels and points of a training sample: cut and scale a window, mirror, jitter colours.

All images are uint8 BGR [H, W, 3]; points and boxes are float32 pixels; randomness comes from a Generator.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.utils.image import FLIP_INDEX, Placement, place
from dependency.extd.utils.augmentations import Window

# Eigenvalues and eigenvectors of ImageNet's pixel colours (Krizhevsky et al. 2012), BGR order.
LIGHTING_VALUES = np.array([0.2141788, 0.01817699, 0.00341571], np.float32)
LIGHTING_VECTORS = np.array([[-0.58752847, -0.69563484, 0.41340352],
                             [-0.5832747, 0.00994535, -0.81221408],
                             [-0.56089297, 0.71832671, 0.41158938]], np.float32)
GREY_WEIGHTS = np.array([0.114, 0.587, 0.299])


class View(NamedTuple):
    """What one window shows: uint8 BGR image [S, S, 3]; boxes [N, 4], landmarks [N, 5, 2] in its pixels, visibility
    [N, 5], ignore [N]."""
    image: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray
    visibility: np.ndarray
    ignore: np.ndarray


def join_views(views: Sequence[View]) -> View:
    """Join four views of one size to one of twice the side, two in a row: a mosaic."""
    side = len(views[0].image)
    corners = np.array([(0, 0), (side, 0), (0, side), (side, side)], np.float32)
    image = np.concatenate([np.concatenate([views[row].image, views[row + 1].image], axis=1) for row in (0, 2)])
    return View(image,
                np.concatenate([view.boxes + np.tile(corner, 2) for view, corner in zip(views, corners)]),
                np.concatenate([view.landmarks + corner for view, corner in zip(views, corners)]),
                np.concatenate([view.visibility for view in views]), np.concatenate([view.ignore for view in views]))


def cut(image: np.ndarray, window: Window, size: int) -> np.ndarray:
    """Cut out the window, scaled to [size, size, 3], black outside the image; sampled as `letterbox` does."""
    scale = size / window.side
    return place(image, Placement(scale, -window.x * scale, -window.y * scale), size, size)


def to_window(points: np.ndarray, window: Window, size: int, pixel_offset: float = 0.0) -> np.ndarray:
    """Convert image pixels [..., 2] to pixels of the `size` input that shows the window.

    Args:
        pixel_offset: 0 where coordinates are edges of pixels, 0.5 where they are centres of pixels; the same in the
            image and in the input.
    """
    places = (points + pixel_offset - (window.x, window.y)) * (size / window.side)
    return (places - pixel_offset).astype(np.float32)


def flip_boxes(boxes: np.ndarray, width: int, pixel_offset: float = 0.0) -> np.ndarray:
    """Mirror xyxy boxes [N, 4] in an image of this width; `pixel_offset` as in `to_window`."""
    last = width - 2 * pixel_offset
    return np.stack([last - boxes[:, 2], boxes[:, 1], last - boxes[:, 0], boxes[:, 3]], axis=1)


def flip_landmarks(landmarks: np.ndarray, visibility: np.ndarray, width: int,
                   pixel_offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Mirror landmarks [N, 5, 2] and exchange left and right, in the points and in their visibility [N, 5]."""
    mirrored = landmarks[:, FLIP_INDEX].copy()
    mirrored[..., 0] = width - 2 * pixel_offset - mirrored[..., 0]
    return mirrored, visibility[:, FLIP_INDEX]


def colour_jitter(image: np.ndarray, rng: np.random.Generator, strength: float = 0.4,
                  lighting: float = 0.1) -> np.ndarray:
    """Scale brightness, contrast and saturation by 1 +- `strength` in random order, then add PCA lighting.

    Each of these maps a pixel's three values linearly to three others, so that all together are one matrix [3, 4].

    Args:
        lighting: its standard deviation.
    """
    matrix = np.eye(3, 4)
    mean = GREY_WEIGHTS @ cv2.mean(image)[:3]
    for step in rng.permutation(3):
        factor = 1 + rng.uniform(-strength, strength)
        base = np.zeros(4)
        if step == 0:
            mean *= factor
        elif step == 1:
            base[3] = mean
        else:
            base = GREY_WEIGHTS @ matrix
        matrix = base + (matrix - base) * factor
    matrix[:, 3] += 255 * LIGHTING_VECTORS @ (rng.normal(0, lighting, 3) * LIGHTING_VALUES)
    return cv2.transform(image, matrix)
