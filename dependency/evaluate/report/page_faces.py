# SPDX-License-Identifier: Apache-2.0
"""The report page's pictures with words: missed faces, false alarms, worst images.

    misses(runs, pictures)

What has no picture is in the table below the pictures all the same.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from dependency.evaluate.report.page_charts import run_class
from dependency.evaluate.report.page_markup import Html, breakable, count, decimal, join, plural, short, tag
from dependency.evaluate.report.page_pictures import Pictures, draw

REASONS = {"no box": "no box overlaps it", "box too loose": "a box, but it overlaps too little",
           "score too low": "a good box, with too low a score",
           "taken by another": "its best box belongs to another face"}
KINDS = {"background": "there is no annotated face", "loose box": "on a face, but overlaps too little",
         "duplicate": "a second box on a face that is found"}
LAYERS = {"missed": "missed", "false": "false alarm", "found": "found", "ignored": "ignored (does not count)"}


def misses(runs: list[dict[str, Any]], pictures: Pictures) -> Html:
    """The missed faces, those first that should have been easiest."""
    heads = ("Image", "Height", "Why", "Best overlap", "Its score", "Flags")
    return _per_run(runs, lambda run: _ranked(
        run["misses"], pictures, "why", REASONS, "missed", _miss_caption, heads,
        lambda face: (f"{face['height']:.0f} px", face["why"], decimal(face["best_overlap"], 2),
                      short(face["best_score"]), _flags(face))))


def false_alarms(runs: list[dict[str, Any]], pictures: Pictures) -> Html:
    """The false alarms, best score first."""
    heads = ("Image", "Score", "Kind", "Overlap with the nearest face", "Height")
    return _per_run(runs, lambda run: _ranked(
        run["false_alarms"], pictures, "kind", KINDS, "false", _alarm_caption, heads,
        lambda face: (short(face["score"]), face["kind"], decimal(face["overlap"], 2), f"{face['box'][3]:.0f} px")))


def worst_images(runs: list[dict[str, Any]], pictures: Pictures) -> Html:
    """The images with the most missed faces and false alarms."""
    legend = tag("ul", *(tag("li", tag("span", class_=f"swatch {kind}"), text, data_layer=kind)
                         for kind, text in LAYERS.items()), class_="legend layers")
    return join([legend, _per_run(runs, lambda run: _gallery(run["worst_images"], pictures))])


def _per_run(runs: list[dict[str, Any]], draw_run: Callable[[dict[str, Any]], Html]) -> Html:
    """One block, or one under each run's name."""
    if len(runs) == 1:
        return draw_run(runs[0])
    return join(tag("div", tag("h3", tag("span", class_=f"key {run_class(index)}"), run["name"]), draw_run(run))
                for index, run in enumerate(runs))


def _ranked(faces: list[dict[str, Any]], pictures: Pictures, field: str, meanings: dict[str, str], outline: str,
            caption: Callable[[dict[str, Any]], Html], heads: Iterable[str],
            cells: Callable[[dict[str, Any]], Iterable[str]]) -> Html:
    """Close-ups with captions, what their kinds mean and how many there are, and all of them as a table."""
    if not faces:
        return tag("p", "None.", class_="note")
    kinds = [face[field] for face in faces]
    lines = [tag("li", tag("b", f"{count(kinds.count(kind))} {kind}"), f": {meanings[kind]}")
             for kind in sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind))]
    cards, rows = [], []
    for rank, face in enumerate(faces, start=1):
        event = face["image"].partition("/")[0]
        picture = pictures.crops.get((face["image"], tuple(face["box"])))
        if picture:
            drawn = draw(picture, {outline: [face["box"]]}, f"{face[field]} in {face['image']}")
            words = tag("figcaption", caption(face), tag("small", breakable(event)))
            cards.append(tag("figure", drawn, words, data_event=event, data_kind=face[field], title=face["image"]))
        rows.append([str(rank), face["image"], *cells(face)])
    return join([tag("p", f"The first {plural(len(faces), 'face')}, ranked:" if outline == "missed" else
                     f"The first {count(len(faces))}, best score first:", class_="note"),
                 tag("ul", *lines, class_="kinds"), _absence(faces, pictures),
                 tag("div", *cards, class_="cards", data_filter=True) if cards else None,
                 _details(f"All {count(len(faces))} as a table", ("#", *heads), rows, not cards)])


def _gallery(worst: list[dict[str, Any]], pictures: Pictures) -> Html:
    if not worst:
        return tag("p", "None.", class_="note")
    cards, rows = [], []
    for rank, entry in enumerate(worst, start=1):
        picture = pictures.photos.get(entry["image"])
        text = f"{count(entry['missed'])} of {plural(entry['faces'], 'face')} missed"
        alarms = plural(entry["false_alarms"], "false alarm")
        if picture:
            cards.append(tag("figure", draw(picture, entry["boxes"], f"{entry['image']}: {text}, {alarms}"),
                             tag("figcaption", tag("b", text), f", {alarms}", tag("small", breakable(entry["image"]))),
                             data_event=entry["image"].partition("/")[0]))
        rows.append([str(rank), entry["image"], *(count(entry[key]) for key in ("faces", "missed", "false_alarms"))])
    return join([_absence(worst, pictures),
                 tag("div", *cards, class_="gallery", data_filter=True) if cards else None,
                 _details(f"All {count(len(worst))} as a table", ("#", "Image", "Faces", "Missed", "False alarms"),
                          rows, not cards)])


def _absence(faces: list[dict[str, Any]], pictures: Pictures) -> Html | None:
    """How many have no picture, and why the first one has none."""
    reasons = [pictures.absent[face["image"]] for face in faces if face["image"] in pictures.absent]
    if not reasons:
        return None
    return tag("p", f"{count(len(reasons))} of {count(len(faces))} are not shown as pictures: ",
               breakable(reasons[0]), ".", class_="absent")


def _details(title: str, heads: Iterable[str], rows: list[list[str]], shown: bool) -> Html:
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    body = [tag("tr", *(tag("td", breakable(cell)) for cell in row)) for row in rows]
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="plain")
    return tag("details", tag("summary", title), tag("div", table, class_="scroll"), open=shown)


def _miss_caption(face: dict[str, Any]) -> Html:
    flags = _flags(face)
    detail = {"score too low": f" ({short(face['best_score'])})",
              "box too loose": f" (overlap {decimal(face['best_overlap'], 2)})"}.get(face["why"])
    return join([tag("b", f"{face['height']:.0f} px"), f", {face['why']}", detail,
                 tag("small", flags) if flags else None])


def _alarm_caption(face: dict[str, Any]) -> Html:
    return join([tag("b", short(face["score"])), f", {face['kind']}"])


def _flags(face: dict[str, Any]) -> str:
    """The flags that are set, as words; those that say "nothing special" are in the groups already."""
    return ", ".join(str(value) for value in (face["flags"] or {}).values())
