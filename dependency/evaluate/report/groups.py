# SPDX-License-Identifier: Apache-2.0
"""Faces by event, height and attribute: how many, how many are found, and the AP of each group.

    groups = group_faces(tally)
    groups["height"][0]      # {"name": "under 12 px", "faces": 2491, "share": .078, "ap": .21, "recall": .05, ...}

AP of a group: the protocol with only the group's faces of the hard subset counting, so that rows on all others are
neither right nor wrong.  Of the false alarms a group answers for

- a height: those whose own height lies in it (as in COCO's evaluation),
- an event: those in its images,
- an attribute (blur, pose, ...): all, for a box on nothing has none.  Rare attributes thus have a low AP by their
  nature: compare it between runs, and recall between groups.

Recall and misses are those at the operating point.  A height lies in a group from its lower limit, inclusive, to the
upper, exclusive.
"""
from typing import Any

import numpy as np

from dependency.evaluate.matching import Matches, average_precision, curve, outcomes
from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.tally import Tally

# WIDER's hard subset begins at 9 pixels, and half of its faces are under 24.
HEIGHTS = (0, 12, 16, 24, 32, 64, 128, 256, float("inf"))

Group = dict[str, Any]


def group_faces(tally: Tally) -> dict[str, list[Group]]:
    """Groups by "event" and "height", and with flags by each key of `LEVELS`; empty ones are left out."""
    result = {"event": _events(tally), "height": _heights(tally)}
    if tally.flags is not None:
        everywhere = np.ones(len(tally.hit), bool)
        for family, names in LEVELS.items():
            level = tally.flags[:, FLAGS.index(family)]
            result[family] = [_group(tally, name, level == value, everywhere) for value, name in enumerate(names)]
    return {family: [group for group in groups if group["faces"]] for family, groups in result.items()}


def height_name(low: float, high: float) -> str:
    """The name of the heights from `low` to under `high` pixels."""
    if low <= 0:
        return f"under {high:g} px"
    return f"{low:g} px and over" if high == float("inf") else f"{low:g}-{high:g} px"


def _events(tally: Tally) -> list[Group]:
    names = list(dict.fromkeys(tally.events))
    event = np.array([names.index(name) for name in tally.events], np.int64)
    of_face, of_row = event[tally.face_image], event[tally.matches.image]
    return [_group(tally, name, of_face == value, of_row == value) for value, name in enumerate(names)]


def _heights(tally: Tally) -> list[Group]:
    of_face, of_row = tally.boxes[:, 3], tally.rows[:, 3]
    return [_group(tally, height_name(low, high), (low <= of_face) & (of_face < high),
                   (low <= of_row) & (of_row < high))
            for low, high in zip(HEIGHTS, HEIGHTS[1:])]


def _group(tally: Tally, name: str, members: np.ndarray, in_scope: np.ndarray) -> Group:
    """One group; members [F] bool its faces, in_scope [R] bool the rows that it answers for."""
    kept = tally.kept & members
    faces, found = int(np.count_nonzero(kept)), int(np.count_nonzero(kept & tally.found))
    return {"name": name, "faces": faces, "share": faces / tally.point["faces"],
            "ap": _average_precision(tally, kept, in_scope) if faces else None,
            "recall": found / faces if faces else None, "missed": faces - found}


def _average_precision(tally: Tally, kept: np.ndarray, in_scope: np.ndarray) -> float:
    # A hit may lie outside: a box can be higher than the face that it finds.
    used = in_scope | outcomes(tally.matches, tally.iou, kept)[1]
    return average_precision(curve(Matches(*(column[used] for column in tally.matches)), tally.iou, kept))
