# SPDX-License-Identifier: Apache-2.0
"""How much AP each kind of error costs: the AP gained if this kind alone were mended (after TIDE, Bolya et al. 2020).

    error_budget(outcomes)["missed"]                 # 0.12: AP would be 0.12 higher

The gains do not add up to 1 - AP: a false alarm that ranks above all faces does no harm once scores rank well, so that
"score" and the kinds of false alarms share what they cost.
"""
from __future__ import annotations

import numpy as np

from dependency.evaluate.matching import average_precision, curve_of
from dependency.evaluate.report.failures import MIN_OVERLAP
from dependency.evaluate.report.outcomes import Outcomes


def error_budget(outcomes: Outcomes) -> dict[str, float]:
    """Return the AP gained on the hard subset by kind of error.

    - "missed": faces that no box finds, nor overlaps by 0.1 more than other faces; mended, they are not there;
    - "loose box": overlap of 0.1 up to the IoU threshold; the first on a face that nothing finds becomes right, the
      others are left out;
    - "duplicate": a further box on a found face; left out;
    - "background": overlap under 0.1; left out;
    - "ignored face": a loose box on a face that does not count; left out;
    - "score": all that find a face rank before all false alarms.
    """
    matches, hit, counted = outcomes.matches, outcomes.hit, outcomes.counted
    faces = int(np.count_nonzero(counted))
    near, touches, counts = (matches.overlap >= outcomes.iou, matches.overlap >= MIN_OVERLAP, counted[matches.face])
    wrong = outcomes.wrong
    loose, ignored = wrong & ~near & touches & counts, wrong & ~near & touches & ~counts
    found = np.zeros(len(counted), bool)
    found[matches.face[hit]] = True
    rows = np.flatnonzero(loose & ~found[matches.face])[::-1]       # backwards: the first row on a face is what stays
    first = np.full(len(counted), -1)
    first[matches.face[rows]] = rows
    tight = hit.copy()
    tight[first[first >= 0]] = True
    lost = int(np.count_nonzero(counted & ~found & (first < 0)))

    def ap(right: np.ndarray, left_out: np.ndarray, total: int = faces) -> float:
        return average_precision(curve_of(matches.first_bin, outcomes.proposal & ~left_out, right, total))

    nothing = np.zeros(len(hit), bool)
    now = ap(hit, nothing)
    mended = {"missed": ap(hit, nothing, faces - lost) if faces > lost else 1.0,
              "loose box": ap(tight, loose & ~tight),
              "duplicate": ap(hit, wrong & near),
              "background": ap(hit, wrong & ~touches),
              "ignored face": ap(hit, ignored),
              "score": np.count_nonzero(hit) / faces}
    return {kind: float(value) - now for kind, value in mended.items()}
