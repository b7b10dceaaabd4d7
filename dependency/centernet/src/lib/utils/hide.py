# SPDX-License-Identifier: Apache-2.0
"""Make faces unrecognisable in an image.

    hidden = Hide("blur").apply(image, faces.boxes)
    hidden = Hide("mosaic", mask="box", grow=1.5).apply(image, boxes)
    hidden = Hide(read_cover("smiley.png")).apply(image, boxes)

Images are BGR uint8 [H, W, 3], boxes xyxy pixels. Blur and mosaic keep only a few colours of a face of any size,
too few to recognise a person; "solid" keeps nothing.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dependency.centernet.src.lib.detectors.option_rules import number, one_of
from dependency.errors import InputError
from dependency.files import existing_file, plain_text

STYLES = ("blur", "mosaic", "solid")
MASKS = ("ellipse", "box")
GROW, GROWS = 1.3, number(0.1, 10)
# Of the longer side of what is hidden: at most so many colours, each at least so many pixels wide.
CELLS, CELL = 6, 4
# At the border of an image, where a box is cut off, it is made longer by this share: an ellipse fills its corners.
OUTSIDE = 0.5
BORDER = 1.5
SHIFT = 4       # binary digits after the point in OpenCV's coordinates


@dataclass(frozen=True)
class Hide:
    """How faces are hidden.

    style: one of `STYLES`, or a picture uint8 [h, w, 3] or [h, w, 4] (with alpha) that is laid over blurred faces.
    mask: what is hidden of the box: an "ellipse" in it, or all of the "box".
    grow: sides of what is hidden over those of the box.

    Raises:
        InputError: another style, mask or number.
    """
    style: str | np.ndarray = "blur"
    mask: str = "ellipse"
    grow: float = GROW

    def __post_init__(self) -> None:
        if isinstance(self.style, str):
            one_of(*STYLES).require("style", self.style)
        one_of(*MASKS).require("mask", self.mask)
        GROWS.require("grow", self.grow)

    def __str__(self) -> str:
        style = self.style if isinstance(self.style, str) else "picture"
        return f"faces hidden by {style}, {self.mask}, {self.grow:g}"

    def apply(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Hide the faces in these boxes [N, 4] in a copy of the image uint8 [H, W, 3]."""
        canvas = image.copy()
        for x1, y1, x2, y2, alpha in self._regions(image.shape[:2], boxes):
            region = canvas[y1:y2, x1:x2]
            cover, share = self._cover(region), alpha[..., None].astype(np.uint16)
            region[:] = (cover * share + region * (255 - share) + 127) // 255
        return canvas

    def covered(self, shape: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
        """Return which pixels of an image of (height, width) `shape` are hidden: bool [H, W]."""
        hidden = np.zeros(shape, bool)
        for x1, y1, x2, y2, alpha in self._regions(shape, boxes):
            hidden[y1:y2, x1:x2] |= alpha > 127
        return hidden

    def _regions(self, shape: tuple[int, int], boxes: np.ndarray) -> Iterator[tuple[int, int, int, int, np.ndarray]]:
        """Yield for each box the pixels x1 y1 x2 y2 that it may change, and how much of each is covered, 0 to 255."""
        limit = np.array(shape[::-1], float)
        for box in np.asarray(boxes, float).reshape(-1, 4):
            low, high = box[:2], box[2:]
            side = high - low
            low = np.where(low < BORDER, low - OUTSIDE * side, low)
            high = np.where(high > limit - BORDER, high + OUTSIDE * side, high)
            centre, half = (low + high) / 2, (high - low) / 2 * self.grow
            x1, y1 = np.floor(centre - half).clip(0, limit).astype(int).tolist()
            x2, y2 = np.ceil(centre + half).clip(0, limit).astype(int).tolist()
            if x1 >= x2 or y1 >= y2:
                continue
            alpha = np.full((y2 - y1, x2 - x1), 255, np.uint8)
            if self.mask == "ellipse":
                alpha[:] = 0
                at, axes = (np.round(values * (1 << SHIFT)).astype(int).tolist()
                            for values in (centre - (x1, y1) - 0.5, half))
                cv2.ellipse(alpha, at, axes, 0, 0, 360, 255, cv2.FILLED, cv2.LINE_AA, SHIFT)
            yield x1, y1, x2, y2, alpha

    def _cover(self, region: np.ndarray) -> np.ndarray:
        """Return what is shown in place of a region."""
        if isinstance(self.style, str) and self.style == "solid":
            return np.zeros_like(region)
        size = np.array(region.shape[1::-1])
        cells = np.maximum(1, np.round(min(CELLS / size.max(), 1 / CELL) * size)).astype(int).tolist()
        colours = cv2.resize(region, cells, interpolation=cv2.INTER_AREA)
        if isinstance(self.style, str) and self.style == "mosaic":
            return cv2.resize(colours, size.tolist(), interpolation=cv2.INTER_NEAREST)
        blurred = cv2.resize(colours, size.tolist(), interpolation=cv2.INTER_CUBIC)
        return blurred if isinstance(self.style, str) else _lay_over(blurred, self.style)


def _lay_over(region: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return a region with a picture over it, as large as this."""
    over = cv2.resize(picture, region.shape[1::-1], interpolation=cv2.INTER_AREA)
    share = over[..., 3:].astype(np.uint16) if over.shape[2] == 4 else np.uint16(255)
    return ((over[..., :3] * share + region * (255 - share) + 127) // 255).astype(np.uint8)


def read_cover(path: str | Path) -> np.ndarray:
    """Read a picture to lay over faces: uint8 [h, w, 3], or [h, w, 4] with the alpha channel of a PNG.

    Raises:
        InputError: no such file, or no image.
    """
    path = existing_file(path, "an image to lay over faces", f"--hide takes {', '.join(STYLES)}, or an image file")
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise InputError(f"--hide {plain_text(path)}: not an image of 8 bits a channel that OpenCV can read; give a "
                         "PNG or JPEG file")
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
