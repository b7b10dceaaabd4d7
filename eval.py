#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Score predictions on WIDER FACE (or FDDB), explain what is missed; or, for RetinaFace, detect and score in one go.

    python eval.py --pred output/centerface/999 --gt dataset/centerface/ground_truth
    python eval.py output/centerface/999 dataset/centerface/ground_truth
    python eval.py --pred output/centerface --gt dataset/centerface/ground_truth   # trees of epochs 89, 90, ...
    python eval.py PRED GT --report report --image_dir WIDER_val/images             # report/index.html
    python eval.py --protocol fddb --pred output/fddb --gt FDDB-folds
    python eval.py --pred output/own --data my.yaml                                # own images: no .mat files
    python eval.py --val_model RetinaFace-100_402.ckpt --val_gt_dir GT             # RetinaFace; or without any option

Predictions are <pred>/<event>/<image>.txt with rows x y w h score, or a .json file; docs/formats.md describes them.
Without predictions, positional or by option, it is RetinaFace's: python eval.py --model retinaface --help
"""
from __future__ import annotations

import os

if __name__ == "__main__":      # before NumPy: scoring multiplies no matrices, a second BLAS thread costs a tenth of it
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import IOU, numbers
from dependency.errors import InputError
from dependency.evaluate.eval import IOU_THRESHOLDS, Scored
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.evaluate.report.calibration import WANT, find_scores, format_score, parse_want
from dependency.evaluate.report.outcomes import find_outcomes
from dependency.evaluate.results import Report, format_report
from dependency.files import atomic_write
from src.cli.arguments import Parser, parse, refuse_idle
from src.cli.options import Option, Table, flat
from src.cli.program import run
from src.common import log
from src.evaluation import ap_table, scoring
from src.evaluation.options import DATA, DETECTOR

PROTOCOLS = ("wider", "fddb")
USAGE = "python eval.py --pred PREDICTIONS --gt GROUND_TRUTH"

FILTERS = {f"filter_{kind}": Option(0.0, f"The best has more than this {kind} AP.", low=0,
                                    high=len(ap_table.SUBSETS) if kind == "sum" else 1, metavar="AP")
           for kind in (*ap_table.SUBSETS, "sum")}
OPTIONS: Table = {
    "Scoring": {
        "data": DATA,
        "gt": Option(None, "Ground truth folder: wider_face_val.mat (or val.mat) and wider_{easy,medium,hard}_val.mat.",
                     aliases=("-g",), metavar="DIR"),
        "protocol": Option("wider", "Protocol.", choices=PROTOCOLS),
        "iou_thresh": Option(list(IOU_THRESHOLDS), "Overlaps from which a detection counts as correct.",
                             rule=numbers(1, 64, IOU.low, IOU.high), metavar="IOU[,IOU]"),
        "allow_missing": Option(False, "Count the faces of images without a file as missed."),
        "only_predicted": Option(False, "Skip images without a file (the count is printed)."),
        "bootstrap": Option(0, "Replicates of the images, such as 1000: every AP gets its 95 % interval, and of "
                               "several trees the difference from the best.", low=0, high=100_000, metavar="N"),
        "seed": Option(0, "Seed of --bootstrap.", low=0, high=2 ** 32 - 1),
        "mean_ap": Option(False, "Also the mean AP over IoU 0.5, 0.55, ... 0.95, as COCO's evaluation (always with "
                                 "--report)."),
        "want": Option(None, "The score to deploy: precision=0.95 gives the lowest with this precision, recall=0.8 the "
                             "highest with this recall, on the hard subset.", rule=WANT, metavar="NAME=VALUE"),
        **FILTERS,
    },
    "Output": {
        "dry_run": Option(False, "Score one prediction tree, or detect in one image, and keep no file."),
        "json": Option(None, "File to write the reports to, as JSON.", metavar="FILE"),
        "plot": Option(None, "Draw AP over epochs, or FDDB's curves (needs matplotlib).", metavar="PNG"),
        "fold_files": Option(None, "fddb: also write the predictions as fold-01-out.txt ...", metavar="DIR"),
    },
    "Report": {
        "report": Option(None, "Write DIR/index.html and DIR/analysis.json: AP and recall by event, height, blur, "
                               "occlusion ..., curves, the worst misses.", metavar="DIR"),
        "image_dir": Option(None, "WIDER_val/images, for the pictures of the report, and for predictions in parts of "
                                  "the images' sizes (0..1).", metavar="DIR"),
        "label_errors": Option(None, "Write DIR/suspects.json, an annotation file of what most runs find that is not "
                                     "annotated and of faces that none finds, and DIR/suspects.jpg.",
                               metavar="DIR"),
        "flags": Option("", "Attributes of the faces, wider_face_val_bbx_gt.txt (default: those in the ground truth).",
                        metavar="FILE"),
        "landmarks": Option("", "Annotation file, or data file, with landmarks of images that are scored; the "
                                "predictions must hold them too (test.py --save_landmarks 1).", metavar="FILE"),
    },
}


def build_parser() -> Parser:
    """Make the parser; positional folders are predictions, the last one the ground truth unless --gt names it."""
    parser = Parser(OPTIONS, __doc__, prog="eval.py", files_follow=True, usage="eval.py [options] [PRED ...] [GT]")
    parser.add_argument("folders", nargs="*", metavar="PRED GT", default=[],
                        help="Prediction trees, and last the ground truth unless --gt names it.")
    parser.add_argument("-p", "--pred", nargs="+", default=[], metavar="DIR",
                        help="Prediction trees, or the folder of a checkpoint evaluation.")
    parser.add_argument("--checkpoint_evaluation", "--sweep", nargs="+", default=[], metavar="DIR",
                        help="Folders of a checkpoint evaluation: their prediction trees are named by epoch.")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; return exit status 0, or 1 if one of several prediction trees could not be scored."""
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    if is_detection(argv, parser):
        return detect_and_score(argv)
    args = parser.read(argv)
    folders, several = list(args.folders), args.checkpoint_evaluation
    gt = args.data or args.gt
    if not gt and folders and len(folders) + len(args.pred) + len(several) > 1:
        gt = folders.pop()
    predictions = [Path(folder) for folder in args.pred + folders]
    if not gt or not (predictions or several):
        raise InputError(f"nothing to score: expected {USAGE}"
                         " (predicting and scoring in one go is test.py with --eval 1)")
    log.setup()
    check_protocol(args, predictions)
    if args.protocol == "fddb":
        return score_fddb(args, predictions, gt)
    if not args.dry_run:
        return score_wider(args, predictions, gt)
    with TemporaryDirectory() as folder:
        args.update({name: str(Path(folder) / name) for name in ("json", "plot", "report", "label_errors")
                     if args[name]})
        status = score_wider(args, predictions, gt)
    print("dry run: one prediction tree was scored; nothing is kept")
    return status


