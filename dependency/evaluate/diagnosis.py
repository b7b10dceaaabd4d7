# SPDX-License-Identifier: Apache-2.0
"""Say why an average precision is low: rows of another layout than `x y w h score` in pixels, or what the matches show.

    text = describe_other_layout(rows, faces)           # None where the rows are what they should be
    text = likely_reason(matches, faces, 0.5)           # of an AP near 0
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dependency.evaluate import layouts
from dependency.evaluate.layouts import XYWH
from dependency.evaluate.matching import Matches

# Below the first the layout is looked at, below the second a reason is given.
LOW_AP, NEAR_ZERO_AP = 0.5, 0.01
MIN_ROWS = 10                       # to recognise a layout by its numbers alone


def describe_other_layout(rows: Sequence[np.ndarray], faces: Sequence[np.ndarray], expected: str = XYWH) -> str | None:
    """Describe the layout in which the rows find far more faces than in the expected one.

    Args:
        rows: per image [N, 5 or more], as they were given.
        faces: per image [K, 4] x y w h pixels.
        expected: the layout that they should have, of `LAYOUTS`.

    Returns:
        what the rows look like and what to write; None where no other layout finds at least three times the faces.
    """
    chosen = layouts.sample(rows, faces)
    if not chosen:
        return None
    by_numbers = _layout_by_numbers(np.concatenate([rows[index][:, :5] for index in chosen]))
    if by_numbers:
        return (f"the rows look like {by_numbers}, not like `{expected} score` in pixels; write rows "
                f"`{expected} score` in pixels of the original image and score again")
    layout = layouts.recognise([rows[index] for index in chosen], [faces[index] for index in chosen], expected)
    return layouts.describe(layout, expected) if layout else None


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
    if (table[:, 1:4] <= layouts.LARGEST_PART).all():   # of the first five numbers these are coordinates in any layout
        return "normalised coordinates 0..1 (parts of the image's width and height)"
    if len(table) >= MIN_ROWS and not (table[:, 0] % 1).any() and (table[:, 1] <= 1).all() and (table[:, 1] % 1).any():
        return "`class score` before the box"
    return None
