# SPDX-License-Identifier: Apache-2.0
"""Computes how much boxes and ellipses overlap in pixels, as the FDDB evaluation program counts them.

    iou = box_overlaps_ellipses(boxes, ellipses, (height, width))        # [N, K]

The program paints every region with OpenCV into a mask of the image's size and counts pixels, so
- an ellipse has its centre rounded, its half axes cut down to whole pixels and its angle rounded to a degree;
- a box x y w h reaches from round(x), round(y) to round(x + w), round(y + h), both ends included;
- pixels outside the image do not count.

Boxes are xywh pixels, ellipses rows of half major axis, half minor axis, angle in radians against the x axis,
centre x, centre y (the columns of FDDB's lists).  Here an ellipse is painted once, into a window of its own size, and
its sums over the window give the pixels that it shares with any number of boxes.
"""
from typing import NamedTuple, Optional

import cv2
import numpy as np

Size = Optional[tuple[int, int]]
MAX_PIXEL = 1 << 30     # coordinates are clipped to this before they become integers
MARGIN = 2              # the painted outline may lie a pixel outside of the exact one


class Mask(NamedTuple):
    """A painted region: left and top pixel of its window, and the window, bool [h, w]."""
    left: int
    top: int
    pixels: np.ndarray


def ellipse_boxes(ellipses: np.ndarray) -> np.ndarray:
    """Return the bounding boxes [K, 4] float64 xyxy of ellipses [K, 5]."""
    major, minor, angle, x, y = np.asarray(ellipses, np.float64).reshape(-1, 5).T
    half_width = np.hypot(major * np.cos(angle), minor * np.sin(angle))
    half_height = np.hypot(major * np.sin(angle), minor * np.cos(angle))
    return np.column_stack([x - half_width, y - half_height, x + half_width, y + half_height])


def paint_ellipse(ellipse: np.ndarray, size: Size = None) -> Mask:
    """Paint one ellipse [5], clipped to an image of `size` (height, width) if that is known."""
    major, minor, angle, x, y = map(float, ellipse)
    centre = int(np.rint(np.float32(x))), int(np.rint(np.float32(y)))
    axes, degrees = (int(major), int(minor)), round(np.degrees(angle))
    exact = ellipse_boxes(np.array([[*axes, np.radians(degrees), *centre]]))[0]
    low, high = np.floor(exact[:2]).astype(int) - MARGIN, np.ceil(exact[2:]).astype(int) + MARGIN + 1
    if size is not None:
        low, high = low.clip(0), np.minimum(high, [size[1], size[0]])
    width, height = (high - low).clip(0).tolist()
    painted = np.zeros((height, width), np.uint8)
    if painted.size:
        cv2.ellipse(painted, (centre[0] - int(low[0]), centre[1] - int(low[1])), axes, degrees, 0, 360, 1, cv2.FILLED)
    return Mask(int(low[0]), int(low[1]), painted.astype(bool))


def box_pixels(boxes: np.ndarray, size: Size = None) -> np.ndarray:
    """Return first column, first row, and one past the last column and row, [N, 4] int64, of boxes [N, 4] xywh."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    ends = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).clip(-MAX_PIXEL, MAX_PIXEL)
    ends = np.rint(ends.astype(np.float32)).astype(np.int64)
    low, high = np.minimum(ends[:, :2], ends[:, 2:]), np.maximum(ends[:, :2], ends[:, 2:]) + 1
    if size is not None:
        limit = np.array([size[1], size[0]])
        low, high = low.clip(0, limit), high.clip(0, limit)
    return np.concatenate([low, high], axis=1)


def box_overlaps_ellipses(boxes: np.ndarray, ellipses: np.ndarray, size: Size = None) -> np.ndarray:
    """Compute the intersection over union of every box with every ellipse, in pixels.

    Args:
        boxes: [N, 4] xywh pixels.
        ellipses: [K, 5].
        size: (height, width) of the image; None does not clip.

    Returns:
        [N, K] float64; 0 if no pixel is shared.
    """
    pixels = box_pixels(boxes, size)
    areas = (pixels[:, 2] - pixels[:, 0]) * (pixels[:, 3] - pixels[:, 1])
    result = np.zeros((len(pixels), len(ellipses)))
    for index, ellipse in enumerate(ellipses):
        mask = paint_ellipse(ellipse, size)
        height, width = mask.pixels.shape
        left, right = ((pixels[:, column] - mask.left).clip(0, width) for column in (0, 2))
        top, bottom = ((pixels[:, column] - mask.top).clip(0, height) for column in (1, 3))
        sums = np.zeros((height + 1, width + 1), np.int64)
        np.cumsum(np.cumsum(mask.pixels, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
        shared = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        union = areas + sums[-1, -1] - shared
        np.divide(shared, union, out=result[:, index], where=shared > 0)
    return result


def ellipse_overlaps(detected: np.ndarray, ellipses: np.ndarray, size: Size = None) -> np.ndarray:
    """Compute the intersection over union [N, K] of detected ellipses [N, 5] with annotated ones [K, 5]."""
    painted = [paint_ellipse(ellipse, size) for ellipse in detected]
    result = np.zeros((len(painted), len(ellipses)))
    for column, ellipse in enumerate(ellipses):
        mask = paint_ellipse(ellipse, size)
        for row, other in enumerate(painted):
            shared = _shared(mask, other)
            if shared:
                union = np.count_nonzero(mask.pixels) + np.count_nonzero(other.pixels) - shared
                result[row, column] = shared / union
    return result


def _shared(one: Mask, two: Mask) -> int:
    """Count the pixels that belong to both."""
    left, top = max(one.left, two.left), max(one.top, two.top)
    right = min(mask.left + mask.pixels.shape[1] for mask in (one, two))
    bottom = min(mask.top + mask.pixels.shape[0] for mask in (one, two))
    if right <= left or bottom <= top:
        return 0
    parts = [mask.pixels[top - mask.top:bottom - mask.top, left - mask.left:right - mask.left] for mask in (one, two)]
    return int(np.count_nonzero(parts[0] & parts[1]))
