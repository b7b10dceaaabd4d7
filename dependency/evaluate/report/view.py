# SPDX-License-Identifier: Apache-2.0
"""What the templates of the page show, made from the runs of an analysis: facts, verdicts, plots, tables.

    runs = name_runs(analysis["runs"])                      # each with a letter, where there are several
    facts(runs, analysis)                                   # what all runs share, and what is each one's own
    verdicts(runs, analysis["comparisons"])                 # which run is best, and which cannot be told from it

All numbers come from the analysis; none is computed here.
"""
from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from dependency.evaluate.ground_truth import SUBSETS
from dependency.evaluate.report.groups import MIN_FACES, align_groups
from dependency.evaluate.report.pictures import Pictures

Run = dict[str, Any]

PLOT_WIDTH, PLOT_HEIGHT = 264, 200      # of a curve of precision over recall, in units of its SVG
GRAPH_WIDTH, GRAPH_HEIGHT = 520, 220    # of precision, recall and F1 over score
FRAME_MARGIN = 0.01                     # of a picture, around boxes
LABEL_HEIGHT, LETTER_WIDTH = 20, 11     # of the names of its marked scores, as large as on a phone
MEASURES = ("precision", "recall", "f1")
BARELY = 0.1                            # the part of a difference from which its interval must begin, to be clear
RECALLS = tuple(round(0.1 * step, 1) for step in range(1, 10)) + (0.95,)
FAMILIES = {"height": "Height of the face", "occlusion": "Occlusion", "blur": "Blur", "pose": "Pose",
            "illumination": "Illumination", "expression": "Expression", "event": "Event"}


def name_runs(runs: Sequence[Run]) -> list[Run]:
    """Give each of several runs a letter (from the 27th on a number), a single run an empty one."""
    letters = [*ascii_uppercase, *map(str, range(27, len(runs) + 1))] if len(runs) > 1 else [""]
    return [{**run, "letter": letter, "index": index} for index, (run, letter) in enumerate(zip(runs, letters))]


def average_precision(run: Run, subset: str, iou: str | None = None) -> float | None:
    """Return a run's AP on a subset at an IoU threshold such as "0.4" (default: its own); None if it has none."""
    return run["report"]["ap"].get(iou or f"{run['iou']:g}", {}).get(subset)


def interval(run: Run, subset: str, iou: str | None = None) -> list[float] | None:
    """Return the 95 % interval of that AP; None without a bootstrap."""
    ends = run["report"].get("interval", {}).get(iou or f"{run['iou']:g}", {}).get(subset)
    return ends if ends and ends[0] is not None else None


def best_run(runs: Sequence[Run]) -> Run:
    """Return the run with the highest AP on the widest subset, of equal ones the first."""
    return max(runs, key=lambda run: average_precision(run, SUBSETS[-1]) or 0)


