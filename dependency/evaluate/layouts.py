# SPDX-License-Identifier: Apache-2.0
"""Recognise the layout of anybody's rows by the faces that they find, and read them in it.

    layout = recognise(rows, faces)             # None where the rows are `x y w h score` in pixels, as they should be
    layout.name                                 # "class x1 y1 x2 y2 score"
    layout.read(rows_of_an_image)               # [N, 5] x y w h score

A layout is where the box begins, what its four numbers are, whether they are parts of the image's size, and where the
score is. Another layout than the expected one must find three times its faces, and twice those of any third one.
"""
from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Callable, NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.matching import corners
from dependency.evaluate.overlaps import best_overlaps_in_groups

SAMPLE = 50                         # images
MIN_OVERLAP = 0.7                   # strict: boxes that lie beside the faces may fit by chance in another layout
# Another layout must find so many times the faces, at least this share of them, and so many.
TIMES, MIN_SHARE, MIN_FACES = 3, 0.2, 3
CLEAR = 2                           # times the faces that the next best layout finds
LARGEST_PART = 1.5                  # of a coordinate in parts of the image
XYWH, XYXY = "x y w h", "x1 y1 x2 y2"
# The corners of a box from its four numbers.
BOXES: dict[str, Callable[..., tuple]] = {
    XYWH: lambda x, y, w, h: (x, y, x + w, y + h),
    XYXY: lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "cx cy w h": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
    "y1 x1 y2 x2": lambda y1, x1, y2, x2: (x1, y1, x2, y2),
}
MEANING = {"cx cy w h": " (centre)", XYXY: " (two corners)", "y1 x1 y2 x2": " (two corners)"}


class Layout(NamedTuple):
    """box: of `BOXES`; before: names before it, as "class "; first, score: columns; parts: 0..1 of the image's size."""
    box: str
    before: str = ""
    first: int = 0
    score: int = 4
    parts: bool = False

    @property
    def name(self) -> str:
        """The row in words, such as "class cx cy w h score, 0..1"."""
        after = " score" if self.score > self.first else ""
        return f"{self.before}{self.box}{after}{', 0..1' if self.parts else ''}"

    @property
    def columns(self) -> int:
        """How many numbers of a row it reads."""
        return max(self.first + 4, self.score + 1)

    def corners(self, rows: np.ndarray, size: np.ndarray | None = None) -> np.ndarray:
        """Return [N, 4] xyxy pixels; with `parts` `size` is width and height of the image, [2] or [N, 2]."""
        numbers = rows[:, self.first:self.first + 4].T
        if self.parts and size is not None:
            width, height = np.broadcast_to(size, (len(rows), 2)).T
            numbers = numbers * ([height, width] * 2 if self.box.startswith("y") else [width, height] * 2)
        return np.stack(BOXES[self.box](*numbers), axis=1)

    def read(self, rows: np.ndarray, size: np.ndarray | None = None) -> np.ndarray:
        """Return [N, 5] x y w h score in pixels."""
        left, top, right, bottom = self.corners(rows, size).T
        return np.column_stack([left, top, right - left, bottom - top, rows[:, self.score]])


def sample(rows: Sequence[np.ndarray | None], faces: Sequence[np.ndarray]) -> list[int]:
    """Choose up to 50 images that have rows and faces."""
    images = [index for index, of_image in enumerate(rows) if of_image is not None and len(of_image)
              and len(faces[index])]
    return images[::len(images) // SAMPLE + 1]


def recognise(rows: Sequence[np.ndarray], faces: Sequence[np.ndarray], expected: str = XYWH,
              sizes: np.ndarray | None = None) -> Layout | None:
    """Find the layout of rows that is not the expected one.

    Args:
        rows: per image [N, 5], or [N, 6 or more] where rows have so many numbers; as they were given.
        faces: per image [K, 4] x y w h pixels.
        expected: the box that they should begin with, of `BOXES`, in pixels.
        sizes: [I, 2] width and height of the images.

    Raises:
        InputError: two layouts fit alike; or the rows look like parts of the images' sizes, and these are not known.
    """
    if not any(map(len, rows)):
        return None
    table = np.concatenate([of_image[:, :6] for of_image in rows if len(of_image)])
    if sizes is None and table[:, 1:4].any() and (np.abs(table[:, 1:4]) <= LARGEST_PART).all():
        raise InputError("the rows look like normalised coordinates 0..1 (parts of the image's width and height), and "
                         "the sizes of the images are not known; give --image_dir, or write rows `x y w h score` in "
                         "pixels")
    first_row, first_face = (np.array([0, *accumulate(map(len, each))]) for each in (rows, faces))
    boxes = corners(faces)
    size = None if sizes is None else np.repeat(sizes, np.diff(first_row), axis=0)

    def count_found(layout: Layout) -> int:
        face, overlap = best_overlaps_in_groups(layout.corners(table, size), first_row, boxes, first_face)
        return len(np.unique(face[overlap >= MIN_OVERLAP]))

    found = {layout: count_found(layout) for layout in _candidates(table, sizes is not None)}
    own = found.pop(Layout(expected), 0)
    best = max(found, key=lambda layout: found[layout])
    if found[best] < max(MIN_FACES, MIN_SHARE * len(boxes), TIMES * own):
        return None
    others = [layout for layout in found if layout != best and found[layout] * CLEAR > found[best]]
    if others:
        raise InputError(f"the rows may be `{best.name}` or `{others[0].name}`: read so they find {found[best]} and "
                         f"{found[others[0]]} of {len(boxes)} faces; write rows `{expected} score` in pixels")
    return best


def describe(layout: Layout, expected: str = XYWH) -> str:
    """Say what the rows look like, and what to write."""
    return (f"the rows look like `{layout.name}`{MEANING.get(layout.box, '')}, not like `{expected} score`; write rows "
            f"`{expected} score` in pixels of the original image and score again")


def _candidates(table: np.ndarray, sized: bool) -> list[Layout]:
    """List the layouts that rows [N, 5 or 6] may have."""
    is_class = not (table[:, 0] % 1).any()
    places = [("", 0, 4)]
    if table.shape[1] > 5 and is_class:
        places += [("class ", 1, 5), ("class score ", 2, 1)]
    elif not is_class:
        places.append(("score ", 1, 0))
    else:                                       # five numbers are known of a row that has more
        places.append(("class ", 1, 4))
    layouts = []
    for before, first, score in places:
        parts = sized and bool((np.abs(table[:, first:first + 4]) <= LARGEST_PART).all())
        layouts += [Layout(box, before, first, score, parts) for box in BOXES]
    return layouts
