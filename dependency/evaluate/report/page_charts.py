# SPDX-License-Identifier: Apache-2.0
"""Charts of the report page: bars inside table cells, precision over recall as SVG.

    bar(recall=0.62, ap=0.58, run=0)
    curve_panel("hard", runs)

Values are 0..1; `run` is the position of a run, which sets its colour and dashes.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dependency.evaluate.report.page_markup import Html, decimal, percent, tag

COLOURS = 6                                         # page.css has as many, then they start again
# The drawing's own units: plot area, and room for the labels around it.
PLOT_WIDTH, PLOT_HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 264, 200, 42, 8, 10, 34
GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def ap_of(run: dict[str, Any], subset: str, iou: str | None = None) -> float | None:
    """A run's AP on a subset, at an IoU threshold such as "0.4" or its own; None where it has none."""
    return run["report"]["ap"].get(iou or f"{run['iou']:g}", {}).get(subset)


def run_class(run: int) -> str:
    """The class that colours a run."""
    return f"run{run % COLOURS}"


def bar(recall: float | None, ap: float | None, run: int = 0) -> Html:
    """A bar as long as the share of faces found, with a tick at the average precision; the rest is missed."""
    parts = [tag("span", class_="fill", style=f"width:{_length(recall)}")]
    if ap is not None:
        parts.append(tag("span", class_="tick", style=f"left:{_length(ap)}"))
    return tag("span", *parts, class_=f"bar {run_class(run)}", aria_hidden="true")


def share_bar(share: float) -> Html:
    """A bar as long as a group's share of everything missed."""
    return tag("span", tag("span", class_="fill", style=f"width:{_length(share)}"), class_="bar share",
               aria_hidden="true")


def curve_panel(subset: str, runs: Sequence[dict[str, Any]]) -> Html:
    """Precision over recall of every run on one subset, the operating point as a dot (hard only).

    A run without a face in the subset has no curve.
    """
    lines, labels = [], []
    for index, run in enumerate(runs):
        curve = run["report"]["curves"].get(f"{run['iou']:g}", {}).get(subset)
        labels.append(f"{run['name']}: AP {decimal(ap_of(run, subset))}")
        if curve is None:
            continue
        lines.append(tag("path", d=_path(curve["recall"], curve["precision"]), class_=f"curve {run_class(index)}"))
        point = run["operating_point"]
        if subset == "hard" and point["recall"] is not None and point["precision"] is not None:
            x, y = _place(point["recall"], point["precision"])
            title = f"{run['name']}: recall {percent(point['recall'])}, precision {percent(point['precision'])}"
            lines.append(tag("circle", tag("title", title), cx=x, cy=y, r=4.5, class_=f"dot {run_class(index)}"))
    height, width = TOP + PLOT_HEIGHT + BOTTOM, LEFT + PLOT_WIDTH + RIGHT
    chart = tag("svg", *_axes(), *lines, viewBox=f"0 0 {width} {height}", role="img", class_="curves",
                aria_label=f"Precision over recall, {subset}. {'; '.join(labels)}")
    values = [tag("span", tag("span", class_=f"key {run_class(index)}"), decimal(ap_of(run, subset)), class_="ap",
                  title=run["name"]) for index, run in enumerate(runs)]
    return tag("figure", tag("figcaption", tag("b", subset.capitalize()), " AP ", *values), chart, class_="panel")


def _axes() -> list[Html]:
    parts = []
    for value in GRID:
        x, y = _place(value, value)
        parts += [tag("path", d=f"M{LEFT} {y}h{PLOT_WIDTH}M{x} {TOP}v{PLOT_HEIGHT}", class_="grid"),
                  tag("text", f"{value:g}", x=LEFT - 6, y=y + 3.5, text_anchor="end"),
                  tag("text", f"{value:g}", x=x, y=TOP + PLOT_HEIGHT + 14, text_anchor="middle")]
    middle = TOP + PLOT_HEIGHT / 2
    parts.append(tag("text", "recall", x=LEFT + PLOT_WIDTH / 2, y=TOP + PLOT_HEIGHT + 29, text_anchor="middle"))
    parts.append(tag("text", "precision", x=10, y=middle, text_anchor="middle", transform=f"rotate(-90 10 {middle})"))
    return parts


def _path(recall: Sequence[float], precision: Sequence[float]) -> str:
    """The points in order, from recall 0, where the area under the curve begins; equal ones are drawn once."""
    points = list(dict.fromkeys(_place(x, y) for x, y in zip([0.0, *recall], [*precision[:1], *precision])))
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _place(recall: float, precision: float) -> tuple[float, float]:
    return round(LEFT + recall * PLOT_WIDTH, 1), round(TOP + (1 - precision) * PLOT_HEIGHT, 1)


def _length(share: float | None) -> str:
    return f"{100 * (share or 0):.1f}%"
