# SPDX-License-Identifier: Apache-2.0
"""Which faces a detector misses and where its false alarms lie: the numbers of the report page.

    report, scored = score_set(pred, truth)
    analysis = analyse(report, scored, find_flags(truth.folder))
    print(format_analysis(merge([analysis, other])))         # text.py
    write_analysis("analysis.json", analysis)

Everything is a plain JSON value: AP and recall 0..1, boxes x y w h pixels, None where a number does not exist.
Only faces of the hard subset count.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dependency.errors import InputError
from dependency.evaluate.eval import Scored
from dependency.evaluate.report.budget import error_budget
from dependency.evaluate.report.calibration import calibrate, find_scores, list_scores
from dependency.evaluate.report.failures import list_false_alarms, list_misses, list_worst_images
from dependency.evaluate.report.flags import Flags
from dependency.evaluate.report.groups import group_faces
from dependency.evaluate.report.outcomes import find_outcomes
from dependency.evaluate.report.summary import summarise
from dependency.evaluate.results import Report, report_to_dict
from dependency.files import atomic_write

VERSION = 2
CURVE_POINTS = 200
WANTS = (("precision", 0.9), ("precision", 0.95), ("precision", 0.99))


def analyse(report: Report, scored: Scored, flags: Flags | None = None, name: str = "",
            iou: float = 0.5, landmarks: dict[str, Any] | None = None, settings: dict[str, Any] | None = None,
            want: tuple[str, float] | None = None) -> dict[str, Any]:
    """Analyse one evaluation.

    Args:
        report, scored: from `score_set`.
        flags: attributes of the faces; without them there are no groups by blur, expression, ...
        name: of the run; by default the last part of the predictions' path.
        iou: lowest overlap at which a detection finds a face.
        landmarks: from `landmark_nme`.
        settings: how the predictions were made: names and values, such as "nms".
        want: the precision or recall that was asked for, beside those of `WANTS`, for which to find the score.

    Returns:
        {"version": 2, "runs": [run]}; docs/formats.md lists the keys of a run.

    Raises:
        InputError: no face counts in the hard subset, or the flags belong to another ground truth.
    """
    outcomes = find_outcomes(scored, iou, flags)
    groups = group_faces(outcomes)
    misses, reasons = list_misses(outcomes)
    false_alarms, kinds = list_false_alarms(outcomes)
    worst_images, erroneous = list_worst_images(outcomes)
    wants = sorted({*WANTS, *([want] if want else [])})
    run = {
        "name": name or Path(report.pred).resolve().name,
        "report": report_to_dict(report, curves=True, points=CURVE_POINTS),
        "iou": iou,
        "settings": settings or {},
        "operating_point": outcomes.point,
        "error_budget": error_budget(outcomes),
        "calibration": calibrate(outcomes),
        "scores": list_scores(outcomes),
        "deploy": [{**found, "asked": wanted == want} for wanted, found in zip(wants, find_scores(outcomes, wants))],
        "groups": groups,
        "misses": misses,
        "false_alarms": false_alarms,
        "worst_images": worst_images,
        "counts": {"misses": reasons, "false_alarms": kinds, "worst_images": erroneous},
        "landmarks": landmarks,
        "summary": summarise(outcomes, groups, reasons, kinds),
    }
    return {"version": VERSION, "runs": [run]}


def merge(analyses: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one analysis with the runs of several.

    Raises:
        InputError: two runs share a name.
    """
    runs = [run for analysis in analyses for run in analysis["runs"]]
    names = [run["name"] for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two runs are called '{name}': give each its own name")
    return {"version": VERSION, "runs": runs}


def flat_numbers(analysis: dict[str, Any]) -> dict[str, float]:
    """Return the main numbers by names such as "ap/0.5/hard"; of several runs "name/ap/0.5/hard"."""
    numbers: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                add(f"{name}/{key}", each)
        elif isinstance(value, list):
            for key, each in zip(("low", "high"), value):
                add(f"{name}/{key}", each)
        elif value is not None:
            numbers[name] = value

    for run in analysis["runs"]:
        prefix = f"{run['name']}/" if len(analysis["runs"]) > 1 else ""
        for name in ("ap", "mean_ap", "interval", "faces", "images", "scored", "detections"):
            add(prefix + name, run["report"].get(name))
        for name in ("operating_point", "error_budget"):
            add(prefix + name, run[name])
        add(f"{prefix}calibration_error", run["calibration"] and run["calibration"]["error"])
        for found in run["deploy"]:
            add(f"{prefix}deploy/{found['want']}={found['value']:g}",
                {key: value for key, value in found.items() if key not in ("want", "value", "best", "asked")})
        add(f"{prefix}landmark_error", run["landmarks"] and run["landmarks"]["nme"])
    return numbers


def write_analysis(path: str | Path, analysis: dict[str, Any]) -> None:
    """Write an analysis as JSON, atomically."""
    with atomic_write(path) as file:
        json.dump(analysis, file, allow_nan=False)
        file.write("\n")
