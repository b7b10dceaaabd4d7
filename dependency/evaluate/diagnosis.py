# SPDX-License-Identifier: Apache-2.0
"""Say why an average precision is low: rows of another layout than `x y w h score` in pixels, or what the matches show.

    text = describe_other_layout(rows, faces)           # None where the rows are what they should be
    text = likely_reason(matches, faces, 0.5)           # of an AP near 0

A layout is recognised by the faces that are found when a sample of the images is read in it.
"""
from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Callable

import numpy as np

from dependency.evaluate.matching import Matches, corners
from dependency.evaluate.overlaps import best_overlaps_in_groups

# Below the first the layout is looked at, below the second a reason is given.
LOW_AP, NEAR_ZERO_AP = 0.5, 0.01
SAMPLE = 50                         # images
MIN_OVERLAP = 0.7                   # strict: boxes that lie beside the faces may fit by chance in another layout
# Another layout must find so many times the faces, at least this share of them, and so many.
TIMES, MIN_SHARE, MIN_FACES = 3, 0.2, 3
MIN_ROWS = 10                       # to recognise a layout by its numbers alone
XYWH, XYXY = "x y w h", "x1 y1 x2 y2"
# The corners of a box from its four numbers.
LAYOUTS: dict[str, Callable[..., tuple]] = {
    XYWH: lambda x, y, w, h: (x, y, x + w, y + h),
    XYXY: lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "cx cy w h": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
    "y1 x1 y2 x2": lambda y1, x1, y2, x2: (x1, y1, x2, y2),
}
MEANING = {"cx cy w h": " (centre)", XYXY: " (two corners)", "y1 x1 y2 x2": " (two corners)"}


def describe_other_layout(rows: Sequence[np.ndarray], faces: Sequence[np.ndarray], expected: str = XYWH) -> str | None:
    """Describe the layout in which the rows find far more faces than in the expected one.

    Args:
        rows: per image [N, 5 or more], as they were given.
        faces: per image [K, 4] x y w h pixels.
        expected: the layout that they should have, of `LAYOUTS`.

    Returns:
        what the rows look like and what to write; None where no other layout finds at least three times the faces.
    """
    images = [index for index, of_image in enumerate(rows) if len(of_image) and len(faces[index])]
    images = images[::len(images) // SAMPLE + 1]
    if not images:
        return None
    remedy = f"write rows `{expected} score` in pixels of the original image and score again"
    table = np.concatenate([rows[index][:, :5] for index in images])
    by_numbers = _layout_by_numbers(table)
    if by_numbers:
        return f"the rows look like {by_numbers}, not like `{expected} score` in pixels; {remedy}"
    first_row, first_face = (np.array([0, *accumulate(len(each[index]) for index in images)]) for each in (rows, faces))
    boxes = corners([faces[index] for index in images])

    def count_found(layout: str, column: int) -> int:
        read = np.stack(LAYOUTS[layout](*table[:, column:column + 4].T), axis=1)
        face, overlap = best_overlaps_in_groups(read, first_row, boxes, first_face)
        return len(np.unique(face[overlap >= MIN_OVERLAP]))

    found = {(layout, column): count_found(layout, column) for column in (0, 1) for layout in LAYOUTS}
    own, (best, column) = found[expected, 0], max(found, key=lambda key: found[key])
    if found[best, column] < max(MIN_FACES, MIN_SHARE * len(boxes), TIMES * own):
        return None
    first = "" if not column else "score " if (table[:, 0] % 1).any() else "class "
    layout = f"{first}{best}{'' if first == 'score ' else ' score'}"
    return (f"the rows look like `{layout}`{MEANING.get(best, '')}, not like `{expected} score`: read so they find "
            f"{found[best, column]} of {len(boxes)} faces, else {own}; {remedy}")


def likely_reason(matches: Matches, faces: int, iou: float) -> str:
    """Say in one sentence what an AP near 0 comes from, most likely.

    Args:
        matches: of all rows, not empty.
        faces: number of annotated faces.
        iou: overlap from which a row finds a face.
    """
    rows, found = len(matches.row), len(np.unique(matches.face[matches.overlap >= iou]))
    if rows < faces / 20:
        return f"AP is near 0: only {rows} detections for {faces} faces; was the score threshold too high?"
    if found > faces / 5:
        return (f"AP is near 0, but {found} of {faces} faces are found: false alarms have the higher scores; is the "
                "fifth number of a row its score, higher for a surer face?")
    return (f"AP is near 0: {found} of {faces} faces are overlapped by {iou:g} or more, and "
            f"{np.mean(matches.overlap > 0):.0%} of the detections touch a face; likely boxes of resized images, files "
            "under other images' names, or a network that has not learned yet")


def _layout_by_numbers(table: np.ndarray) -> str | None:
    """Recognise rows [N, 5] that cannot be x y w h score in pixels, without looking at the annotated faces."""
    if not table[:, 1:4].any():
        return None
    if (table[:, 1:4] <= 1.5).all():            # of the first five numbers these are coordinates in any layout
        return "normalised coordinates 0..1 (parts of the image's width and height)"
    if len(table) >= MIN_ROWS and not (table[:, 0] % 1).any() and (table[:, 1] <= 1).all() and (table[:, 1] % 1).any():
        return "`class score` before the box"
    return None
