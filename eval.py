# SPDX-License-Identifier: Apache-2.0
"""Score predictions on WIDER FACE (or FDDB), explain what is missed; or, for RetinaFace, detect and score in one go.

    python eval.py --pred output/centerface/999 --gt dataset/centerface/ground_truth
    python eval.py output/centerface/999 dataset/centerface/ground_truth
    python eval.py --pred output/centerface --gt dataset/centerface/ground_truth   # a sweep: 89, 90, ...
    python eval.py PRED GT --report report --image_dir WIDER_val/images             # report/index.html
    python eval.py --protocol fddb --pred output/fddb --gt FDDB-folds
    python eval.py --val_model RetinaFace-100_402.ckpt --val_gt_dir GT             # RetinaFace; or without any option

Predictions are <pred>/<event>/<image>.txt with rows x y w h score, or a .json file; docs/formats.md describes them.
Without predictions, positional or by option, it is RetinaFace's: python eval.py --model retinaface --help
"""
from __future__ import annotations

import os

if __name__ == "__main__":      # before NumPy: scoring multiplies no matrices, a second BLAS thread costs a tenth of it
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dependency.errors import InputError
from dependency.evaluate.eval import IOU_THRESHOLDS
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.files import atomic_write
from src.cli.program import run
from src.common import log
from src.evaluation import ap_table, scoring

PROTOCOLS = ("wider", "fddb")
USAGE = "python eval.py --pred PREDICTIONS --gt GROUND_TRUTH"


def build_parser() -> argparse.ArgumentParser:
    """The options; positional folders are predictions, the last one the ground truth unless --gt names it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("folders", nargs="*", metavar="PRED GT", help="the folders, when not given by option")
    parser.add_argument("-p", "--pred", nargs="+", default=[], metavar="DIR",
                        help="prediction trees, or a sweep's folder")
    parser.add_argument("-g", "--gt", metavar="DIR", help="ground truth: wider_face_val.mat (or val.mat) and "
                                                          "wider_{easy,medium,hard}_val.mat")
    parser.add_argument("--sweep", nargs="+", default=[], metavar="DIR", help="folders of trees named by epoch")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="wider", help="default: wider")
    parser.add_argument("--iou_thresh", type=thresholds, metavar="IOU[,IOU]", default=list(IOU_THRESHOLDS),
                        help="overlap that counts as found (default: 0.5,0.4)")
    parser.add_argument("--allow_missing", action="store_true", help="images without a file count as missed")
    parser.add_argument("--only_predicted", action="store_true", help="leave out images without a file, and say so")
    parser.add_argument("--json", metavar="FILE", help="write the reports as JSON")
    parser.add_argument("--plot", metavar="PNG", help="draw AP over epochs, or FDDB's curves (needs matplotlib)")
    parser.add_argument("--report", metavar="DIR", help="write DIR/index.html and DIR/analysis.json: AP and recall by "
                                                        "event, height, blur, occlusion ..., curves, the worst misses")
    parser.add_argument("--image_dir", metavar="DIR", help="WIDER_val/images, for the pictures of the report")
    parser.add_argument("--flags", metavar="FILE", default="", help="faces' attributes, wider_face_val_bbx_gt.txt "
                                                                    "(default: those in the ground truth)")
    parser.add_argument("--landmarks", metavar="FILE", default="", help="annotation with landmarks of images that are "
                        "scored; the predictions must hold them too (test.py --save_landmarks 1)")
    parser.add_argument("--fold_files", metavar="DIR", help="fddb: also write the predictions as fold-01-out.txt ...")
    for kind in (*ap_table.SUBSETS, "sum"):
        parser.add_argument(f"--filter_{kind}", type=float, default=0.0, metavar="AP",
                            help=f"the best must have more than this {kind} AP")
    return parser


def thresholds(text: str) -> list[float]:
    """The numbers of "0.5,0.4"."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value <= 1 for value in values):
        raise argparse.ArgumentTypeError(f"'{text}': expected numbers above 0, up to 1, such as 0.5,0.4")
    return values


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where a tree of several could not be scored."""
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    if is_detection(argv, parser):
        return detect_and_score(argv)
    args = parser.parse_args(argv)
    folders = list(args.folders)
    gt = args.gt or (folders.pop() if len(folders) + len(args.pred) + len(args.sweep) > 1 and folders else None)
    predictions = [Path(folder) for folder in args.pred + folders]
    if not gt or not (predictions or args.sweep):
        raise InputError(f"nothing to score: expected {USAGE}"
                         " (predicting and scoring in one go is test.py with --eval 1)")
    log.setup()
    check_protocol(args, predictions)
    return score_fddb(args, predictions, gt) if args.protocol == "fddb" else score_wider(args, predictions, gt)


def check_protocol(args: argparse.Namespace, predictions: list[Path]) -> None:
    """InputError for an option that the protocol has no use for."""
    fddb = args.protocol == "fddb"
    filters = [f"filter_{kind}" for kind in (*ap_table.SUBSETS, "sum")]
    useless = ["sweep", "report", *filters] if fddb else ["fold_files"]
    useless += [] if args.report else ["image_dir", "flags", "landmarks"]
    for name in useless:
        if getattr(args, name):
            raise InputError(f"--{name} has no meaning for --protocol {args.protocol}"
                             f"{'' if args.report or fddb else ' without --report'}; leave it out")
    if fddb and args.iou_thresh != list(IOU_THRESHOLDS):
        raise InputError("--iou_thresh: FDDB's protocol has its own, 0.5; leave it out")
    if args.fold_files and len(predictions) != 1:
        raise InputError(f"--fold_files: expected one prediction tree, got {len(predictions)}")


def score_wider(args: argparse.Namespace, predictions: list[Path], gt: str) -> int:
    """Print the manual's block of each tree, a table of several, and what `args` asks for."""
    truth = load_ground_truth(gt)
    trees = scoring.find_trees(predictions, truth)
    trees += scoring.find_trees([Path(folder) for folder in args.sweep], truth, sweep=True)
    explained = None
    if args.report:
        from src.evaluation.report_folder import ReportFolder
        explained = ReportFolder(Path(args.report), truth, args.flags, Path(args.image_dir) if args.image_dir else None,
                                 args.landmarks)
    reports, failed = scoring.score_trees(trees, truth, args.iou_thresh, explained.add if explained else None,
                                          allow_missing=args.allow_missing, only_predicted=args.only_predicted)
    floors = ap_table.subset_floors(args.filter_easy, args.filter_medium, args.filter_hard, args.filter_sum)
    rows = scoring.as_rows(reports)
    print(scoring.format_reports(reports))
    if len(trees) > 1:
        print(ap_table.format_table(rows))
        print(ap_table.format_best(rows, floors))
    if explained:
        print(explained.write())
    if args.plot:
        ap_table.plot(rows, args.plot)
    write_json(args.json, scoring.as_json(reports, floors))
    return 1 if failed else 0


