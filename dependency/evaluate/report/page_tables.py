# SPDX-License-Identifier: Apache-2.0
"""Tables of the report page: average precision, groups of faces, events.

    groups(runs)                    # one small table with bars per way of grouping

One row stands for one group; with several runs every cell has one line a run.
"""
from __future__ import annotations

from typing import Any, Callable

from dependency.evaluate.ground_truth import SUBSETS
from dependency.evaluate.report.page_charts import ap_of, bar, run_class, share_bar
from dependency.evaluate.report.page_markup import (
    NOTHING,
    Html,
    breakable,
    count,
    decimal,
    join,
    percent,
    rough_percent,
    short,
    tag,
)

GROUPINGS = {"height": "Height of the face", "occlusion": "Occlusion", "blur": "Blur", "pose": "Pose",
             "illumination": "Illumination", "expression": "Expression"}
NO_FLAGS = ("Groups by occlusion, blur, pose, illumination and expression need WIDER's flags: give "
            "--flags wider_face_val_bbx_gt.txt (from wider_face_split.zip).")
TOP_EVENTS = 15
SPARE = "spare"                     # a column that a phone leaves out; the share and the faces say the same
# The worst group is marked when it has this share of the faces, and is found this much less often than all are.
WORTH_NAMING, CLEARLY_BELOW = 0.01, 0.05


def precision_table(runs: list[dict[str, Any]]) -> Html:
    """AP of every run at every IoU, the differences from the first run, and where it works best."""
    ious = list(dict.fromkeys(iou for run in runs for iou in run["report"]["ap"]))
    top = [tag("th", "Run", scope="col", rowspan=2)]
    top += [tag("th", f"AP at IoU {iou}", scope="colgroup", colspan=3) for iou in ious]
    top.append(tag("th", "At the score with the best F1 on hard", scope="colgroup", colspan=5))
    heads = [subset.capitalize() for _ in ious for subset in SUBSETS]
    heads += ["Score", "Found", "Precision", "F1", "False alarms an image"]
    rows = []
    for index, run in enumerate(runs):
        cells = [_ap_cell(run, runs[0], iou, subset) for iou in ious for subset in SUBSETS]
        point = run["operating_point"]
        cells += [tag("td", text) for text in (short(point["score"]), percent(point["recall"]),
                                               percent(point["precision"]), decimal(point["f1"]),
                                               decimal(point["false_alarms_per_image"], 2))]
        rows.append(tag("tr", tag("th", tag("span", class_=f"key {run_class(index)}"), breakable(run["name"]),
                                       scope="row"), *cells))
    head = tag("thead", tag("tr", *top), tag("tr", *(tag("th", text, scope="col") for text in heads)))
    return tag("div", tag("table", head, tag("tbody", *rows), class_="ap"), class_="scroll")


def groups(runs: list[dict[str, Any]]) -> Html:
    """A panel for every way of grouping that a run has."""
    panels = []
    for key, title in GROUPINGS.items():
        if any(run["groups"].get(key) for run in runs):
            panels.append(tag("div", tag("h3", title), _table(key, runs), class_="panel"))
    flagged = any(run["groups"].get(key) for run in runs for key in GROUPINGS if key != "height")
    return join([_legend(), tag("div", *panels, class_="groups"),
                 None if flagged else tag("p", NO_FLAGS, class_="note")])


def events(runs: list[dict[str, Any]]) -> Html | None:
    """The events, most missed faces first; the script sorts, and shows the first ones until asked for all."""
    if not any(run["groups"].get("event") for run in runs):
        return None
    return join([tag("p", "Events with the most missed faces first.", class_="note"),
                 _table("event", runs)])


def _ap_cell(run: dict[str, Any], first: dict[str, Any], iou: str, subset: str) -> Html:
    value, former = ap_of(run, subset, iou), ap_of(first, subset, iou)
    change = None
    if run is not first and value is not None and former is not None:
        direction = "better" if value > former else "worse" if value < former else None
        change = tag("small", f"{value - former:+.4f}", class_=direction)
    return tag("td", decimal(value, 4), change)


def _legend() -> Html:
    return tag("ul", tag("li", tag("span", tag("span", class_="fill", style="width:62%"), class_="bar run0 sample"),
                         "bar: share of the faces that are found, the rest is missed"),
               tag("li", tag("span", tag("span", class_="tick", style="left:50%"), class_="bar plain sample"),
                   "tick: average precision of the group"),
               tag("li", tag("span", tag("span", class_="fill", style="width:100%"), class_="bar share sample"),
                   "share of everything that is missed"), class_="legend")


def _table(grouping: str, runs: list[dict[str, Any]]) -> Html:
    """Groups as the analysis orders them, events by misses in the first run that has them; the script sorts those."""
    tables = [{group["name"]: group for group in run["groups"].get(grouping, ())} for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    is_event = grouping == "event"
    if is_event:
        names.sort(key=lambda name: -next(table[name]["missed"] for table in tables if name in table))
    worst = None if is_event else _worst(tables[0])
    total = [sum(group["missed"] for group in table.values()) for table in tables]
    heads = ["Event" if is_event else "Group", "Found", "AP", "Missed", "Share of misses", "Faces"]
    head = [tag("th", text, scope="col", class_=SPARE if text == "Missed" else None,
                data_sort=("text" if text == "Event" else "number") if is_event else None,
                aria_sort="descending" if is_event and text == "Missed" else None) for text in heads]
    rows = [_row(name, [table.get(name) for table in tables], total, name == worst) for name in names]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), class_="bars",
                data_top=TOP_EVENTS if is_event else None)
    return tag("div", table, class_="scroll")


def _worst(table: dict[str, dict[str, Any]]) -> str | None:
    """The group found least often, where it stands out."""
    faces, missed = (sum(group[key] for group in table.values()) for key in ("faces", "missed"))
    rated = [group for group in table.values() if group["recall"] is not None and group["share"] >= WORTH_NAMING
             and group["recall"] <= 1 - missed / faces - CLEARLY_BELOW]
    return min(rated, key=lambda group: group["recall"])["name"] if rated else None


def _row(name: str, groups_of_name: list[dict[str, Any] | None], total: list[int], worst: bool) -> Html:
    """One group in every run; `data-value`, by which the script sorts, is the first run's."""
    first = next(group for group in groups_of_name if group)

    def cell(key: str, line: Callable[[int, dict[str, Any]], Html], class_: str | None = None) -> Html:
        lines = [tag("div", line(index, group) if group else NOTHING, class_="line")
                 for index, group in enumerate(groups_of_name)]
        return tag("td", *lines, data_value=first[key], class_=class_)

    def found(index: int, group: dict[str, Any]) -> Html:
        return join([bar(group["recall"], group["ap"], index), tag("span", percent(group["recall"]), class_="value")])

    def part(index: int, group: dict[str, Any]) -> Html:
        share = group["missed"] / total[index] if total[index] else 0.0
        return join([share_bar(share), tag("span", rough_percent(share), class_="value")])

    badge = tag("span", "found least", class_="worst") if worst else None
    return tag("tr", tag("th", breakable(name), " ", badge, scope="row", data_value=name),
               cell("recall", found, "wide"), cell("ap", lambda _, group: decimal(group["ap"])),
               cell("missed", lambda _, group: count(group["missed"]), SPARE), cell("missed", part, "narrow"),
               tag("td", count(first["faces"]), data_value=first["faces"]))
