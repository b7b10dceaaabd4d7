# SPDX-License-Identifier: Apache-2.0
"""An analysis as text: the summary of every run, and tables with the runs side by side.

    print(format_analysis(analyse(report, scored, flags)))
    print(format_analysis(merge([before, after])))           # with what has changed
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dependency.evaluate.report.groups import Group

EVENTS = 10         # of WIDER's 61, those with the most misses

Run = dict[str, Any]


def format_analysis(analysis: dict[str, Any]) -> str:
    """Summary and tables; AP and recall in percent, `missed` in faces. With two runs, the AP's change stands last."""
    runs = analysis["runs"]
    lines = []
    for run in runs:
        lines += [f"{run['name']} (IoU {run['iou']:g})", *(f"  - {sentence}" for sentence in run["summary"]), ""]
    lines += _table(["AP", *_names(runs), *_change_head(runs)], _ap_rows(runs)) + [""]
    lines += _table(["best F1", *_names(runs)], _point_rows(runs)) + [""]
    for family in dict.fromkeys(family for run in runs for family in run["groups"]):
        lines += _family(runs, family) + [""]
    return "\n".join(lines[:-1])


def _names(runs: Sequence[Run]) -> list[str]:
    return [run["name"] for run in runs]


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
    if any(run["landmarks"] for run in runs):
        rows.append(["landmark error (NME)", *(_percent(run["landmarks"] and run["landmarks"]["nme"])
                                               for run in runs)])
    return rows


def _family(runs: Sequence[Run], family: str) -> list[str]:
    """Three columns a run: AP, recall, missed."""
    groups = [{group["name"]: group for group in run["groups"].get(family, [])} for run in runs]
    names = list(dict.fromkeys(name for of_run in groups for name in of_run))
    left_out = 0
    if family == "event":
        names.sort(key=lambda name: -max(of_run[name]["missed"] for of_run in groups if name in of_run))
        names, left_out = names[:EVENTS], max(0, len(names) - EVENTS)
    head = [family, "faces"]
    for run in runs:
        prefix = f"{run['name']}: " if len(runs) > 1 else ""
        head += [f"{prefix}AP", "recall", "missed"]
    rows = [_group_row(name, [of_run.get(name) for of_run in groups]) for name in names]
    table = _table([*head, *_change_head(runs)], rows)
    return table + ([f"... and {left_out} events more, with fewer misses"] if left_out else [])


def _group_row(name: str, groups: Sequence[Group | None]) -> list[str]:
    # Runs over different images have different faces.
    faces = dict.fromkeys(f"{group['faces']:,}" for group in groups if group)
    row = [name, " / ".join(faces)]
    for group in groups:
        row += [_percent(group["ap"]), _percent(group["recall"]), f"{group['missed']:,}"] if group else ["-"] * 3
    return row + _change([group and group["ap"] for group in groups])


def _change_head(runs: Sequence[Run]) -> list[str]:
    return ["AP change"] if len(runs) == 2 else []


def _change(values: Sequence[float | None]) -> list[str]:
    if len(values) != 2:
        return []
    return ["-"] if None in values else [f"{100 * (values[1] - values[0]):+.2f}"]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The first column to the left, the others to the right, a rule under the head."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = ["  ".join(cell.ljust(width) if not place else cell.rjust(width)
                       for place, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in (head, *rows)]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
