# SPDX-License-Identifier: Apache-2.0
"""Writes the report of an evaluation: `index.html` for people, `analysis.json` and `summary.json` for programs.

    folder = ReportFolder(Path("report"), truth)
    folder.add("125", report, scored)
    print(folder.write())
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.evaluate.eval import Scored
from dependency.evaluate.ground_truth import GroundTruth
from dependency.evaluate.prediction_io import read_landmarks
from dependency.evaluate.report.analysis import analyse, flat_numbers, merge, write_analysis
from dependency.evaluate.report.flags import find_flags, load_flags
from dependency.evaluate.report.landmarks import landmark_nme
from dependency.evaluate.report.page import load_templates, write_page
from dependency.evaluate.report.text import format_analysis
from dependency.evaluate.results import Report
from dependency.files import atomic_write
from src.annotations.read_write import read_annotations
from src.data.data_file import YAML_SUFFIXES, read_data_file
from src.evaluation.ap_table import Comparison
from src.evaluation.provenance import date_and_commit, read_settings

PAGE, DATA, SUMMARY = "index.html", "analysis.json", "summary.json"


class ReportFolder:
    """The analyses of one or more prediction trees of the same ground truth.

    Args:
        folder: gets the files; it is created.
        truth: the ground truth.
        flags: file with the faces' attributes; "" reads the ground truth's own, if it has any.
        image_dir: folder with `<event>/<image>.jpg` for the pictures of the page.
        landmarks: annotation file, or data file, with landmarks of scored images; "" scores no landmarks.
        want: precision or recall for which to find the score to deploy.

    Raises:
        InputError: an input file cannot be read, or jinja2 is not installed.
    """

    def __init__(self, folder: Path, truth: GroundTruth, flags: str = "", image_dir: Path | None = None,
                 landmarks: str = "", want: tuple[str, float] | None = None):
        load_templates()        # raises before minutes of scoring
        self.folder = folder
        self.flags = load_flags(flags) if flags else find_flags(truth.folder)
        self.image_dir = image_dir
        self.want = want
        self.records = _read(Path(landmarks)) if landmarks else Annotations([])
        self.analyses: list[dict[str, Any]] = []

    def add(self, name: str, report: Report, scored: Scored) -> dict[str, Any]:
        """Analyse one tree at its first IoU threshold, and return its run of the analysis.

        Raises:
            InputError: landmarks are to be scored, and the tree has none, or misses an image.
        """
        iou = next(iter(report.ap))
        landmarks = None
        if self.records:
            annotated = [record.path for record in self.records if (record.visibility > 0).any()]
            landmarks = landmark_nme(read_landmarks(report.pred, annotated), self.records, iou)
        self.analyses.append(analyse(report, scored, self.flags, name=name, iou=iou, landmarks=landmarks,
                                     settings=read_settings(report.pred), want=self.want))
        return self.analyses[-1]["runs"][0]

    def write(self, comparisons: Sequence[Comparison] = ()) -> str:
        """Write the files, with the comparisons of the runs, and return the analysis as text for the console."""
        analysis = {**merge(self.analyses), "written": date_and_commit(),
                    "comparisons": [comparison._asdict() for comparison in comparisons]}
        write_analysis(self.folder / DATA, analysis)
        with atomic_write(self.folder / SUMMARY) as file:
            json.dump(flat_numbers(analysis), file, indent=2)
        write_page(analysis, self.folder / PAGE, self.image_dir)
        return f"{format_analysis(analysis)}\nreport: {self.folder / PAGE}"


def _read(path: Path) -> Annotations:
    """Read an annotation file, or the val images of a data file."""
    if path.suffix.lower() in YAML_SUFFIXES:
        return read_data_file(path).val
    return read_annotations(path, on_problem="collect")
