# SPDX-License-Identifier: Apache-2.0
"""Writes an analysis as one HTML file that needs nothing else: which faces are missed, which run is better, what score.

    write_page(analysis, "report/index.html", image_dir=Path("dataset/val/images"))

`analysis` is what `analyse` returns for one run or several, or its JSON read again. The templates escape every value.
The page loads nothing from outside; all its numbers can be read without JavaScript, in print and on a phone.
"""
from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dependency.errors import InputError
from dependency.evaluate.ground_truth import SUBSETS
from dependency.evaluate.report import view
from dependency.evaluate.report.analysis import VERSION
from dependency.evaluate.report.failures import MEANINGS
from dependency.evaluate.report.groups import MIN_FACES
from dependency.evaluate.report.pictures import cut_pictures
from dependency.evaluate.results import NOTES
from dependency.files import atomic_write

TEMPLATES = Path(__file__).parent / "templates"


def write_page(analysis: dict[str, Any], path: str | Path, image_dir: Path | None = None) -> None:
    """Write the page atomically; 2 to 3 MB with pictures, however many runs it shows.

    Args:
        analysis: {"version": 2, "runs": [...]}.
        path: the file, such as `report/index.html`.
        image_dir: folder with `<event>/<image>.jpg`; the page says which images are absent, or that there is no folder.

    Raises:
        InputError: an analysis of another version or without a run, no such image folder, or jinja2 is not installed.
    """
    if analysis.get("version") != VERSION or not analysis.get("runs"):
        raise InputError(f"{path}: expected an analysis of version {VERSION} with at least one run, got version "
                         f"{analysis.get('version')}; analyse the predictions again")
    templates = load_templates()
    runs, comparisons = view.name_runs(analysis["runs"]), analysis.get("comparisons", [])
    pictures = cut_pictures(runs, image_dir)
    shared, own = view.facts(runs, analysis)
    verdicts = view.verdicts(runs, comparisons)
    content = templates.get_template("page.html").render(
        runs=runs, best=view.best_run(runs), shared=shared, own=own, advice=view.advice, pictures=pictures,
        verdicts=verdicts, plain_answer=view.plain_answer(verdicts),
        differences={iou: view.differences(runs, comparisons, float(iou)) for iou in runs[0]["report"]["ap"]},
        group_rows={family: view.group_rows(runs, family) for family in view.FAMILIES},
        curves={subset: [view.curve(run, subset) for run in runs] for subset in SUBSETS},
        graphs=[view.graph(run) for run in runs],
        misses=[view.failures(run, "misses", pictures, "why") for run in runs],
        false_alarms=[view.failures(run, "false_alarms", pictures, "kind") for run in runs],
        worst_images=[view.failures(run, "worst_images", pictures) for run in runs])
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
    environment.filters.update(number=number, share=share, plural=plural, breakable=breakable, score=score, span=span)
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment.globals.update(
        ap=view.average_precision, interval=view.interval, style=Markup(style), script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        plot_width=view.PLOT_WIDTH, plot_height=view.PLOT_HEIGHT, graph_width=view.GRAPH_WIDTH,
        graph_height=view.GRAPH_HEIGHT, label_height=view.LABEL_HEIGHT, meanings=MEANINGS, recalls=view.RECALLS,
        subsets=SUBSETS, families=view.FAMILIES,
        min_faces=MIN_FACES, iou_notes=NOTES)
    return environment


def number(value: float | None, spec: str = ".3f") -> str:
    """Format AP, F1, scores and overlaps as 0.761, counts (",") as 31,958; "–" where there is none."""
    return "–" if value is None else format(value, spec).replace("-", "\u2212")


def score(value: float) -> str:
    """Format a score to deploy: three digits, or as many as it needs."""
    return number(value, ".3f" if round(value, 3) == value else ".6g")


def span(ends: Sequence[float], spec: str = ".3f") -> str:
    """Format an interval, 0.794–0.953 or 88.2–97.7 %."""
    low, high = (number(end, spec) for end in ends)
    return f"{low.rstrip('%')}–{high}".replace("%", "\u00a0%")


def share(value: float | None) -> str:
    """Format a share, 72.7 %; the space does not break."""
    return number(value, ".1%").replace("%", "\u00a0%")


def plural(value: int, noun: str) -> str:
    """Format `1 face`, `2,300 faces`."""
    return f"{number(value, ',')} {noun}{'' if value == 1 else 's'}"


def breakable(text: str) -> str:
    """Return markup of a path or an event's name, escaped, with line breaks allowed after `/`, `--` and `_`."""
    from markupsafe import Markup
    return Markup("<wbr>").join(re.split("(?<=[/_-])(?![/_-])", text))
