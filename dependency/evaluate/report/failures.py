# SPDX-License-Identifier: Apache-2.0
"""Lists what went wrong: missed faces and why, false alarms, the images with the most of both.

    misses, reasons = list_misses(outcomes)
    alarms, kinds = list_false_alarms(outcomes)
    images, total = list_worst_images(outcomes)

All are plain JSON values; boxes are x y w h pixels.
"""
from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from dependency.evaluate.matching import corners
from dependency.evaluate.overlaps import box_overlaps
from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.outcomes import Outcomes

MAX_FACES, MAX_IMAGES = 100, 24
# Under this overlap a box is not about the face at all (TIDE, Bolya et al. 2020, section 2).
MIN_OVERLAP = 0.1
NO_BOX, TOO_LOOSE, TOO_LOW, ON_NEIGHBOUR = REASONS = ("no box", "box too loose", "score too low", "box on a neighbour")
BACKGROUND, LOOSE, DUPLICATE = KINDS = ("background", "loose box", "duplicate")
# The same words in the summary, the galleries and the error budget.
MEANINGS = {NO_BOX: f"nothing overlaps it by {MIN_OVERLAP:g} or more",
            TOO_LOOSE: f"a box overlaps it by {MIN_OVERLAP:g} or more, but too little to find it",
            TOO_LOW: "a box finds it, with too low a score",
            ON_NEIGHBOUR: "a box overlaps it enough, but overlaps another face more",
            BACKGROUND: f"overlaps no annotated face by {MIN_OVERLAP:g} or more",
            LOOSE: f"overlaps a face by {MIN_OVERLAP:g} or more, but too little to find it",
            DUPLICATE: "is a second box on a face that is found"}


def list_misses(outcomes: Outcomes, limit: int = MAX_FACES) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """List the faces that are missed at the operating point, those that should have been easiest first.

    They are ranked by height, halved for every level of blur, occlusion, ...: a large, clear face comes first.
    `why` is the first of these that holds:

    - "score too low": a box finds it, with a score under the operating point;
    - "box on a neighbour": a box overlaps it enough, but another face more;
    - "box too loose": the best of the boxes that overlap this face more than any other stays under the IoU threshold,
      but over 0.1;
    - "no box".

    `best_overlap`, `best_score` and `best_box` are those of the box that `why` is about, 0 and None if there is none.
    `flags` has what is not ordinary about the face, such as {"blur": "heavy blur"}; None if no flags are known.

    Returns:
        the first `limit` misses, and how many of all misses have which `why`.
    """
    missed = np.flatnonzero(outcomes.missed)
    row = _best_rows(outcomes)
    overlap = np.array([outcomes.matches.overlap[index] if index >= 0 else 0.0 for index in row])
    reason = np.where(overlap >= MIN_OVERLAP, TOO_LOOSE, NO_BOX).astype(object)
    low = np.flatnonzero(outcomes.hit & ~outcomes.above)
    faces = outcomes.matches.face[low]
    row[faces], overlap[faces], reason[faces] = low, outcomes.matches.overlap[low], TOO_LOW
    for face, other, value in _boxes_of_neighbours(outcomes, missed[reason[missed] != TOO_LOW]):
        row[face], overlap[face], reason[face] = other, value, ON_NEIGHBOUR
    easiness = outcomes.boxes[:, 3].astype(np.float64)
    if outcomes.flags is not None:
        easiness = easiness * 0.5 ** outcomes.flags.sum(axis=1)
    misses = [{
        "image": outcomes.names[outcomes.face_image[face]],
        "box": _rounded(outcomes.boxes[face]),
        "height": _rounded_number(outcomes.boxes[face, 3]),
        "flags": _levels(outcomes, face),
        "best_overlap": round(float(overlap[face]), 3),
        "best_score": round(float(outcomes.rows[row[face], 4]), 6) if row[face] >= 0 else None,
        "best_box": _rounded(outcomes.rows[row[face], :4]) if row[face] >= 0 else None,
        "why": reason[face],
    } for face in missed[np.argsort(-easiness[missed], kind="stable")][:limit]]
    return misses, _count(reason[missed], REASONS)


