# SPDX-License-Identifier: Apache-2.0
"""An analysis as one HTML file that needs nothing else: which faces are missed, curves, the worst images.

    write_page(analysis, "report/index.html", image_dir=Path("dataset/val/images"))

`analysis` is what `analyse` returns for one run or several, or its JSON read again.  Boxes are xywh pixels.
The page has no link to anything outside, reads well without JavaScript, in print, on a phone, light and dark.
"""
from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from dependency.errors import InputError
from dependency.evaluate.ground_truth import SUBSETS
from dependency.evaluate.report import page_faces, page_tables
from dependency.evaluate.report.analysis import VERSION
from dependency.evaluate.report.page_charts import ap_of, curve_panel, run_class
from dependency.evaluate.report.page_markup import Html, count, decimal, join, percent, plural, short, tag
from dependency.evaluate.report.page_pictures import Pictures, cut_pictures
from dependency.evaluate.results import NOTES
from dependency.files import atomic_write

POINTS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


def write_page(analysis: dict[str, Any], path: str | Path, image_dir: Path | None = None) -> None:
    """Write the page, whole or not at all; about 7 MB with all its pictures.

    Args:
        analysis: {"version": 1, "runs": [...]}.
        path: the file, such as `report/index.html`.
        image_dir: holds `<event>/<image>.jpg`; without it, or where an image is absent, the page says so.

    Raises:
        InputError: an analysis of another version or without a run, no such folder of images.
    """
    if analysis.get("version") != VERSION or not analysis.get("runs"):
        raise InputError(f"{path}: cannot be drawn: expected an analysis of version {VERSION} with at least one run, "
                         f"found version {analysis.get('version')}; analyse the predictions again")
    content = render(analysis["runs"], cut_pictures(analysis["runs"], image_dir))
    with atomic_write(path) as file:
        file.write(content)


def render(runs: list[dict[str, Any]], pictures: Pictures) -> str:
    """The whole document."""
    sections = [("summary", "Summary", _summary(runs)),
                ("groups", "Which faces are missed?", page_tables.groups(runs)),
                ("curves", "Precision over recall", _curves(runs)),
                ("events", "Events", page_tables.events(runs)),
                ("misses", "Missed faces", page_faces.misses(runs, pictures)),
                ("false-alarms", "False alarms", page_faces.false_alarms(runs, pictures)),
                ("worst", "Worst images", page_faces.worst_images(runs, pictures)),
                ("landmarks", "Landmarks", _landmarks(runs)),
                ("notes", "How the numbers are made", _notes(runs, pictures))]
    sections = [section for section in sections if section[2]]
    menu = tag("nav", *(tag("a", title, href=f"#{anchor}") for anchor, title, _ in sections), aria_label="Contents")
    names = " vs ".join(run["name"] for run in runs)
    header = tag("header", tag("h1", "Face detection report"), tag("p", names, class_="names"), menu)
    body = [tag("section", tag("h2", title), content, id=anchor) for anchor, title, content in sections]
    return "<!DOCTYPE html>\n" + tag("html", _head(names), tag(
        "body", pictures.store(), header, tag("main", *body), tag("script", Html(_asset("page.js")))), lang="en")


def _head(names: str) -> Html:
    """The policy lets the browser run this one script and load nothing, whatever a name in the data contains."""
    digest = base64.b64encode(hashlib.sha256(_asset("page.js").encode()).digest()).decode()
    policy = (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
              "base-uri 'none'; form-action 'none'")
    return tag("head", tag("meta", charset="utf-8"),
               tag("meta", http_equiv="Content-Security-Policy", content=policy),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("meta", name="color-scheme", content="light dark"),
               tag("title", f"{names} - face detection report"), tag("style", Html(_asset("page.css"))))


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _summary(runs: list[dict[str, Any]]) -> Html:
    sentences = [tag("ol", *(tag("li", sentence) for sentence in run["summary"]), class_="summary") for run in runs]
    if len(runs) == 1:
        top = [*sentences, _tiles(runs[0])]
    else:
        named = [tag("div", tag("h3", tag("span", class_=f"key {run_class(index)}"), run["name"]), sentences[index])
                 for index, run in enumerate(runs)]
        top = [tag("div", *named, class_="panels")]
    return join([*top, page_tables.precision_table(runs), *map(_operating_point, runs)])


