# SPDX-License-Identifier: Apache-2.0
"""Every face and every row of an evaluation at the operating point, the basis of `analysis.py`.

    tally = make_tally(scored, iou=0.5, flags=flags)
    tally.found[tally.kept].mean()                           # recall

The operating point is the score threshold, among the protocol's 1000, with the best F1 on the hard subset: the
widest one, whose faces are the only ones that count here.  Boxes are xywh pixels.  As in the protocol, rows of an
image without any annotated face are no false alarms.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.matching import THRESHOLDS, Matches, curve, face_flags, outcomes
from dependency.evaluate.report.flags import Flags, align_flags

if TYPE_CHECKING:
    from dependency.evaluate.eval import Scored

SUBSET = "hard"


@dataclass(frozen=True)
class Tally:
    """F faces and R rows of all images, one image after the other; `iou` is the overlap that counts as found.

    names, events: [I] "event/name" and "event" of every image.
    face_image: [F] int64 image of every face; boxes: [F, 4] float64 xywh pixels.
    kept: [F] bool, the face counts; found: [F] bool, a row at the operating point finds it.
    flags: [F, 6] int64 (see `align_flags`), or None.
    matches: the R rows; rows: [R, 5] float64 x y w h and raw score of each.
    proposal, hit: [R] bool (see `outcomes`); taken: [R] bool, the row reaches the operating point.
    point: the operating point as plain values.
    """
    iou: float
    names: list[str]
    events: list[str]
    face_image: np.ndarray
    boxes: np.ndarray
    kept: np.ndarray
    found: np.ndarray
    flags: np.ndarray | None
    matches: Matches
    rows: np.ndarray
    proposal: np.ndarray
    hit: np.ndarray
    taken: np.ndarray
    point: dict[str, Any]

    @property
    def missed(self) -> np.ndarray:
        """[F] bool: the face counts and is not found."""
        return self.kept & ~self.found

    @property
    def false_alarm(self) -> np.ndarray:
        """[R] bool: the row is wrong, at whatever score: on nothing, too loose, or on a face already found."""
        return self.proposal & ~self.hit


def make_tally(scored: Scored, iou: float, flags: Flags | None = None) -> Tally:
    """Find the operating point and what happens there.

    Args:
        scored: from `score_set`.
        iou: overlap that counts as found.
        flags: the attributes of the faces.

    Raises:
        InputError: no face counts in the hard subset, or the flags belong to another ground truth.
    """
    images, matches = scored.images, scored.matches
    kept = face_flags(images, SUBSET)
    if not kept.any():
        raise InputError(f"an analysis needs faces that count, the {SUBSET} subset of these {len(images)} images has "
                         f"none: list some in wider_{SUBSET}_val.mat")
    recall, precision = curve(matches, iou, kept).T
    f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-12)
    best = int(f1.argmax()) if f1.any() else len(THRESHOLDS) - 1        # nothing is found: all rows are looked at
    proposal, hit = outcomes(matches, iou, kept)
    taken = matches.first_bin <= best
    found = np.zeros(len(kept), bool)
    found[matches.face[hit & taken]] = True
    rows = np.concatenate([np.empty((0, 5)), *scored.rows])
    reaching = np.concatenate([np.empty(0), *scored.scores]) >= THRESHOLDS[best]
    wrong, right, faces = (int(np.count_nonzero(chosen)) for chosen in (proposal & ~hit & taken, found, kept))
    point = {
        # The lowest score that is still taken, so that typing it as a threshold gives these very rows.
        "score": round(float(rows[reaching, 4].min()), 6) if reaching.any() else None,
        "precision": right / (right + wrong) if right else 0.0, "recall": right / faces,
        "f1": float(f1[best]), "false_alarms_per_image": wrong / len(images), "found": right, "faces": faces}
    return Tally(
        iou=iou, names=[f"{image.event}/{image.name}" for image in images], events=[image.event for image in images],
        face_image=np.repeat(np.arange(len(images)), [len(image.boxes) for image in images]),
        boxes=np.concatenate([image.boxes for image in images]), kept=kept, found=found,
        flags=None if flags is None else align_flags(flags, images), matches=matches, rows=rows[matches.row],
        proposal=proposal, hit=hit, taken=taken, point=point)