def check_protocol(args: Any, predictions: list[Path]) -> None:
    """Raise InputError for an option that the protocol has no use for."""
    fddb = args.protocol == "fddb"
    if fddb and args.checkpoint_evaluation:
        raise InputError("--checkpoint_evaluation works only with --protocol wider; leave it out here")
    refuse_idle(flat(OPTIONS), args, [
        ("gt", not args.data, "without --data"),
        ("data dry_run", not fddb, "with --protocol wider"),
        (" ".join(["report", "iou_thresh", "bootstrap", "mean_ap", "want", "label_errors", *FILTERS]), not fddb,
         "with --protocol wider"),
        ("seed", args.bootstrap, "with --bootstrap"),
        ("fold_files", fddb, "with --protocol fddb"),
        ("image_dir", not fddb, "with --protocol wider"), ("flags landmarks", args.report, "with --report")])
    if args.fold_files and len(predictions) != 1:
        raise InputError(f"--fold_files: expected one prediction tree, got {len(predictions)}")


def score_wider(args: Any, predictions: list[Path], gt: str) -> int:
    """Print the manual's block of each tree, a table of several, and what `args` asks for."""
    image_dir = Path(args.image_dir) if args.image_dir else None
    own = None
    if args.data:
        from src.evaluation.evaluation_set import EvaluationSet
        own = EvaluationSet.of_data_file(args.data)
        truth, image_dir = own.truth, image_dir or own.image_dir
    else:
        truth = load_ground_truth(gt)
    trees = scoring.find_trees(predictions, truth)
    trees += scoring.find_trees([Path(folder) for folder in args.checkpoint_evaluation], truth, sweep=True)
    trees = trees[:1] if args.dry_run else trees
    want = parse_want(args.want) if args.want else None
    deployed: dict[str, Any] = {}
    suspects = None
    if args.label_errors:
        from src.evaluation.label_errors import LabelErrors
        if image_dir is None:
            raise InputError("--label_errors: give --image_dir with the images")
        suspects = LabelErrors(image_dir, own.records if own else ())
    explained = None
    if args.report:
        from src.evaluation.report_folder import ReportFolder
        explained = ReportFolder(Path(args.report), truth, args.flags, image_dir, args.landmarks, want)

    def on_scored(name: str, report: Report, scored: Scored) -> None:
        found = [{key: value for key, value in each.items() if key != "asked"}
                 for each in explained.add(name, report, scored)["deploy"] if each["asked"]] if explained else []
        if suspects or want and not found:
            outcomes = find_outcomes(scored, next(iter(report.ap)))
            if suspects:
                suspects.add(outcomes)
            found = found or find_scores(outcomes, [want] if want else [])
        if want:
            deployed[name] = found[0]

    reports, failed = scoring.score_trees(trees, truth, args.iou_thresh, on_scored,
                                          allow_missing=args.allow_missing, only_predicted=args.only_predicted,
                                          bootstrap=args.bootstrap, seed=args.seed,
                                          mean_ap=args.mean_ap or bool(args.report), image_dir=image_dir)
    floors = ap_table.subset_floors(args.filter_easy, args.filter_medium, args.filter_hard, args.filter_sum)
    rows = scoring.as_rows(reports)
    comparisons = ap_table.compare_rows(rows, floors)
    print("\n".join(map(format_report, reports)))
    if len(trees) > 1:
        print(ap_table.format_table(rows))
        print(ap_table.format_best(rows, comparisons, floors))
    print("".join(f"{name}: {format_score(found)}\n" for name, found in deployed.items()), end="")
    if suspects:
        print(suspects.write(Path(args.label_errors)))
    if explained:
        print(explained.write(comparisons))
    if args.plot:
        ap_table.plot(rows, args.plot)
    write_json(args.json, {**scoring.as_json(reports, comparisons, floors), **({"deploy": deployed} if want else {})})
    return 1 if failed else 0


