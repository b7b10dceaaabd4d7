# SPDX-License-Identifier: Apache-2.0
"""Score predictions on WIDER FACE: AP at IoU 0.5 (WIDER's) and 0.4 (the manual's), and the best of a sweep.

    python eval.py --pred output/centerface/999 --gt dataset/centerface/ground_truth
    python eval.py output/centerface/999 dataset/centerface/ground_truth
    python eval.py --pred output/centerface --gt dataset/centerface/ground_truth   # a sweep: 89, 90, ...

Predictions are <pred>/<event>/<image>.txt with rows x y w h score; docs/formats.md describes them.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Optional

from dependency.errors import InputError
from dependency.evaluate.eval import IOU_THRESHOLDS
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.files import atomic_write
from src.common import ap_table, log, scoring
from src.common.cli import run

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
    parser.add_argument("--iou_thresh", type=thresholds, metavar="IOU[,IOU]", default=list(IOU_THRESHOLDS),
                        help="overlap that counts as found (default: 0.5,0.4)")
    parser.add_argument("--allow_missing", action="store_true", help="images without a file count as missed")
    parser.add_argument("--only_predicted", action="store_true", help="leave out images without a file, and say so")
    parser.add_argument("--json", metavar="FILE", help="write the reports as JSON")
    parser.add_argument("--plot", metavar="PNG", help="draw AP over epochs (needs matplotlib)")
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


def main(argv: Optional[list[str]] = None) -> int:
    """Exit status 0; 1 where a tree of several could not be scored."""
    args = build_parser().parse_args(argv)
    folders = list(args.folders)
    gt = args.gt or (folders.pop() if len(folders) + len(args.pred) + len(args.sweep) > 1 and folders else None)
    predictions = [Path(folder) for folder in args.pred + folders]
    if not gt or not (predictions or args.sweep):
        raise InputError(f"nothing to score: expected {USAGE}"
                         " (predicting and scoring in one go is test.py with --eval 1)")
    log.setup()
    truth = load_ground_truth(gt)
    trees = scoring.find_trees(predictions, truth)
    trees += scoring.find_trees([Path(folder) for folder in args.sweep], truth, sweep=True)
    reports, failed = scoring.score_trees(trees, truth, args.iou_thresh, allow_missing=args.allow_missing,
                                          only_predicted=args.only_predicted)
    floors = ap_table.subset_floors(args.filter_easy, args.filter_medium, args.filter_hard, args.filter_sum)
    rows = scoring.as_rows(reports)
    print(scoring.format_reports(reports))
    if len(trees) > 1:
        print(ap_table.format_table(rows))
        print(ap_table.format_best(rows, floors))
    if args.plot:
        ap_table.plot(rows, args.plot)
    if args.json:
        with atomic_write(args.json) as file:
            json.dump(scoring.as_json(reports, floors), file, indent=2, allow_nan=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(main))
