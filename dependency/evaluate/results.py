# SPDX-License-Identifier: Apache-2.0
"""The result of an evaluation: as a value, as the manual's text, as JSON.

    report = evaluate(pred, gt)
    print(format_report(report))
    report.ap[0.5]["hard"]
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dependency.evaluate.bootstrap import Replicates

BANNER = "==================== Results = ===================="
FOOTER = "================================================="
NOTES = {0.4: "the threshold of the CenterFace manual's published numbers; WIDER FACE itself uses 0.5"}


@dataclass(frozen=True)
class Report:
    """Average precision and how it was obtained.

    pred, gt: the folders.
    ap: IoU threshold -> {"easy", "medium", "hard"} -> average precision 0..1 (NaN without faces).
    curves: IoU threshold -> subset -> [1000, 2] recall and precision, from the strictest threshold down.
    protocol: the settings, as named values.
    faces: subset -> number of faces that count.
    images: images in the ground truth; scored: images that entered the numbers.
    missing: `event/image` without a prediction file.
    detections: rows read.
    warnings: what was odd in the input, one sentence each.
    mean_ap: subset -> mean AP over IoU 0.5, 0.55, ... 0.95, where asked for.
    replicates: IoU threshold -> subset -> AP of the bootstrap's replicates, and interval; None without.
    """
    pred: str
    gt: str
    ap: dict[float, dict[str, float]]
    curves: dict[float, dict[str, np.ndarray]]
    protocol: dict[str, Any]
    faces: dict[str, int]
    images: int
    scored: int
    missing: tuple[str, ...]
    detections: int
    warnings: tuple[str, ...]
    replicates: dict[float, dict[str, Replicates]] | None = None
    mean_ap: dict[str, float] | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """The images of the ground truth that did not enter the numbers."""
        return self.missing if self.protocol["only_predicted"] else ()

    def intervals(self) -> dict[float, dict[str, tuple[float, float]]]:
        """Return the 95 % interval of every AP, by IoU threshold and subset; none without bootstrap."""
        return {iou: {subset: (values.low, values.high) for subset, values in of_iou.items()}
                for iou, of_iou in (self.replicates or {}).items()}


def format_report(report: Report) -> str:
    """Format the manual's block per IoU threshold, each after a line with its protocol."""
    lines: list[str] = []
    intervals = report.intervals()
    layout = f", rows read as `{report.protocol['layout']}`" if "layout" in report.protocol else ""
    layout += f", scores {report.protocol['scores']}" if "scores" in report.protocol else ""
    for iou, values in report.ap.items():
        if lines:
            note = f" ({NOTES[iou]})" if iou in NOTES else ""
            lines.append(f"The same detections at IoU {iou:g}{note}:")
        lines.append(f"protocol: IoU {iou:g}, {report.scored} of {report.images} images scored, "
                     f"{len(report.missing)} missing{_describe_missing(report)}, {report.detections} "
                     f"detections{layout}")
        lines.append(f"{BANNER} {report.pred}")
        lines.extend(f"{subset.capitalize():<6} Val AP: {value}" for subset, value in values.items())
        lines.append(FOOTER)
        if intervals:
            parts = ", ".join(f"{subset} {low:.4f} to {high:.4f}" for subset, (low, high) in intervals[iou].items())
            lines.append(f"95 % interval: {parts} "
                         f"({report.protocol['bootstrap']} replicates of {report.scored} images)")
    if report.mean_ap:
        parts = ", ".join(f"{subset} {value:.4f}" for subset, value in report.mean_ap.items())
        lines.append(f"mean AP over IoU 0.5, 0.55, ... 0.95: {parts}")
    return "\n".join(lines)


def report_to_dict(report: Report, curves: bool = False, points: int | None = None) -> dict[str, Any]:
    """Turn the report into plain JSON values; NaN becomes None.

    Args:
        report: the result.
        curves: include the curves.
        points: at most so many points a curve (see `thin_curve`), rounded to 5 decimals; all of them when None.
    """
    result = {
        "pred": report.pred, "gt": report.gt, "protocol": report.protocol,
        "ap": {f"{iou:g}": {subset: None if math.isnan(value) else value for subset, value in values.items()}
               for iou, values in report.ap.items()},
        "faces": report.faces, "images": report.images, "scored": report.scored,
        "missing": list(report.missing), "detections": report.detections, "warnings": list(report.warnings)}
    if report.mean_ap:
        result["mean_ap"] = {subset: None if math.isnan(value) else value for subset, value in report.mean_ap.items()}
    if report.replicates:
        result["interval"] = {f"{iou:g}": {subset: [None if math.isnan(end) else end for end in ends]
                                           for subset, ends in values.items()}
                              for iou, values in report.intervals().items()}
    if curves:
        result["curves"] = {
            f"{iou:g}": {subset: _curve_to_dict(curve, points) for subset, curve in values.items()
                         if np.isfinite(curve).all()}
            for iou, values in report.curves.items()}
    return result


def thin_curve(curve: np.ndarray, points: int) -> np.ndarray:
    """Choose at most `points` of the [T, 2] points of a curve, evenly along its line: it looks the same when drawn."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    return curve[np.unique(np.searchsorted(along, np.linspace(0, along[-1], points)))]


def _curve_to_dict(curve: np.ndarray, points: int | None) -> dict[str, list[float]]:
    chosen = curve if points is None else thin_curve(curve, points).round(5)
    return {"recall": chosen[:, 0].tolist(), "precision": chosen[:, 1].tolist()}


def _describe_missing(report: Report) -> str:
    if not report.missing:
        return ""
    left_out = report.protocol["only_predicted"]
    return " (left out, their faces too)" if left_out else " (their faces count as missed)"