def list_false_alarms(outcomes: Outcomes, limit: int = MAX_FACES) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """List the rows that are wrong at the operating point, those with the highest score first.

    `overlap` is that with the face that the box overlaps most, `face_box`, and `face_is` that face's "found", "missed"
    or "ignored"; None where there is none. `kind`: "duplicate", the face counts and an earlier row
    has found it; "loose box", under the IoU threshold but over 0.1; "background".

    Returns:
        the first `limit`, and the number of all by `kind`.
    """
    wrong = np.flatnonzero(outcomes.wrong & outcomes.above)
    overlap, face = outcomes.matches.overlap, outcomes.matches.face
    state = np.select([~outcomes.counted, outcomes.found], ["ignored", "found"], "missed")
    kind = np.select([overlap >= outcomes.iou, overlap >= MIN_OVERLAP], [DUPLICATE, LOOSE], BACKGROUND)
    alarms = [{
        "image": outcomes.names[outcomes.matches.image[row]],
        "box": _rounded(outcomes.rows[row, :4]),
        "score": round(float(outcomes.rows[row, 4]), 6),
        "overlap": round(float(overlap[row]), 3),
        "face_box": _rounded(outcomes.boxes[face[row]]) if overlap[row] > 0 else None,
        "face_is": str(state[face[row]]) if overlap[row] > 0 else None,
        "kind": str(kind[row]),
    } for row in wrong[np.argsort(-outcomes.rows[wrong, 4], kind="stable")][:limit]]
    return alarms, _count(kind[wrong], KINDS)


def list_worst_images(outcomes: Outcomes, limit: int = MAX_IMAGES) -> tuple[list[dict[str, Any]], int]:
    """List the images with the most misses and false alarms together at the operating point.

    In `boxes`, "found", "missed" and "ignored" are annotated faces, "false" are rows with their score.

    Returns:
        the first `limit`, and how many images have any.
    """
    alarm = outcomes.wrong & outcomes.above
    total = len(outcomes.names)
    missed = np.bincount(outcomes.face_image[outcomes.missed], minlength=total)
    false = np.bincount(outcomes.matches.image[alarm], minlength=total)
    faces = np.bincount(outcomes.face_image[outcomes.counted], minlength=total)
    worst = np.argsort(-(missed + false), kind="stable")[:limit]
    masks = {"found": outcomes.counted & outcomes.found, "missed": outcomes.missed, "ignored": ~outcomes.counted}
    images = []
    for image in worst[(missed + false)[worst] > 0]:
        inside = outcomes.face_image == image
        boxes = {kind: [_rounded(box) for box in outcomes.boxes[inside & mask]] for kind, mask in masks.items()}
        boxes["false"] = [[*_rounded(row[:4]), round(float(row[4]), 6)]
                          for row in outcomes.rows[alarm & (outcomes.matches.image == image)]]
        images.append({"image": outcomes.names[image], "faces": int(faces[image]), "missed": int(missed[image]),
                       "false_alarms": int(false[image]), "boxes": boxes})
    return images, int(np.count_nonzero(missed + false))


def _best_rows(outcomes: Outcomes) -> np.ndarray:
    """Find the best row of each face, as [F] int64; -1 if there is none.

    It is the row with the largest overlap, among the rows that overlap this face more than any other face.
    """
    best = np.full(len(outcomes.boxes), -1)
    # The last one assigned stays: the largest overlap, of equal ones the first in the file.
    order = np.argsort(-outcomes.matches.overlap, kind="stable")[::-1]
    order = order[outcomes.matches.overlap[order] > 0]
    best[outcomes.matches.face[order]] = order
    return best


def _boxes_of_neighbours(outcomes: Outcomes, faces: np.ndarray) -> list[tuple[int, int, float]]:
    """Return (face, row, overlap) for those of the faces that a row overlaps enough, though another face more."""
    result = []
    start = np.searchsorted(outcomes.matches.image, np.arange(len(outcomes.names) + 1))
    images, first = np.unique(outcomes.face_image[faces], return_index=True)
    for image, members in zip(images, np.split(faces, first[1:])):
        rows = np.arange(start[image], start[image + 1])
        if not len(rows):
            continue
        overlaps = box_overlaps(corners([outcomes.rows[rows]]), corners([outcomes.boxes[members]]))
        best = overlaps.argmax(axis=0)
        for face, row, overlap in zip(members, rows[best], overlaps[best, np.arange(len(members))]):
            if overlap >= outcomes.iou:
                result.append((int(face), int(row), float(overlap)))
    return result


def _levels(outcomes: Outcomes, face: int) -> dict[str, str] | None:
    if outcomes.flags is None:
        return None
    levels = {family: outcomes.flags[face, FLAGS.index(family)] for family in LEVELS}
    return {family: LEVELS[family][level] for family, level in levels.items() if level}


def _count(values: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(values.tolist())
    return {name: counts[name] for name in names}


def _rounded(box: np.ndarray) -> list[float]:
    return [_rounded_number(value) for value in box]


def _rounded_number(value: float) -> float:
    """Round to a tenth of a pixel; whole numbers become integers, which are half as long in JSON."""
    value = round(float(value), 1)
    return int(value) if value.is_integer() else value