def _tiles(run: dict[str, Any]) -> Html:
    """The numbers that one looks for first."""
    point = run["operating_point"]
    tiles = [(f"AP {subset}", decimal(ap_of(run, subset))) for subset in SUBSETS]
    tiles += [("faces found (recall)", percent(point["recall"])), ("precision", percent(point["precision"])),
              ("false alarms an image", decimal(point["false_alarms_per_image"], 2))]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in tiles), class_="tiles")


def _operating_point(run: dict[str, Any]) -> Html:
    point = run["operating_point"]
    if point["score"] is None:
        return tag("p", f"{run['name']}: no detection, so no score to work at.", class_="note")
    return tag("p", tag("b", run["name"]), f": {_protocol(run)}. Found and missed are counted at score ≥ "
               f"{short(point['score'])}, where F1 on the hard subset is best ({decimal(point['f1'])}): "
               f"{count(point['found'])} of {plural(point['faces'], 'face')} found.", class_="note")


def _protocol(run: dict[str, Any]) -> str:
    report = run["report"]
    missing = len(report["missing"])
    fate = ", left out with their faces" if report["protocol"]["only_predicted"] else ", their faces count as missed"
    return (f"IoU {run['iou']:g}, {count(report['scored'])} of {plural(report['images'], 'image')} scored, "
            f"{count(missing)} without a prediction{fate if missing else ''}, "
            f"{plural(report['detections'], 'detection')}")


def _curves(runs: list[dict[str, Any]]) -> Html:
    legend = [tag("li", tag("span", class_=f"key {run_class(index)}"), run["name"]) for index, run in enumerate(runs)]
    return join([tag("p", f"At IoU {' and '.join(sorted({format(run['iou'], 'g') for run in runs}))}. The dot on the "
                     "hard subset is the score at which found and missed are counted.", class_="note"),
                 tag("ul", *legend, class_="legend") if len(runs) > 1 else None,
                 tag("div", *(curve_panel(subset, runs) for subset in SUBSETS), class_="panels")])


def _landmarks(runs: list[dict[str, Any]]) -> Html | None:
    rows = []
    for run in runs:
        if run["landmarks"] is not None:
            error = run["landmarks"]
            rows.append(tag("tr", tag("th", run["name"], scope="row"), tag("td", percent(error["nme"], 2)),
                            *(tag("td", percent(value, 2)) for value in error["per_point"]),
                            tag("td", count(error["faces"])), tag("td", error["normaliser"])))
    if not rows:
        return None
    heads = ("Run", "Mean error", *(name.capitalize() for name in POINTS), "Faces", "Relative to")
    table = tag("table", tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
                tag("tbody", *rows))
    return tag("div", table, class_="scroll")


def _notes(runs: list[dict[str, Any]], pictures: Pictures) -> Html:
    remarks = [tag("li", f"{run['name']}: {warning}") for run in runs for warning in run["report"]["warnings"]]
    absent = [tag("li", f"{name}: {reason}") for name, reason in pictures.absent.items()]
    terms = [("AP", "Average precision by WIDER FACE's protocol: scores scaled to 0..1 over the set, 1000 score "
                    "thresholds, rows in file order, widths and heights counted with one pixel more, faces outside "
                    "the subset neutral. " + "; ".join(f"IoU {iou:g}: {note}" for iou, note in NOTES.items()) + "."),
             ("Found, missed", ("Counted on the hard subset at the score with the best F1. A face is found when a box "
                               "at or above that score overlaps it enough and is the first to do so.")),
             ("AP of a group", ("Only the group's faces count, all others are neutral. A false alarm counts against a "
                               "height group when its own height is in the range, against an event when it is in its "
                               "images, and against every group by flags.")),
             ("Ignored", ("Faces that the subset does not count: neither found nor missed, and a box on one is no "
                         "false alarm."))]
    return join([tag("dl", *(join([tag("dt", term), tag("dd", text)]) for term, text in terms), class_="terms"),
                 join([tag("h3", "Remarks on the input"), tag("ul", *remarks)]) if remarks else None,
                 tag("details", tag("summary", f"{plural(len(absent), 'image')} of {count(pictures.wanted)} not shown"),
                     tag("ul", *absent)) if absent else None])
