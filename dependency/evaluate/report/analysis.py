# SPDX-License-Identifier: Apache-2.0
"""Which faces a detector misses and where its false alarms lie: the numbers behind the report page.

    report, scored = score_set(pred, truth)
    analysis = analyse(report, scored, find_flags(truth.folder))
    print(format_analysis(merge([analysis, other])))         # analysis_text.py
    write_analysis("analysis.json", analysis)

Everything is a plain JSON value: AP and recall 0..1, boxes x y w h pixels, None where a number does not exist.
"Faces" are those of the hard subset; `groups.py` says what the AP of a group is, `failures.py` why a face is missed,
`tally.py` what the operating point is.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dependency.errors import InputError
from dependency.evaluate.report.failures import list_false_alarms, list_misses, list_worst_images
from dependency.evaluate.report.flags import Flags
from dependency.evaluate.report.groups import group_faces
from dependency.evaluate.report.summary import summarise
from dependency.evaluate.report.tally import make_tally
from dependency.evaluate.results import Report, report_to_dict
from dependency.files import atomic_write

if TYPE_CHECKING:
    from dependency.evaluate.eval import Scored

VERSION = 1
CURVE_POINTS = 200


def analyse(report: Report, scored: Scored, flags: Flags | None = None, name: str = "",
            iou: float = 0.5, landmarks: dict[str, Any] | None = None) -> dict[str, Any]:
    """Take one evaluation apart.

    Args:
        report, scored: from `score_set`.
        flags: attributes of the faces; without them there are no groups by blur, expression, ...
        name: of the run; the last part of the predictions' path by default.
        iou: overlap that counts as found.
        landmarks: from `landmark_nme`.

    Returns:
        {"version": 1, "runs": [run]}; a run holds "name", "report", "iou", "operating_point", "groups", "misses",
        "false_alarms", "worst_images", "landmarks" and "summary".

    Raises:
        InputError: no face counts in the hard subset, or the flags belong to another ground truth.
    """
    tally = make_tally(scored, iou, flags)
    groups = group_faces(tally)
    misses, why = list_misses(tally)
    false_alarms, kinds = list_false_alarms(tally)
    run = {
        "name": name or Path(report.pred).resolve().name,
        "report": report_to_dict(report, curves=True, points=CURVE_POINTS),
        "iou": iou,
        "operating_point": tally.point,
        "groups": groups,
        "misses": misses,
        "false_alarms": false_alarms,
        "worst_images": list_worst_images(tally),
        "landmarks": landmarks,
        "summary": summarise(tally, groups, why, kinds),
    }
    return {"version": VERSION, "runs": [run]}


def merge(analyses: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The runs of several analyses side by side.

    Raises:
        InputError: two runs share a name.
    """
    runs = [run for analysis in analyses for run in analysis["runs"]]
    names = [run["name"] for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two runs are called '{name}': give each its own name")
    return {"version": VERSION, "runs": runs}


def write_analysis(path: str | Path, analysis: dict[str, Any]) -> None:
    """Write an analysis as JSON, whole or not at all."""
    with atomic_write(path) as file:
        json.dump(analysis, file, allow_nan=False)
        file.write("\n")