def facts(runs: Sequence[Run], analysis: dict[str, Any]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return how the numbers were obtained, by name: what all runs share, and what is each run's own."""
    own = [_facts(run) for run in runs]
    names = dict.fromkeys(name for each in own for name in each)
    shared = {name: own[0][name] for name in names if len({each.get(name) for each in own}) == 1}
    written = analysis.get("written", {})
    if written:
        shared["Report"] = _join(written.get("date"), written.get("commit") and f"commit {written['commit']}")
    return shared, [{name: value for name, value in each.items() if name not in shared} for each in own]


def _facts(run: Run) -> dict[str, str]:
    report, settings = run["report"], run.get("settings") or {}
    ways = [settings.get("test_size"), settings.get("pad") and f"padding {settings['pad']}"]
    if len(settings.get("test_scales", [1])) > 1:
        ways.append(f"scales {', '.join(f'{scale:g}' for scale in settings['test_scales'])}")
    if settings.get("flip_test"):
        ways.append("mirrored too")
    known = {"Checkpoint": settings.get("checkpoint"),
             "Test size": _join(*ways),
             "NMS": _join(settings.get("nms"), settings.get("nms") != "soft" and settings.get("nms_iou")),
             "Detections": _join(f"{report['detections']:,}", "score_threshold" in settings and
                                 f"scores from {settings['score_threshold']:g}"),
             "Predicted": _join(settings.get("date"), settings.get("commit") and f"commit {settings['commit']}")}
    if not settings:
        known["Checkpoint"] = "not known: no settings.json beside the predictions"
    missing = len(report["missing"])
    fate = "left out" if report["protocol"].get("only_predicted") else "counted as missed"
    protocol = report["protocol"]
    known |= {"Images": f"{report['scored']:,} of {report['images']:,}"
                        + (f", {missing:,} without a prediction {fate}" if missing else ""),
              "Faces": f"{run['operating_point']['faces']:,} in the {SUBSETS[-1]} subset",
              "Protocol": f"WIDER FACE, IoU {run['iou']:g}",
              "Rows read as": protocol.get("layout"), "Scores": protocol.get("scores"),
              "Intervals": f"95 %, {protocol['bootstrap']:,} replicates" if protocol.get("bootstrap") else None}
    return {name: value for name, value in known.items() if value}


def _join(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)


def verdicts(runs: Sequence[Run], comparisons: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say for each subset, and for their sum, which run is best at the first IoU, and how the others compare with it.

    Returns:
        {"kind", "best": run, "equal": [(run, comparison)] that cannot be told from it, "worse": the others}.
    """
    by_name = {run["name"]: run for run in runs}
    result = []
    for kind in (*SUBSETS, "sum"):
        pairs = [(by_name[each["other"]], each) for each in comparisons
                 if each["kind"] == kind and each["iou"] == runs[0]["iou"] and each["other"] in by_name]
        if pairs:
            equal, worse = ([pair for pair in pairs if (pair[1]["low"] <= 0 <= pair[1]["high"]) is told]
                            for told in (True, False))
            result.append({"kind": kind, "best": by_name[pairs[0][1]["best"]], "equal": equal, "worse": worse})
    return result


def plain_answer(verdicts: Sequence[dict[str, Any]]) -> str:
    """Answer "is B better than A?" in one sentence, the widest subset first."""
    told: dict[str, list[str]] = {}
    unknown = []
    for verdict in reversed([each for each in verdicts if each["kind"] in SUBSETS]):
        for _, each in verdict["worse"]:
            barely = "barely " if each["low"] < BARELY * each["difference"] else ""
            told.setdefault(verdict["best"]["letter"], []).append(f"{barely}on {verdict['kind']}")
        unknown += [verdict["kind"]] * len(verdict["equal"])
    better = [f"{letter} is better {', '.join(kinds)}" for letter, kinds in told.items()]
    equal = [f"on {' and '.join(unknown)} the two cannot be told apart"] if unknown else []
    if SUBSETS[-1] in unknown or not told:
        return f"This cannot be told: {'; '.join(equal + better)}."
    return f"{'Yes' if next(iter(told)) == 'B' else 'No'}: {'; '.join(better + equal)}."


def differences(runs: Sequence[Run], comparisons: Sequence[dict[str, Any]], iou: float) -> dict[str, Any]:
    """Return the table of how far each run is behind the best at an IoU, by kind, the widest subset first.

    Returns:
        {kind: {"best": name, "is_clear": it is better than every other run, "cells": comparison by name of the other
        run, "reach": the widest end of an interval}}.
    """
    table: dict[str, Any] = {}
    for kind in (*reversed(SUBSETS), "sum"):
        cells = {each["other"]: each for each in comparisons if each["kind"] == kind and each["iou"] == iou}
        if cells:
            reach = max(max(abs(each["low"]), abs(each["high"])) for each in cells.values()) or 1
            table[kind] = {"best": next(iter(cells.values()))["best"], "cells": cells, "reach": reach,
                           "is_clear": all(each["low"] > 0 for each in cells.values())}
    return table


def group_rows(runs: Sequence[Run], family: str) -> list[dict[str, Any]]:
    """Return one row per group: its name, the group of each run (or None), the first of these, and if it has few faces.

    Events are sorted by the misses of the first run that has them; other groups keep their order.
    """
    missed = [sum(group["missed"] for group in run["groups"].get(family, [])) for run in runs]
    rows = []
    for name, groups in align_groups(runs, family):
        groups = [group and {**group, "share_of_misses": group["missed"] / total if total else 0.0}
                  for group, total in zip(groups, missed)]
        first = next(filter(None, groups))
        rows.append({"name": name, "groups": groups, "first": first, "few": first["faces"] < MIN_FACES})
    return sorted(rows, key=lambda row: -row["first"]["missed"]) if family == "event" else rows


def curve(run: Run, subset: str) -> dict[str, Any] | None:
    """Return the SVG path of precision over recall and the dot of the operating point; None without a face."""
    points = run["report"]["curves"].get(f"{run['iou']:g}", {}).get(subset)
    if points is None:
        return None
    # The area under the curve begins at recall 0.
    recall, precision = [0.0, *points["recall"]], [*points["precision"][:1], *points["precision"]]
    point = run["operating_point"]
    return {"path": _path(dict.fromkeys((round(x * PLOT_WIDTH, 1), round(-y * PLOT_HEIGHT, 1))
                                        for x, y in zip(recall, precision))),
            "dot": (round(point["recall"] * PLOT_WIDTH, 1), round(-point["precision"] * PLOT_HEIGHT, 1)),
            "at": {level: max((y for x, y in zip(recall, precision) if x >= level), default=None)
                   for level in RECALLS}}


def graph(run: Run) -> dict[str, Any] | None:
    """Return the SVG paths of precision, recall and F1 over score, marked scores, and the rows of the slider.

    The rows are those of the 100 scores and of the scores to deploy; None where no face is found.
    """
    rows = [row for row in run["scores"] if row["recall"] > 0]
    if len(rows) < 2:
        return None
    low, high = run["scores"][0]["score"], run["scores"][-1]["score"]
    high += run["scores"][1]["score"] - low             # the rows are parts of the range, without its end

    def x(score: float) -> float:
        return round(min(1.0, max(0.0, (score - low) / (high - low))) * GRAPH_WIDTH, 1)

    found = [each for each in run["deploy"] if each["score"] is not None]
    named = [(f"{'recall ' if each['want'] == 'recall' else ''}{100 * each['value']:g} %", each) for each in found]
    named.append(("best F1", run["operating_point"]))
    sure = [each["sure"] for each in found if each["sure"]]
    by_score = {each["score"]: each for each in (*run["scores"], *sure, *found, run["operating_point"])}
    start = (advice(run) or run["operating_point"])["score"]
    return {"paths": {name: _path([(x(row["score"]), round(-row[name] * GRAPH_HEIGHT, 1)) for row in rows])
                      for name in MEASURES},
            "marks": _place([(name, x(each["score"])) for name, each in named]),
            "low": low, "high": high,
            "ticks": [(x(low + part * (high - low) / 5), low + part * (high - low) / 5) for part in range(6)],
            "rows": [[score, *(row[name] for name in MEASURES), row["false_alarms_per_image"]]
                     for score, row in sorted(by_score.items())],
            "start": sorted(by_score).index(start)}


def _place(marks: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Place the names of marked scores above the graph, each in the lowest line where it hides no other."""
    ends: list[float] = []              # of the last name in every line
    placed = []
    for name, x in sorted(marks, key=lambda mark: mark[1]):
        width = len(name) * LETTER_WIDTH
        middle = min(max(x, width / 2), GRAPH_WIDTH - width / 2)
        line = next((line for line, end in enumerate(ends) if middle - width / 2 > end), len(ends))
        ends[line:line + 1] = [middle + width / 2]
        placed.append({"name": name, "x": x, "middle": round(middle, 1), "line": line})
    return placed


def advice(run: Run) -> dict[str, Any] | None:
    """Return the score to name first: the one that was asked for, else that of a precision of 95 %; None without."""
    found = [each for each in run["deploy"] if each["score"] is not None]
    return next((each for each in found if each["asked"]),
                next((each for each in found if (each["want"], each["value"]) == ("precision", 0.95)), None))


def _path(points: Any) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def failures(run: Run, name: str, pictures: Pictures, kind: str = "") -> dict[str, Any]:
    """Collect the "misses", "false_alarms" or "worst_images" of a run for the page.

    Args:
        run, name: the run, and the list.
        pictures: all pictures.
        kind: the key of an entry that holds its kind; "" for images, which have no kind.

    Returns:
        the entries, how many there are in all and of each kind, a card for each picture, why entries have none.
    """
    entries, counts = run[name], run["counts"][name]
    cards = []
    for entry in entries:
        image = entry["image"]
        picture = pictures.crops.get((image, tuple(entry["box"]))) if kind else pictures.photos.get(image)
        if picture:
            cards.append({"entry": entry, "picture": picture, "event": image.split("/")[0],
                          "kind": entry[kind] if kind else "faces", "boxes": outlines(entry),
                          "frame": frame(picture.view, outlines(entry))})
    return {"entries": entries, "cards": cards, "total": sum(counts.values()) if kind else counts,
            "kinds": sorted((pair for pair in counts.items() if pair[1]), key=lambda pair: -pair[1]) if kind else [],
            "absent": [pictures.absent[entry["image"]] for entry in entries if entry["image"] in pictures.absent]}


def frame(view: Sequence[float], boxes: dict[str, list]) -> list[float]:
    """Return the part of the photograph to show, x y w h: the picture's, widened to hold all boxes and their lines."""
    margin = FRAME_MARGIN * max(view[2:])
    edges = [(view[0], view[1], view[0] + view[2], view[1] + view[3])]
    edges += [(box[0] - margin, box[1] - margin, box[0] + box[2] + margin, box[1] + box[3] + margin)
              for of_kind in boxes.values() for box in of_kind]
    left, top = (min(each[side] for each in edges) for side in (0, 1))
    right, bottom = (max(each[side] for each in edges) for side in (2, 3))
    return [round(value, 1) for value in (left, top, right - left, bottom - top)]


def outlines(entry: dict[str, Any]) -> dict[str, list]:
    """Return the boxes of a miss, a false alarm or an image by how they are drawn; "false" is a detection."""
    if "boxes" in entry:
        return entry["boxes"]
    if "why" in entry:
        return {"missed": [entry["box"]], "false": [entry["best_box"]] if entry.get("best_box") else []}
    return {"false": [entry["box"]], entry.get("face_is") or "found": [entry["face_box"]] if entry.get("face_box")
            else []}
