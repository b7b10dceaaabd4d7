# SPDX-License-Identifier: Apache-2.0
"""AP of prediction trees: those of eval.py, and those that test.py has just written.

    trees = find_trees([Path("output/centerface")], truth)
    reports, failed = score_trees(trees, truth, ious=(0.5, 0.4))

A tree holds `<event>/<image>.txt`, or is a .json file of the same. The folder of several checkpoints holds a tree for
each, named by epoch.
"""
from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

from dependency.errors import InputError
from dependency.evaluate.eval import Scored, evaluate, score_set
from dependency.evaluate.ground_truth import GroundTruth, load_ground_truth
from dependency.evaluate.results import Report, format_report, report_to_dict
from dependency.files import append_line
from src.common.log import LOGGER
from src.evaluation import ap_table
from src.evaluation.ap_table import ApRow, Comparison, compare_rows, find_best
from src.evaluation.checkpoints import Candidate

METRICS = "metrics.jsonl"
CURVE = "ap.png"
REPLICATES = 1000               # of the bootstrap: 1 s for a checkpoint on the 3,226 images of WIDER val

# "125", or "0-125_24750", "RetinaFace_1-100_402" where two checkpoints share an epoch.
TREE_NAME = re.compile(r"(?:[^-]+-)?(\d+)(?:_(\d+))?")


def find_trees(folders: Sequence[Path], truth: GroundTruth, sweep: bool = False) -> list[Path]:
    """List the prediction trees: the folders themselves, or those named by epoch inside a folder of several.

    Args:
        folders: folders or .json files that the user named.
        truth: a folder with folders named like its events is a prediction tree.
        sweep: every folder is a folder of several, whatever else it holds.

    Raises:
        InputError: a folder is absent; with `sweep`, no folder inside is named by an epoch.
    """
    tops = {f"{image.path}.txt".partition("/")[0] for image in truth.images}
    trees: list[Path] = []
    for folder in folders:
        if folder.suffix == ".json" and folder.is_file():
            trees.append(folder)
            continue
        if not folder.is_dir():
            raise InputError(f"predictions {folder}: no such folder; give the --save_dir of test.py")
        numbered = sorted((path for path in folder.iterdir() if path.is_dir() and tree_numbers(path.name)),
                          key=lambda path: (tree_numbers(path.name), path.name))
        if sweep and not numbered:
            raise InputError(f"--sweep {folder}: holds no folder named by an epoch, such as {folder / '125'}")
        is_tree = any((folder / top).exists() for top in tops)
        trees += numbered if sweep or numbered and not is_tree else [folder]
    return trees


def score_trees(trees: Sequence[Path], truth: GroundTruth, ious: Sequence[float],
                on_scored: Callable[[str, Report, Scored], None] | None = None, **options: Any) -> tuple[
                    list[Report], list[Path]]:
    """Evaluate each tree; among several, one that cannot be scored is logged and left out.

    Args:
        trees: see `find_trees`.
        truth: the ground truth.
        ious: IoU thresholds.
        on_scored: called with each tree's name, report and matched rows, which are not kept.
        **options: allow_missing, only_predicted, bootstrap, seed, mean_ap, image_dir; see `evaluate`.

    Returns:
        (reports, trees that failed)

    Raises:
        InputError: the only tree cannot be scored, or none of several.
    """
    reports: list[Report] = []
    failed: list[Path] = []
    for tree, name in zip(trees, tree_names(trees)):
        try:
            report, scored = score_set(tree, truth, ious, **options)
        except InputError as error:
            if len(trees) == 1:
                raise
            LOGGER.error("%s", error)
            failed.append(tree)
            continue
        reports.append(report)
        if on_scored:
            on_scored(name, report, scored)
    if not reports:
        raise InputError(f"none of the {len(trees)} prediction folders could be scored, first {trees[0]}")
    return reports, failed


def tree_names(trees: Sequence[Path]) -> list[str]:
    """Name the trees by their folder, or by their whole path where two folders share a name."""
    names = [tree.name for tree in trees]
    return names if len(set(names)) == len(names) else list(map(str, trees))


def as_rows(reports: Sequence[Report]) -> list[ApRow]:
    """Make the rows of the table, named by `tree_names`."""
    trees = [Path(report.pred) for report in reports]
    return [ApRow(name, epoch_of(tree.name), report.ap, report.replicates, report.left_out)
            for name, tree, report in zip(tree_names(trees), trees, reports)]


def epoch_of(name: str) -> int | None:
    """Return the epoch in a tree's name, None if it has none."""
    numbers = tree_numbers(name)
    return numbers[0] if numbers else None


def tree_numbers(name: str) -> tuple[int, int] | None:
    """Return epoch and step (0 where the name has no step) in a tree's name, None if it has none."""
    match = TREE_NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def as_json(reports: Sequence[Report], comparisons: Sequence[Comparison],
            floors: dict[str, float] | None = None) -> dict[str, Any]:
    """Make {"reports": [...], "best": {"easy": name, ...}, "comparisons": [...]} of plain JSON values."""
    rows = as_rows(reports)
    return {"reports": [report_to_dict(report) for report in reports],
            "best": {kind: row.name if row else None for kind, row in find_best(rows, floors).items()},
            "comparisons": [comparison._asdict() for comparison in comparisons]}


class CheckpointScores:
    """Scores the checkpoints of one run of test.py, one by one, and names the best.

    Args:
        gt: the ground truth, or the folder of the WIDER .mat files.
        save_dir: gets a line in metrics.jsonl for every checkpoint, and ap.png.
        only_predicted: score only the predicted images.
    """

    def __init__(self, gt: str | Path | GroundTruth, save_dir: Path, only_predicted: bool):
        self.truth = gt if isinstance(gt, GroundTruth) else load_ground_truth(gt)
        self.save_dir = save_dir
        self.only_predicted = only_predicted
        self.rows: list[ap_table.ApRow] = []

    @classmethod
    def from_options(cls, cfg: Any, truth: GroundTruth | None) -> CheckpointScores:
        """Score as the options of test.py say; the ground truth not given lies by default beside --ground_truth_mat."""
        split = Path(cfg.ground_truth_mat)
        folder = split if split.is_dir() else split.parent
        return cls(truth or cfg.ground_truth_path or folder, Path(cfg.save_dir), cfg.only_existing or cfg.dry_run)

    def add(self, candidate: Candidate) -> None:
        """Score the prediction tree of one checkpoint, log its AP and add a line to metrics.jsonl."""
        report = evaluate(self.save_dir / candidate.folder, self.truth, only_predicted=self.only_predicted,
                          check_layout=False, bootstrap=REPLICATES)
        LOGGER.info("%s\n%s", candidate.path.name, format_report(report))
        self.rows.append(ApRow(candidate.path.name, candidate.epoch, report.ap, report.replicates, report.left_out))
        entry = report_to_dict(report)
        entry.pop("missing")
        append_line(self.save_dir / METRICS, json.dumps({
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"), "checkpoint": str(candidate.path), "epoch": candidate.epoch,
            **entry}))

    def finish(self) -> str:
        """Return the table of all checkpoints and the best ones; draw AP over epochs."""
        if ap_table.plot(self.rows, self.save_dir / CURVE):
            LOGGER.info("AP over epochs: %s", self.save_dir / CURVE)
        return f"{ap_table.format_table(self.rows)}\n{ap_table.format_best(self.rows, compare_rows(self.rows))}"
