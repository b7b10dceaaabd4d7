# SPDX-License-Identifier: Apache-2.0
"""Fit images to the network's input, and bring points back to the image.

    canvas, placement = letterbox(image, 832)
    boxes = placement.to_image(boxes_on_canvas)

Images are BGR uint8 [H, W, 3]. Coordinates are pixels with x to the right; a box x..x + w covers pixels x to
x + w - 1.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

STRIDE = 32
BLACK = (0, 0, 0)
# Left and right eye, left and right mouth corner change places in a mirrored face.
FLIP_INDEX = (1, 0, 2, 4, 3)


class Placement(NamedTuple):
    """Where an image lies on a canvas: canvas = image * scale + (dx, dy), in pixels."""
    scale: float
    dx: float
    dy: float

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Convert points [..., 2] (x, y) from canvas pixels to image pixels."""
        return (points - np.array((self.dx, self.dy), np.float32)) / np.float32(self.scale)


def place(image: np.ndarray, placement: Placement, height: int, width: int,
          fill: Sequence[float] = BLACK) -> np.ndarray:
    """Draw `image` on a canvas [height, width, 3] of one colour, bilinear between pixel centres.

    An image shrunk to less than half is first reduced by area averaging, since a bilinear warp alone would skip
    pixels.
    """
    scale, dx, dy = placement
    factor_x = factor_y = 1.0
    if scale < 0.5:
        reduced = [max(1, round(side * scale * 2)) for side in image.shape[1::-1]]
        factor_x, factor_y = reduced[0] / image.shape[1], reduced[1] / image.shape[0]
        image = cv2.resize(image, reduced, interpolation=cv2.INTER_AREA)
    # Pixel centres: source = (target + 0.5 - dx) / scale - 0.5, then the same for the reduced image.
    matrix = np.array([[factor_x / scale, 0, (0.5 - dx) / scale * factor_x - 0.5],
                       [0, factor_y / scale, (0.5 - dy) / scale * factor_y - 0.5]], np.float64)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_CONSTANT, borderValue=tuple(fill))


def letterbox(image: np.ndarray, size: int, fill: Sequence[float] = BLACK) -> tuple[np.ndarray, Placement]:
    """Fit an image into a square, proportions kept, centred, one colour around it (the manual's 832 protocol).

    Args:
        image: uint8 [H, W, 3].
        size: side of the square; the longer side of the image becomes `size`.
        fill: blue, green and red around the image.

    Returns:
        (canvas uint8 [size, size, 3], placement)
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    placement = Placement(scale, (size - scale * width) / 2, (size - scale * height) / 2)
    return place(image, placement, size, size, fill), placement


def pad_to_multiple(image: np.ndarray, multiple: int = STRIDE, scale: float = 1.0,
                    fill: Sequence[float] = BLACK) -> tuple[np.ndarray, Placement]:
    """Add columns at the right and rows at the bottom until both sides are multiples of `multiple`.

    Args:
        image: uint8 [H, W, 3].
        multiple: the network's coarsest stride; 1 adds nothing.
        scale: resize first; at 1.0 no pixel is resampled.
        fill: blue, green and red of what is added.

    Returns:
        (canvas uint8 [H', W', 3], placement)
    """
    scaled = resize(image, scale)
    height, width = (round_up(side, multiple) for side in scaled.shape[:2])
    return _extend(scaled, height, width, fill), Placement(scale, 0.0, 0.0)


def pad_to_square(image: np.ndarray, side: int, scale: float = 1.0,
                  fill: Sequence[float] = BLACK) -> tuple[np.ndarray, Placement]:
    """Add columns at the right and rows at the bottom up to a square of `side` pixels, or larger if need be.

    Arguments and result as in `pad_to_multiple`.
    """
    scaled = resize(image, scale)
    side = max(side, *scaled.shape[:2])
    return _extend(scaled, side, side, fill), Placement(scale, 0.0, 0.0)


def resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Scale the image, sides rounded, at least one pixel each; the same array for 1.0.

    Bilinear, as the published protocols do; by area averaging under one half, where bilinear skips pixels.
    """
    if scale == 1.0:
        return image
    if round(min(image.shape[:2]) * scale) < 1:
        width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    # Factors, not sides: the sides are rounded, the coordinates are not.
    interpolation = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)


def shrink(image: np.ndarray, longest: int | None) -> tuple[np.ndarray, tuple[float, float]]:
    """Shrink an image to `longest` on its longer side (None: never); returns it with its scales along x and y.

    The sides are whole pixels, so that the two scales differ, by much where the image is thin.
    """
    scale = min(1.0, (longest or np.inf) / max(image.shape[:2]))
    if scale == 1.0:
        return image, (1.0, 1.0)
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    scales = width / image.shape[1], height / image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), scales


def _extend(image: np.ndarray, height: int, width: int, fill: Sequence[float]) -> np.ndarray:
    bottom, right = height - image.shape[0], width - image.shape[1]
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=tuple(fill))


def round_up(value: float, multiple: int) -> int:
    """Round up to a multiple of `multiple`, at least one of them."""
    return max(1, int(np.ceil(value / multiple))) * multiple
