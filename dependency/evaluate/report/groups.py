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
`interval` is the 95 % interval of recall, by a bootstrap over the images; `least` says that of all groups with at least
20 faces this one is found least, that its distance from each of the others is above 0 by that interval, and that its
recall is clearly below that of all faces.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dependency.evaluate.bootstrap import TAILS, draw_weights
from dependency.evaluate.matching import Matches, average_precision, curve, outcomes
from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.outcomes import Outcomes

# WIDER's hard subset begins at 9 pixels, and half of its faces are under 24.
HEIGHTS = (0, 12, 16, 24, 32, 64, 128, 256, float("inf"))
MIN_FACES = 20                  # a smaller group says nothing
MIN_GAP = 0.05                  # of its recall to that of all faces
REPLICATES = 1000

Group = dict[str, Any]
Members = tuple[str, np.ndarray, np.ndarray]        # name, which faces, which rows


def group_faces(result: Outcomes) -> dict[str, list[Group]]:
    """Return groups by "event" and "height", and with flags by each key of `LEVELS`; empty groups are left out."""
    families = {"event": _events(result), "height": _heights(result)}
    if result.flags is not None:
        everywhere = np.ones(len(result.hit), bool)
        for family, names in LEVELS.items():
            level = result.flags[:, FLAGS.index(family)]
            families[family] = [(name, level == value, everywhere) for value, name in enumerate(names)]
    return {family: _groups(result, [each for each in members if (result.counted & each[1]).any()])
            for family, members in families.items()}


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


def _events(result: Outcomes) -> list[Members]:
    names = list(dict.fromkeys(result.events))
    event = np.array([names.index(name) for name in result.events], np.int64)
    of_face, of_row = event[result.face_image], event[result.matches.image]
    return [(name, of_face == value, of_row == value) for value, name in enumerate(names)]


def _heights(result: Outcomes) -> list[Members]:
    of_face, of_row = result.boxes[:, 3], result.rows[:, 3]
    return [(height_name(low, high), (low <= of_face) & (of_face < high), (low <= of_row) & (of_row < high))
            for low, high in zip(HEIGHTS, HEIGHTS[1:])]


def _groups(result: Outcomes, families: Sequence[Members]) -> list[Group]:
    """Return the groups of one family, none of them empty."""
    groups = [_group(result, *members) for members in families]
    recalls = _replicate_recall(result, [members for _, members, _ in families])
    for group, recall in zip(groups, recalls):
        group["interval"] = [float(end) for end in np.quantile(recall[~np.isnan(recall)], TAILS)]
        group["least"] = False
    rated = [index for index, group in enumerate(groups) if group["faces"] >= MIN_FACES]
    if len(rated) > 1:
        lowest = min(rated, key=lambda index: groups[index]["recall"])
        lead = recalls[[index for index in rated if index != lowest]] - recalls[lowest]
        groups[lowest]["least"] = bool((np.nanquantile(lead, TAILS[0], axis=1) > 0).all()
                                        and groups[lowest]["recall"] <= result.point["recall"] - MIN_GAP)
    return groups


def _replicate_recall(result: Outcomes, members: Sequence[np.ndarray]) -> np.ndarray:
    """Return the recall of every group in every replicate of the images, [G, R]; NaN where it has no face."""
    images = len(result.names)
    faces, found = (np.array([np.bincount(result.face_image[rows & each], minlength=images) for each in members])
                    for rows in (result.counted, result.counted & result.found))
    weights = draw_weights(images, REPLICATES).T
    with np.errstate(invalid="ignore"):
        return (found.astype(np.float32) @ weights) / (faces.astype(np.float32) @ weights)


def _group(result: Outcomes, name: str, members: np.ndarray, in_scope: np.ndarray) -> Group:
    """Return one group of the faces `members` [F] bool; the rows `in_scope` [R] bool are its false alarms."""
    counted = result.counted & members
    faces, found = int(np.count_nonzero(counted)), int(np.count_nonzero(counted & result.found))
    return {"name": name, "faces": faces, "share": faces / result.point["faces"],
            "ap": _average_precision(result, counted, in_scope), "recall": found / faces, "missed": faces - found}


def _average_precision(result: Outcomes, counted: np.ndarray, in_scope: np.ndarray) -> float:
    # A hit may lie outside of the scope: a box can be higher than the face that it finds.
    used = in_scope | outcomes(result.matches, result.iou, counted)[1]
    return average_precision(curve(Matches(*(column[used] for column in result.matches)), result.iou, counted))