def score_fddb(args: Any, predictions: list[Path], gt: str) -> int:
    """Print discrete and continuous rates of each tree, and write what `args` asks for."""
    from dependency.evaluate.fddb import files as fddb_files
    from dependency.evaluate.fddb import protocol as fddb
    truth = fddb.load_fddb(gt)
    reports = [fddb.evaluate_fddb(tree, truth, args.allow_missing, args.only_predicted) for tree in predictions]
    print("\n".join(map(fddb.format_fddb, reports)))
    if args.plot:
        fddb.plot_fddb(reports, args.plot)
    if args.fold_files:
        fddb_files.write_fold_files(predictions[0], truth, args.fold_files, args.allow_missing or args.only_predicted)
    write_json(args.json, [fddb.fddb_to_dict(report, curves=True) for report in reports])
    return 0


def is_detection(argv: Sequence[str], parser: Parser) -> bool:
    """Check whether a command line means RetinaFace's evaluation: it names no predictions and no scoring option."""
    if any(word.split("=")[0] == "--model" for word in argv):
        return True
    return (not argv or argv[0].startswith("--")) and not any(
        parser.knows(word) for word in argv if word.split("=")[0] not in ("--data", "--dry_run"))


def detect_and_score(argv: Sequence[str]) -> int:
    """Find the faces of the val images with a checkpoint and score them: the manual's `python eval.py`."""
    from src import models
    name, argv = models.select(argv, default="retinaface")
    if name != "retinaface":
        raise InputError(f"eval.py --model {name}: {name} is tested by test.py, and scored with --eval 1; see "
                         "python test.py --help")
    table = {**models.options(name), "Detector": DETECTOR}
    cfg, explicit = parse(table, argv, __doc__, prog="eval.py")
    log.setup()
    from src.retinaface.evaluation import run as evaluate_checkpoint
    with TemporaryDirectory() as folder:
        if cfg.dry_run:
            cfg.val_predict_save_folder = folder
        evaluate_checkpoint(cfg, explicit, cfg.val_batch_size)
    if cfg.dry_run:
        print("dry run: one image was tested; nothing is kept")
    return 0


def write_json(path: str | None, content: Any) -> None:
    """Write `content` where a path is given."""
    if path:
        with atomic_write(path) as file:
            json.dump(content, file, indent=2, allow_nan=False)


if __name__ == "__main__":
    sys.exit(run(main))
