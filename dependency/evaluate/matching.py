# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE protocol on arrays: which row finds which face, and the curves that follow.

    scores, remark = scale_scores(raw_scores)               # one array per image, 0..1 over the whole set
    matches = match(images, boxes, scores)
    points = curve(matches, 0.5, face_flags(images, "hard"))
    average_precision(points)

Boxes are xywh pixels, rows stand best score first, image after image; "row" and "face" are indices into the rows
and faces of all images, one after the other.  The face that a row overlaps most depends on neither threshold
nor subset, so a row is matched once, and every curve is counted from the matches.
"""
from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.ground_truth import TruthImage
from dependency.evaluate.overlaps import best_overlaps_in_groups

THRESHOLDS = 1 - (np.arange(1000) + 1) / 1000       # the last one is exactly 0
# Scores from 0 up to more than this are percents; sums of weights that end a little above 1 are not.
PERCENT_FROM = 2


class Matches(NamedTuple):
    """The rows of all images that hold a face, in order; an image without any face adds no proposal (as official).

    row: [R] int64 index among all rows, those that are absent here too.
    image: [R] int64 index of the row's image.
    face: [R] int64 index among all faces: the one that the row overlaps most, the first on ties.
    overlap: [R] float64 overlap with it.
    first_bin: [R] int64 index of the first (highest) score threshold that takes the row, 1000 where none does.
    """
    row: np.ndarray
    image: np.ndarray
    face: np.ndarray
    overlap: np.ndarray
    first_bin: np.ndarray


def scale_scores(scores: Sequence[np.ndarray]) -> tuple[list[np.ndarray], str | None]:
    """Map the scores of the whole set to 0..1 by their true ends, and return a remark where that cannot be done.

    Raises:
        InputError: the ends are further apart than float64 reaches.
    """
    sizes, values = list(map(len, scores)), np.concatenate([np.empty(0), *scores])
    if not len(values):
        return list(scores), "there is no detection in any file"
    low, high = values.min(), values.max()
    if low == high:
        return [np.ones(size) for size in sizes], f"all scores are {low:g}, so all count as 1"
    if not np.isfinite(float(high) - float(low)):
        raise InputError(f"scores from {low:g} to {high:g} cannot be scaled to 0..1: expected probabilities")
    values -= low
    values /= high - low
    return [values[end - size:end] for size, end in zip(sizes, accumulate(sizes))], None


def name_scores(rows: Sequence[np.ndarray]) -> str | None:
    """Name the scores of rows [N, 5], best first: "0..100", or their ends "-4.1 to 9"; None where all lie in 0..1."""
    high = max((of_image[0, 4] for of_image in rows if len(of_image)), default=1)
    low = min((of_image[-1, 4] for of_image in rows if len(of_image)), default=0)
    if low >= 0 and high <= 1:
        return None
    return "0..100" if low >= 0 and PERCENT_FROM < high <= 100 else f"{low:.4g} to {high:.4g}"


def match(images: Sequence[TruthImage], boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> Matches:
    """Give every row the face that it overlaps most, and the first threshold that takes it.

    Args:
        images: the ground truth of every image.
        boxes: per image [N, 4 or more] xywh pixels, best score first; further columns are left out.
        scores: per image [N], scaled to 0..1 over the set.
    """
    faces = [image.boxes for image in images]
    first_row = _first(scores)
    image = np.repeat(np.arange(len(images)), np.diff(first_row))
    face, overlap = best_overlaps_in_groups(corners(boxes), first_row, corners(faces), _first(faces))
    first_bin = _first_threshold(np.concatenate([np.empty(0), *scores]))
    every = Matches(np.arange(len(face)), image, face, overlap, first_bin)
    has_face = face >= 0
    return every if has_face.all() else Matches(*(column[has_face] for column in every))


def face_flags(images: Sequence[TruthImage], subset: str) -> np.ndarray:
    """Return [F] bool: which of all faces count in the subset; rows on the others are neutral."""
    first_face = _first([image.boxes for image in images])
    indices = [image.subsets[subset] for image in images]
    flags = np.zeros(first_face[-1], bool)
    offsets = np.repeat(first_face[:-1], list(map(len, indices)))
    flags[np.concatenate([np.empty(0, np.int64), *indices]) + offsets] = True
    return flags


def outcomes(matches: Matches, iou: float, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classify each row at an IoU threshold.

    Args:
        matches: [R] rows.
        iou: overlap from which a row matches a face.
        counted: [F] bool, which faces count (see `face_flags`).

    Returns:
        proposal [R] bool: the row enters the precision, which one on an ignored face does not;
        hit [R] bool: it is the first row on a face that counts, all others are false alarms.
    """
    matched = matches.overlap >= iou
    rows = np.flatnonzero(matched)[::-1]            # backwards, so that the first row on a face is what stays
    first = np.full(len(counted), -1)
    first[matches.face[rows]] = rows
    hit = np.zeros(len(matched), bool)
    hit[first[counted & (first >= 0)]] = True
    return ~matched | counted[matches.face], hit


def curve(matches: Matches, iou: float, counted: np.ndarray) -> np.ndarray:
    """Compute [1000, 2] float64 recall and precision from the strictest score threshold down; arguments as `outcomes`.

    Recall is NaN where no face counts.  Precision is 1 before the first proposal: recall is 0 there, so the
    area does not change.
    """
    return curve_of(matches.first_bin, *outcomes(matches, iou, counted), int(np.count_nonzero(counted)))


def curve_of(first_bin: np.ndarray, proposal: np.ndarray, hit: np.ndarray, faces: int) -> np.ndarray:
    """Compute `curve` from [R] thresholds and the [R] bool of `outcomes`, and the number of faces that count."""
    proposals, found = (np.cumsum(np.bincount(first_bin[rows], minlength=len(THRESHOLDS) + 1)[:-1])
                        for rows in (proposal, hit))
    recall = found / faces if faces else np.full(len(found), np.nan)
    precision = np.divide(found, proposals, out=np.ones(len(found)), where=proposals > 0)
    return np.column_stack([recall, precision])


def average_precision(points: np.ndarray) -> float:
    """Compute the area under the monotone envelope of a [T, 2] recall-precision curve (PASCAL VOC 2010 and later)."""
    recall = np.concatenate([[0.0], points[:, 0], [1.0]])
    precision = np.concatenate([[0.0], points[:, 1], [0.0]])
    if np.isnan(recall).any():
        return float("nan")
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[step + 1] - recall[step]) * envelope[step + 1]))


def corners(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Convert the boxes of all images, xywh, to one array [N, 4] xyxy."""
    corners = np.concatenate([np.empty((0, 4)), *(of_image[:, :4] for of_image in boxes)])
    for side in (0, 1):
        corners[:, side + 2] += corners[:, side]
    return corners


def _first_threshold(scores: np.ndarray) -> np.ndarray:
    """Find the index of the first (highest) threshold that each score reaches; compared as floats, never rounded."""
    return len(THRESHOLDS) - np.searchsorted(THRESHOLDS[::-1], scores, side="right")


def _first(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return [I + 1] int64: where each image's part begins when all stand one after the other, and their end."""
    return np.array([0, *accumulate(map(len, parts))], np.int64)
