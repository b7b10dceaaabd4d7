# SPDX-License-Identifier: Apache-2.0
"""Groups faces by event, height and attribute: how many there are, how many are found, and the AP of each group.

    groups = group_faces(outcomes)
    groups["height"][0]      # {"name": "under 12 px", "faces": 2491, "share": .078, "ap": .21, "recall": .05, ...}

AP of a group: the protocol with only the group's faces of the hard subset counting, so that detections on all others
are neither right nor wrong. The false alarms that count against a group are

- of a height: those whose own height lies in it (as in COCO's evaluation),
- of an event: those in its images,
- of an attribute (blur, pose, ...): all, for a box on nothing has none. Rare attributes therefore have a low AP:
  compare it between runs, and recall between groups.

Recall and misses are those at the operating point. A height group includes its lower limit, not its upper one.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dependency.evaluate.matching import Matches, average_precision, curve, outcomes
from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.outcomes import Outcomes

# WIDER's hard subset begins at 9 pixels, and half of its faces are under 24.
HEIGHTS = (0, 12, 16, 24, 32, 64, 128, 256, float("inf"))

Group = dict[str, Any]


def group_faces(result: Outcomes) -> dict[str, list[Group]]:
    """Return groups by "event" and "height", and with flags by each key of `LEVELS`; empty groups are left out."""
    families = {"event": _events(result), "height": _heights(result)}
    if result.flags is not None:
        everywhere = np.ones(len(result.hit), bool)
        for family, names in LEVELS.items():
            level = result.flags[:, FLAGS.index(family)]
            families[family] = [_group(result, name, level == value, everywhere) for value, name in enumerate(names)]
    return {family: [group for group in groups if group["faces"]] for family, groups in families.items()}


def align_groups(runs: Sequence[dict[str, Any]], family: str) -> list[tuple[str, list[Group | None]]]:
    """Return every group's name with the group of each run of an analysis, None where a run lacks it."""
    tables = [{group["name"]: group for group in run["groups"].get(family, [])} for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    return [(name, [table.get(name) for table in tables]) for name in names]


def height_name(low: float, high: float) -> str:
    """Return the name of the heights from `low` to under `high` pixels."""
    if low <= 0:
        return f"under {high:g} px"
    return f"{low:g} px and over" if high == float("inf") else f"{low:g}-{high:g} px"


def _events(result: Outcomes) -> list[Group]:
    names = list(dict.fromkeys(result.events))
    event = np.array([names.index(name) for name in result.events], np.int64)
    of_face, of_row = event[result.face_image], event[result.matches.image]
    return [_group(result, name, of_face == value, of_row == value) for value, name in enumerate(names)]


def _heights(result: Outcomes) -> list[Group]:
    of_face, of_row = result.boxes[:, 3], result.rows[:, 3]
    return [_group(result, height_name(low, high), (low <= of_face) & (of_face < high),
                   (low <= of_row) & (of_row < high))
            for low, high in zip(HEIGHTS, HEIGHTS[1:])]


def _group(result: Outcomes, name: str, members: np.ndarray, in_scope: np.ndarray) -> Group:
    """Return one group of the faces `members` [F] bool; the rows `in_scope` [R] bool are its false alarms."""
    counted = result.counted & members
    faces, found = int(np.count_nonzero(counted)), int(np.count_nonzero(counted & result.found))
    return {"name": name, "faces": faces, "share": faces / result.point["faces"],
            "ap": _average_precision(result, counted, in_scope) if faces else None,
            "recall": found / faces if faces else None, "missed": faces - found}


def _average_precision(result: Outcomes, counted: np.ndarray, in_scope: np.ndarray) -> float:
    # A hit may lie outside of the scope: a box can be higher than the face that it finds.
    used = in_scope | outcomes(result.matches, result.iou, counted)[1]
    return average_precision(curve(Matches(*(column[used] for column in result.matches)), result.iou, counted))
