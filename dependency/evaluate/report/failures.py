# SPDX-License-Identifier: Apache-2.0
"""What went wrong, case by case: missed faces and why, false alarms, the images with the most of both.

    misses, why = list_misses(tally)
    alarms, kinds = list_false_alarms(tally)
    images = list_worst_images(tally)

All are plain JSON values; boxes are x y w h pixels.
"""
from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from dependency.evaluate.matching import corners
from dependency.evaluate.overlaps import box_overlaps
from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.tally import Tally

LONGEST = 100
WORST = 24
# Under this overlap a box is not about the face at all (TIDE, Bolya et al. 2020, section 2).
TOUCHING = 0.1
WHYS = ("no box", "box too loose", "score too low", "taken by another")
KINDS = ("background", "loose box", "duplicate")


def list_misses(tally: Tally, longest: int = LONGEST) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The faces that are missed at the operating point, the most embarrassing first.

    They are ranked by height, halved for every level of blur, occlusion, ...: a large, clear face comes first.
    `why`, by the first that holds:

    - "score too low": a box finds it, under the operating point's score;
    - "taken by another": a box overlaps it enough, and another face more;
    - "box too loose": the best of the boxes that overlap this face more than any other stays under the IoU threshold,
      but over 0.1;
    - "no box".

    `best_overlap` and `best_score` are those of the box that `why` speaks of, 0 and None where there is none. `flags`
    names what is not ordinary about the face, such as {"blur": "heavy blur"}; None where nothing is known.

    Returns:
        the first `longest` misses, and how many of all misses have which `why`.
    """
    missed = np.flatnonzero(tally.missed)
    row = _best_rows(tally)
    low = np.flatnonzero(tally.hit & ~tally.taken)
    row[tally.matches.face[low]] = low
    overlap = np.where(row >= 0, tally.matches.overlap[row], 0.0) if len(tally.rows) else np.zeros(len(row))
    why = np.where(overlap >= TOUCHING, 1, 0)
    why[tally.matches.face[low]] = 2
    for face, other, value in _taken(tally, missed[why[missed] != 2]):
        row[face], overlap[face], why[face] = other, value, 3
    rank = tally.boxes[:, 3].astype(np.float64)
    if tally.flags is not None:
        rank = rank * 0.5 ** tally.flags.sum(axis=1)
    listed = missed[np.argsort(-rank[missed], kind="stable")][:longest]
    misses = [{"image": tally.names[tally.face_image[face]], "box": _numbers(tally.boxes[face]),
               "height": _number(tally.boxes[face, 3]), "flags": _levels(tally, face),
               "best_overlap": round(float(overlap[face]), 3),
               "best_score": round(float(tally.rows[row[face], 4]), 6) if row[face] >= 0 else None,
               "why": WHYS[why[face]]} for face in listed]
    return misses, _count(why[missed], WHYS)


def list_false_alarms(tally: Tally, longest: int = LONGEST) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows that are wrong, at any score, the surest first.

    `overlap` is that with the face that the box overlaps most. `kind`: "duplicate", the face counts and an earlier row
    has found it; "loose box", under the IoU threshold but over 0.1; "background".

    Returns:
        the first `longest`, and how many of those at the operating point are of which `kind`.
    """
    wrong = np.flatnonzero(tally.false_alarm)
    overlap = tally.matches.overlap
    kind = np.where(overlap >= tally.iou, 2, np.where(overlap >= TOUCHING, 1, 0))
    listed = wrong[np.argsort(-tally.rows[wrong, 4], kind="stable")][:longest]
    alarms = [{"image": tally.names[tally.matches.image[row]], "box": _numbers(tally.rows[row, :4]),
               "score": round(float(tally.rows[row, 4]), 6), "overlap": round(float(overlap[row]), 3),
               "kind": KINDS[kind[row]]} for row in listed]
    return alarms, _count(kind[wrong[tally.taken[wrong]]], KINDS)


def list_worst_images(tally: Tally, longest: int = WORST) -> list[dict[str, Any]]:
    """The images with the most misses and false alarms together at the operating point.

    In `boxes`, "found", "missed" and "ignored" are annotated faces, "false" are rows with their score.
    """
    alarm = tally.false_alarm & tally.taken
    count = len(tally.names)
    missed = np.bincount(tally.face_image[tally.missed], minlength=count)
    false = np.bincount(tally.matches.image[alarm], minlength=count)
    faces = np.bincount(tally.face_image[tally.kept], minlength=count)
    worst = np.argsort(-(missed + false), kind="stable")[:longest]
    result = []
    for image in worst[(missed + false)[worst] > 0]:
        here = tally.face_image == image
        boxes = {kind: [_numbers(box) for box in tally.boxes[here & chosen]]
                 for kind, chosen in (("found", tally.kept & tally.found), ("missed", tally.missed),
                                      ("ignored", ~tally.kept))}
        boxes["false"] = [[*_numbers(row[:4]), round(float(row[4]), 6)]
                          for row in tally.rows[alarm & (tally.matches.image == image)]]
        result.append({"image": tally.names[image], "faces": int(faces[image]), "missed": int(missed[image]),
                       "false_alarms": int(false[image]), "boxes": boxes})
    return result


def _best_rows(tally: Tally) -> np.ndarray:
    """[F] int64: of the rows that overlap a face more than any other, the one that overlaps it most; -1 without."""
    best = np.full(len(tally.boxes), -1)
    # The last one assigned stays: the largest overlap, of equal ones the first in the file.
    order = np.argsort(-tally.matches.overlap, kind="stable")[::-1]
    order = order[tally.matches.overlap[order] > 0]
    best[tally.matches.face[order]] = order
    return best


def _taken(tally: Tally, faces: np.ndarray) -> list[tuple[int, int, float]]:
    """(face, row, overlap) for those of the faces that a row overlaps enough, though another face more."""
    result = []
    start = np.searchsorted(tally.matches.image, np.arange(len(tally.names) + 1))
    images, first = np.unique(tally.face_image[faces], return_index=True)
    for image, members in zip(images, np.split(faces, first[1:])):
        rows = np.arange(start[image], start[image + 1])
        if not len(rows):
            continue
        overlaps = box_overlaps(corners([tally.rows[rows]]), corners([tally.boxes[members]]))
        best = overlaps.argmax(axis=0)
        for face, row, overlap in zip(members, rows[best], overlaps[best, np.arange(len(members))]):
            if overlap >= tally.iou:
                result.append((int(face), int(row), float(overlap)))
    return result


def _levels(tally: Tally, face: int) -> dict[str, str] | None:
    if tally.flags is None:
        return None
    levels = {family: tally.flags[face, FLAGS.index(family)] for family in LEVELS}
    return {family: LEVELS[family][level] for family, level in levels.items() if level}


def _count(codes: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(codes.tolist())
    return {name: counts[code] for code, name in enumerate(names)}


def _numbers(box: np.ndarray) -> list[float]:
    return [_number(value) for value in box]


def _number(value: float) -> float:
    """Rounded to a tenth of a pixel; whole ones as integers, which are half as long in JSON."""
    value = round(float(value), 1)
    return int(value) if value.is_integer() else value
