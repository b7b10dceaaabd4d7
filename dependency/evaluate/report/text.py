# SPDX-License-Identifier: Apache-2.0
"""Formats an analysis as text: the summary of every run, and tables with the runs side by side.

    print(format_analysis(analyse(report, scored, flags)))
    print(format_analysis(merge([before, after])))           # with the change of AP
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dependency.evaluate.report.groups import Group, align_groups

MAX_EVENTS = 10         # of WIDER's 61, those with the most misses

Run = dict[str, Any]


def format_analysis(analysis: dict[str, Any]) -> str:
    """Return summary and tables; AP and recall in percent, `missed` in faces. Two runs have a column of AP changes."""
    runs = analysis["runs"]
    blocks = [[f"{run['name']} (IoU {run['iou']:g})", *(f"  - {sentence}" for sentence in run["summary"])]
              for run in runs]
    names = [run["name"] for run in runs]
    change = ["AP change"] if len(runs) == 2 else []
    blocks.append(_table(["AP", *names, *change], _ap_rows(runs)))
    blocks.append(_table(["best F1", *names], _point_rows(runs)))
    blocks.append(_table(["AP gained without", *names], _budget_rows(runs)))
    heads = [f"{name}: right" if len(names) > 1 else "right" for name in names]
    blocks.append(_table(["score", *(cell for head in heads for cell in (head, "detections"))],
                         _calibration_rows(runs)))
    blocks += [_family(runs, family, change) for family in dict.fromkeys(key for run in runs for key in run["groups"])]
    return "\n\n".join(map("\n".join, blocks))


def _ap_rows(runs: Sequence[Run]) -> list[list[str]]:
    rows = []
    for iou, values in runs[0]["report"]["ap"].items():
        for subset in values:
            ap = [run["report"]["ap"].get(iou, {}).get(subset) for run in runs]
            rows.append([f"IoU {iou} {subset}", *map(_percent, ap), *_change(ap)])
    return rows


def _point_rows(runs: Sequence[Run]) -> list[list[str]]:
    points = [run["operating_point"] for run in runs]
    rows = [["score", *("-" if point["score"] is None else f"{point['score']:.4g}" for point in points)]]
    rows += [[key, *(_percent(point[key]) for point in points)] for key in ("precision", "recall", "f1")]
    rows += [["false alarms an image", *(f"{point['false_alarms_per_image']:.2f}" for point in points)]]
    landmarks = [run["landmarks"] for run in runs]
    if any(landmarks):
        rows.append(["landmark error (NME)", *(_percent(value and value["nme"]) for value in landmarks)])
    return rows


def _budget_rows(runs: Sequence[Run]) -> list[list[str]]:
    return [[kind, *(_percent(run["error_budget"][kind]) for run in runs)] for kind in runs[0]["error_budget"]]


def _calibration_rows(runs: Sequence[Run]) -> list[list[str]]:
    """Return a row for each range of scores, and last the expected calibration error."""
    of_run = [{each["low"]: each for each in (run["calibration"] or {"bins": []})["bins"]} for run in runs]
    rows = []
    for low in sorted({low for bins in of_run for low in bins}):
        cells = [bins.get(low) for bins in of_run]
        rows.append([f"{low:g}-{next(filter(None, cells))['high']:g}",
                     *(text for cell in cells for text in ((_percent(cell["right"]), f"{cell['detections']:,}") if cell
                                                           else ("-", "-")))])
    errors = [run["calibration"] and run["calibration"]["error"] for run in runs]
    return [*rows, ["calibration error", *(text for error in errors for text in (_percent(error), ""))]]


def _family(runs: Sequence[Run], family: str, change: list[str]) -> list[str]:
    """Return the table of one family of groups; each run has the columns AP, recall, missed."""
    groups = align_groups(runs, family)
    omitted = 0
    if family == "event":
        groups.sort(key=lambda item: -max(group["missed"] for group in item[1] if group))
        omitted = max(0, len(groups) - MAX_EVENTS)
        groups = groups[:MAX_EVENTS]
    head = [family, "faces"]
    for run in runs:
        prefix = f"{run['name']}: " if len(runs) > 1 else ""
        head += [f"{prefix}AP", "recall", "missed"]
    table = _table([*head, *change], [_group_row(name, of_runs) for name, of_runs in groups])
    return table + ([f"... and {omitted} more events, with fewer misses"] if omitted else [])


def _group_row(name: str, groups: Sequence[Group | None]) -> list[str]:
    # Runs over different images have different numbers of faces.
    faces = dict.fromkeys(f"{group['faces']:,}" for group in groups if group)
    row = [name, " / ".join(faces)]
    for group in groups:
        row += [_percent(group["ap"]), _percent(group["recall"]), f"{group['missed']:,}"] if group else ["-"] * 3
    return row + _change([group["ap"] if group else None for group in groups])


def _change(values: Sequence[float | None]) -> list[str]:
    """Return the cell with the change from the first of two values; no cell unless there are two."""
    if len(values) != 2:
        return []
    before, after = values
    return ["-"] if before is None or after is None else [f"{100 * (after - before):+.2f}"]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines with the first column left-aligned, the others right-aligned, and a rule under the head."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = []
    for first, *others in (head, *rows):
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