def score_fddb(args: argparse.Namespace, predictions: list[Path], gt: str) -> int:
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


def is_detection(argv: Sequence[str], parser: argparse.ArgumentParser) -> bool:
    """Whether a command line means RetinaFace's evaluation: it names no predictions and no option of scoring."""
    names = {word.split("=")[0] for word in argv if word.startswith("-")}
    if "--model" in names:
        return True
    return (not argv or argv[0].startswith("--")) and not names & set(parser._option_string_actions)


def detect_and_score(argv: Sequence[str]) -> int:
    """The manual's `python eval.py`: find the faces of the val images with a checkpoint and score them."""
    from src import models
    from src.cli import options as config
    from src.evaluation.options import DETECTOR
    name, argv = models.select(argv, default="retinaface")
    if name != "retinaface":
        raise InputError(f"eval.py --model {name}: {name} is tested by test.py, and scored with --eval 1; see "
                         "python test.py --help")
    table = {**models.options(name), "Detector": DETECTOR}
    cfg, given = config.parse(table, argv, __doc__, prog="eval.py")
    log.setup()
    from src.retinaface.evaluation import run as evaluate_checkpoint
    evaluate_checkpoint(cfg, given, cfg.val_batch_size)
    return 0


def write_json(path: str | None, content: Any) -> None:
    """Write `content` where a path is given."""
    if path:
        with atomic_write(path) as file:
            json.dump(content, file, indent=2, allow_nan=False)


if __name__ == "__main__":
    sys.exit(run(main))
