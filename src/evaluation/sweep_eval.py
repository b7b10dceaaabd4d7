# SPDX-License-Identifier: Apache-2.0
"""Scoring the checkpoints of a sweep, one by one, and naming the best.

    evaluation = Evaluation("ground_truth", Path("output/centerface"), only_predicted=False)
    evaluation.add(candidate, folder); ...; print(evaluation.finish())
"""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from dependency.evaluate.eval import evaluate
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.evaluate.results import Report, format_report, report_to_dict
from src.common.log import LOGGER
from src.evaluation import ap_table
from src.evaluation.sweep import Candidate

METRICS = "metrics.jsonl"
CURVE = "ap.png"


class Evaluation:
    """Reports of the checkpoints of one run.

    Args:
        gt: folder of the WIDER .mat files.
        save_dir: gets a line in metrics.jsonl for every checkpoint, and ap.png.
        only_predicted: score only the predicted images.
    """

    def __init__(self, gt: str | Path, save_dir: Path, only_predicted: bool):
        self.truth = load_ground_truth(gt)
        self.save_dir = save_dir
        self.only_predicted = only_predicted
        self.rows: list[ap_table.ApRow] = []

    @classmethod
    def from_options(cls, cfg: Any) -> Evaluation:
        """As the options of test.py say; without --ground_truth_path the files lie beside --ground_truth_mat."""
        split = Path(cfg.ground_truth_mat)
        beside = split if split.is_dir() else split.parent
        return cls(cfg.ground_truth_path or beside, Path(cfg.save_dir), cfg.only_existing)

    def add(self, candidate: Candidate, folder: Path) -> Report:
        """Score one prediction tree and keep its line."""
        report = evaluate(folder, self.truth, only_predicted=self.only_predicted)
        LOGGER.info("%s\n%s", candidate.path.name, format_report(report))
        self.rows.append(ap_table.ApRow(candidate.path.name, candidate.epoch, report.ap))
        described = report_to_dict(report)
        described.pop("missing")
        ap_table.append_jsonl(self.save_dir / METRICS, {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"), "checkpoint": str(candidate.path), "epoch": candidate.epoch,
            **described})
        return report

    def finish(self) -> str:
        """The table of all checkpoints and the best ones; draws the curve over epochs."""
        if ap_table.plot(self.rows, self.save_dir / CURVE):
            LOGGER.info("AP over epochs: %s", self.save_dir / CURVE)
        return f"{ap_table.format_table(self.rows)}\n{ap_table.format_best(self.rows)}"
