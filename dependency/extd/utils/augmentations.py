# SPDX-License-Identifier: Apache-2.0
"""Choosing which square of an image to train on; the square becomes the whole network input.

    window = crop_window(boxes, height, width, input_size, rng)        # Window(x, y, side) in image pixels

`data-anchor sampling` is that of PyramidBox (Tang et al. 2018, section 3.4) and EXTD (Yoo et al. 2019): pick a face,
pick a smaller anchor size, scale the image so that the face gets that size, cut a square around it.
"""
from typing import NamedTuple

import numpy as np

ANCHORS = (16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 128, 256, 512)
# A face is shrunk to an anchor among the first eleven at most (CenterFace reference).
LARGEST_TARGET = 11
# No crop shows less than this many image pixels a side, or enlarges the image more than this.
MAX_ENLARGEMENT = 4.0


class Window(NamedTuple):
    """A square of the image: top-left corner and side in image pixels; it may stick out of the image."""
    x: float
    y: float
    side: float

    def reduction(self, size: int) -> int:
        """Return how many times smaller the image may be decoded before this square becomes `size` pixels a side."""
        return int(reduction(self.side / size))

    def reduced(self, factor: int) -> "Window":
        """Return this square in the pixels of the image that is `factor` times smaller."""
        return Window(self.x / factor, self.y / factor, self.side / factor)


def reduction(shrink: float) -> np.ndarray:
    """Return the largest factor of 1, 2, 4 and 8, those of JPEG decoders, up to `shrink` (one, or an array)."""
    return 2 ** np.floor(np.log2(np.clip(shrink, 1, 8))).astype(int)


def sampling_ratio(face_side: float, rng: np.random.Generator) -> float:
    """Draw the factor by which data-anchor sampling scales an image whose chosen face has this side (pixels)."""
    nearest = int(np.argmin(np.abs(np.array(ANCHORS) - face_side)))
    target = ANCHORS[rng.integers(min(nearest + 1, LARGEST_TARGET))]
    return target / face_side * 2 ** rng.uniform(-1, 1)


def anchor_window(boxes: np.ndarray, height: int, width: int, input_size: int, rng: np.random.Generator) -> Window:
    """Draw the window of data-anchor sampling, as a true crop: a square that contains a random face at its new size.

    Args:
        boxes: [N, 4] xyxy image pixels, N > 0, the faces to choose among.
        height, width: of the image.
        input_size: side of the network input.
    """
    x1, y1, x2, y2 = boxes[rng.integers(len(boxes))]
    ratio = min(sampling_ratio(np.sqrt((x2 - x1 + 1) * (y2 - y1 + 1)), rng), MAX_ENLARGEMENT)
    side = input_size / ratio
    return Window(_around(x1, x2, width, side, rng), _around(y1, y2, height, side, rng), side)


def square_window(boxes: np.ndarray, height: int, width: int, scales: tuple[float, float],
                  rng: np.random.Generator) -> Window:
    """Draw a random square around a random face, or anywhere if there are no faces.

    Its side is a uniform share of the longer side of the image, or the longer side of the face if that is larger.
    """
    side = max(height, width) * rng.uniform(*scales)
    if len(boxes) == 0:
        return Window(_inside(width, side, rng), _inside(height, side, rng), side)
    x1, y1, x2, y2 = boxes[rng.integers(len(boxes))]
    side = max(side, x2 - x1, y2 - y1)
    return Window(_around(x1, x2, width, side, rng), _around(y1, y2, height, side, rng), side)


def whole_window(height: int, width: int) -> Window:
    """Return the smallest square around the whole image, centred, as the letterbox of the test shows it."""
    side = float(max(height, width))
    return Window((width - side) / 2, (height - side) / 2, side)


def reference_window(height: int, width: int, rng: np.random.Generator) -> Window:
    """Draw the crop of the CenterFace reference: side max(h, w) * (0.60, 0.65 .. 0.95), centre away from the borders.

    Scaling the image before this crop has no effect on the faces' size, since the side follows the scaled image:
    the reference's data-anchor sampling only blurs. Kept for parity (`--data_anchor reference`).
    """
    side = max(height, width) * rng.choice(np.arange(0.6, 0.951, 0.05))
    centre = []
    for extent in (width, height):
        border = extent * rng.choice((0.1, 0.2, 0.25))
        while extent - border <= border:
            border /= 2
        centre.append(rng.uniform(border, extent - border))
    return Window(centre[0] - side / 2, centre[1] - side / 2, side)


def _around(low: float, high: float, extent: int, side: float, rng: np.random.Generator) -> float:
    """Draw a start so that [start, start + side] holds [low, high], and as little as possible lies outside the image.

    If [low, high] is longer than `side`, the window holds its middle.
    """
    if high - low >= side:
        low = high = (low + high) / 2
    first, last = high - side, low
    if side <= extent:
        # Enough image on both sides: stay inside it as far as the face allows.
        first, last = min(max(first, 0), low), max(min(last, extent - side), high - side)
    else:
        first, last = min(max(first, extent - side), low), max(min(last, 0), high - side)
    return rng.uniform(min(first, last), max(first, last))


def _inside(extent: int, side: float, rng: np.random.Generator) -> float:
    return rng.uniform(min(0.0, extent - side), max(0.0, extent - side))
