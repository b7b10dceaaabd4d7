# SPDX-License-Identifier: Apache-2.0
"""The outcome of every face and every detection at the operating point, which the analysis counts.

    outcomes = find_outcomes(scored, iou=0.5, flags=flags)
    outcomes.found[outcomes.counted].mean()                  # recall

The operating point is the score threshold, among the protocol's 1000, with the best F1 on the hard subset: the
widest one, whose faces are the only ones that count here. Boxes are xywh pixels. As in the protocol, detections in
an image without any annotated face are no false alarms.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.eval import Scored
from dependency.evaluate.matching import THRESHOLDS, Matches, curve, face_flags, outcomes
from dependency.evaluate.report.flags import Flags, align_flags

SUBSET = "hard"


@dataclass(frozen=True)
class Outcomes:
    """F faces and R detections (rows) of all images, one image after the other.

    iou: lowest overlap at which a row finds a face.
    names, events: [I] "event/name" and "event" of every image.
    face_image: [F] int64 image of every face; boxes: [F, 4] float64 xywh pixels.
    counted: [F] bool, the face is in the hard subset; found: [F] bool, a row at the operating point finds it.
    flags: [F, 6] int64 (see `align_flags`), or None.
    matches: the R rows; rows: [R, 5] float64 x y w h and raw score of each.
    proposal, hit: [R] bool (see `matching.outcomes`); above: [R] bool, the score reaches the operating point.
    point: the operating point as plain values.
    """
    iou: float
    names: list[str]
    events: list[str]
    face_image: np.ndarray
    boxes: np.ndarray
    counted: np.ndarray
    found: np.ndarray
    flags: np.ndarray | None
    matches: Matches
    rows: np.ndarray
    proposal: np.ndarray
    hit: np.ndarray
    above: np.ndarray
    point: dict[str, Any]

    @property
    def missed(self) -> np.ndarray:
        """[F] bool: the face counts and is not found."""
        return self.counted & ~self.found

    @property
    def wrong(self) -> np.ndarray:
        """[R] bool: the row is a false alarm at its own score: on nothing, too loose, or on a face already found."""
        return self.proposal & ~self.hit


def find_outcomes(scored: Scored, iou: float, flags: Flags | None = None) -> Outcomes:
    """Find the operating point and what happens there.

    Args:
        scored: from `score_set`.
        iou: lowest overlap at which a detection finds a face.
        flags: the attributes of the faces.

    Raises:
        InputError: no face counts in the hard subset, or the flags belong to another ground truth.
    """
    images, matches = scored.images, scored.matches
    counted = face_flags(images, SUBSET)
    if not counted.any():
        raise InputError(f"the {SUBSET} subset of these {len(images)} images has no face, so there is nothing to "
                         f"analyse; check wider_{SUBSET}_val.mat")
    recall, precision = curve(matches, iou, counted).T
    f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-12)
    # Where no face is found at any threshold, the last threshold lets all rows through.
    best = int(f1.argmax()) if f1.any() else len(THRESHOLDS) - 1
    proposal, hit = outcomes(matches, iou, counted)
    above = matches.first_bin <= best
    found = np.zeros(len(counted), bool)
    found[matches.face[hit & above]] = True
    rows = np.concatenate([np.empty((0, 5)), *scored.rows])
    reported = rows[np.concatenate([np.empty(0), *scored.scores]) >= THRESHOLDS[best]]
    wrong, right, faces = (int(np.count_nonzero(mask)) for mask in (proposal & ~hit & above, found, counted))
    point = {
        # The lowest raw score above the threshold: --score_threshold with it gives these very rows.
        "score": round(float(reported[:, 4].min()), 6) if len(reported) else None,
        "precision": right / (right + wrong) if right else 0.0,
        "recall": right / faces,
        "f1": float(f1[best]),
        "false_alarms_per_image": wrong / len(images),
        "found": right,
        "faces": faces}
    return Outcomes(
        iou=iou,
        names=[image.path for image in images],
        events=[image.event for image in images],
        face_image=np.repeat(np.arange(len(images)), [len(image.boxes) for image in images]),
        boxes=np.concatenate([image.boxes for image in images]),
        counted=counted,
        found=found,
        flags=None if flags is None else align_flags(flags, images),
        matches=matches,
        rows=rows[matches.row],
        proposal=proposal,
        hit=hit,
        above=above,
        point=point)
