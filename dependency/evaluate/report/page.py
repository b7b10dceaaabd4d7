# SPDX-License-Identifier: Apache-2.0
"""Writes an analysis as one HTML file that needs nothing else: missed faces, curves, worst images.

    write_page(analysis, "report/index.html", image_dir=Path("dataset/val/images"))

`analysis` is what `analyse` returns for one run or several, or its JSON read again. The templates escape every value.
The page loads nothing from outside; all its numbers can be read without JavaScript, in print and on a phone.
"""
from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dependency.errors import InputError
from dependency.evaluate.ground_truth import SUBSETS
from dependency.evaluate.report.analysis import VERSION
from dependency.evaluate.report.groups import Group, align_groups
from dependency.evaluate.report.pictures import Pictures, cut_pictures
from dependency.evaluate.results import NOTES
from dependency.files import atomic_write

Run = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
PLOT_WIDTH, PLOT_HEIGHT = 264, 200  # of a curve, in units of its SVG
FAMILIES = {"height": "Height of the face", "occlusion": "Occlusion", "blur": "Blur", "pose": "Pose",
            "illumination": "Illumination", "expression": "Expression"}
# The worst group is marked if it has this share of the faces, and a recall this much lower than that of all faces.
MIN_SHARE, MIN_GAP = 0.01, 0.05


def write_page(analysis: dict[str, Any], path: str | Path, image_dir: Path | None = None) -> None:
    """Write the page atomically; about 5 MB of pictures for each run.

    Args:
        analysis: {"version": 1, "runs": [...]}.
        path: the file, such as `report/index.html`.
        image_dir: folder with `<event>/<image>.jpg`; the page says which images are absent, or that there is no folder.

    Raises:
        InputError: an analysis of another version or without a run, no such image folder, or jinja2 is not installed.
    """
    if analysis.get("version") != VERSION or not analysis.get("runs"):
        raise InputError(f"{path}: expected an analysis of version {VERSION} with at least one run, got version "
                         f"{analysis.get('version')}; analyse the predictions again")
    templates = load_templates()
    runs = analysis["runs"]
    pictures = cut_pictures(runs, image_dir)
    content = templates.get_template("page.html").render(
        runs=runs, comparisons=analysis.get("comparisons", []), subsets=SUBSETS, iou_notes=NOTES,
        pictures=pictures, families=FAMILIES,
        group_rows={family: _group_rows(runs, family) for family in ("event", *FAMILIES)},
        curves={subset: [_curve(run, subset) for run in runs] for subset in SUBSETS},
        misses=[_failures(run["misses"], pictures, "why", "missed") for run in runs],
        false_alarms=[_failures(run["false_alarms"], pictures, "kind", "false") for run in runs],
        worst_images=[_failures(run["worst_images"], pictures) for run in runs])
    with atomic_write(path) as file:
        # File names that are not UTF-8 reach here as surrogates, which are shown as `\udcff`.
        file.write(content.encode("utf-8", "backslashreplace").decode())


def load_templates() -> Any:
    """Return the jinja2 environment of the page, imported here since only the page needs it.

    Raises:
        InputError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise InputError("--report needs jinja2 for its HTML page: pip install jinja2") from error
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, plural=plural, breakable=breakable)
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment.globals.update(
        ap=average_precision, style=Markup(style), script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        plot_width=PLOT_WIDTH, plot_height=PLOT_HEIGHT)
    return environment


def average_precision(run: Run, subset: str, iou: str | None = None) -> float | None:
    """Return a run's AP on a subset at an IoU threshold such as "0.4" (default: its own); None if it has none."""
    return run["report"]["ap"].get(iou or f"{run['iou']:g}", {}).get(subset)


def number(value: float | None, spec: str = ",") -> str:
    """Format a number, such as 31,958; a percent sign stands after a space that does not break."""
    return "–" if value is None else format(value, spec).replace("%", "\u00a0%")


def plural(value: int, noun: str) -> str:
    """Format `1 face`, `2,300 faces`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def breakable(text: str) -> str:
    """Return markup of a path or an event's name, escaped, with line breaks allowed after `/`, `--` and `_`."""
    from markupsafe import Markup
    return Markup("<wbr>").join(re.split("(?<=[/_-])(?![/_-])", text))


def _group_rows(runs: Sequence[Run], family: str) -> list[dict[str, Any]]:
    """Return one row per group: its name, the group of each run (or None), the first of these, and whether it is worst.

    Events are sorted by the misses of the first run that has them; other groups keep their order.
    """
    missed = [sum(group["missed"] for group in run["groups"].get(family, [])) for run in runs]
    worst = _worst_group(runs[0]["groups"].get(family, [])) if family != "event" else None
    rows = []
    for name, groups in align_groups(runs, family):
        groups = [group and {**group, "share_of_misses": group["missed"] / total if total else 0.0}
                  for group, total in zip(groups, missed)]
        rows.append({"name": name, "groups": groups, "first": next(filter(None, groups)), "worst": name == worst})
    return sorted(rows, key=lambda row: -row["first"]["missed"]) if family == "event" else rows


def _worst_group(groups: Sequence[Group]) -> str | None:
    """Return the name of the group with the lowest recall, if it is clearly below that of all."""
    faces, missed = (sum(group[key] for group in groups) for key in ("faces", "missed"))
    rated = [group for group in groups
             if group["share"] >= MIN_SHARE and group["recall"] <= 1 - missed / faces - MIN_GAP]
    return min(rated, key=lambda group: group["recall"])["name"] if rated else None


def _curve(run: Run, subset: str) -> dict[str, Any] | None:
    """Return the SVG path of precision over recall and the dot of the operating point; None without a face."""
    curve = run["report"]["curves"].get(f"{run['iou']:g}", {}).get(subset)
    if curve is None:
        return None
    # The area under the curve begins at recall 0.
    recall, precision = [0.0, *curve["recall"]], [*curve["precision"][:1], *curve["precision"]]
    points = dict.fromkeys(map(_plot_point, recall, precision))
    point = run["operating_point"]
    return {"path": "M" + "L".join(f"{x} {y}" for x, y in points),
            "dot": _plot_point(point["recall"], point["precision"])}


def _plot_point(recall: float, precision: float) -> tuple[float, float]:
    """Return x and y against the plot's lower left corner; y points down."""
    return round(recall * PLOT_WIDTH, 1), round(-precision * PLOT_HEIGHT, 1)


def _failures(entries: Sequence[dict[str, Any]], pictures: Pictures, kind: str = "",
              outline: str = "") -> dict[str, Any]:
    """Collect the misses, false alarms or worst images of a run for the page.

    Args:
        entries: from the analysis.
        pictures: all pictures.
        kind: the key of an entry that holds its kind; "" for images, which have no kind.
        outline: how the box of an entry is drawn; "" for images, which have several boxes.

    Returns:
        the entries, the number of entries of each kind, a card for each picture, why the other entries have none.
    """
    cards = []
    for entry in entries:
        image = entry["image"]
        picture = pictures.crops.get((image, tuple(entry["box"]))) if outline else pictures.photos.get(image)
        if picture:
            cards.append({"entry": entry, "picture": picture, "event": image.split("/")[0],
                          "kind": entry[kind] if kind else "faces",
                          "boxes": {outline: [entry["box"]]} if outline else entry["boxes"]})
    return {"entries": entries, "cards": cards,
            "kinds": Counter(entry[kind] for entry in entries).most_common() if kind else [],
            "absent": [pictures.absent[entry["image"]] for entry in entries if entry["image"] in pictures.absent]}
