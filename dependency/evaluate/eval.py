# SPDX-License-Identifier: Apache-2.0
"""Compute the average precision on WIDER FACE val, from predictions and the official ground truth.

    python -m dependency.evaluate --pred outputs/centerface/140 --gt dataset/centerface/ground_truth
    python dependency/evaluate/eval.py outputs/centerface/140 dataset/centerface/ground_truth --iou_thresh 0.5

    report = evaluate({"0--Parade/0_Parade_1": faces, ...}, "dataset/centerface/ground_truth")

Predictions are `<pred>/<event>/<image>.txt`, or RetinaFace's `.json` file, or a mapping (see predictions.py).
The protocol is that of the Python ports of the official toolbox: scores scaled to 0..1 over the whole set, rows
of an image sorted by score, 1000 score thresholds, ignored faces neutral, overlap of boxes counted with + 1, area under
the monotone precision-recall curve.  Two differences where the ports fail: score ends are the true minimum and
maximum, and when all scores are equal they all become 1.
"""
from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:                 # run as a script from any directory
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import dependency  # noqa: F401  (says in one line where NumPy is not installed)

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.bootstrap import MIN_REPLICATES, draw_weights, replicate_ap
from dependency.evaluate.diagnosis import LOW_AP, NEAR_ZERO_AP, describe_other_layout, likely_reason
from dependency.evaluate.ground_truth import SUBSETS, GroundTruth, TruthImage, load_ground_truth
from dependency.evaluate.layouts import XYXY, Layout, recognise, sample
from dependency.evaluate.matching import (
    THRESHOLDS,
    Matches,
    average_precision,
    corners,
    curve,
    face_flags,
    match,
    name_scores,
    scale_scores,
)
from dependency.evaluate.predictions import Source, gather, read_raw
from dependency.evaluate.results import Report, format_report, report_to_dict
from dependency.files import atomic_write

LOGGER = logging.getLogger("facedet")
IOU_THRESHOLDS = (0.5, 0.4)
# Of the mean AP, as in COCO's evaluation.
MEAN_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


class MissingPredictions(InputError):
    """Some images have no prediction, and neither --allow_missing nor --only_predicted is set."""


class Scored(NamedTuple):
    """The data behind a report, for an error analysis.

    images: the images that were scored.
    rows: per image [N, 5] float64 x y w h and the raw score, best first.
    scores: per image [N] float64, scaled to 0..1 over the set.
    matches: the face of every row (see `Matches`).
    """
    images: list[TruthImage]
    rows: list[np.ndarray]
    scores: list[np.ndarray]
    matches: Matches


def evaluate(pred: Source, gt: str | Path | GroundTruth,
             iou_thresholds: Sequence[float] = IOU_THRESHOLDS, allow_missing: bool = False,
             only_predicted: bool = False, check_layout: bool = True, bootstrap: int = 0, seed: int = 0,
             mean_ap: bool = False, image_dir: str | Path | None = None) -> Report:
    """Score predictions; arguments and errors as `score_set`, which gives the matches too."""
    return score_set(pred, gt, iou_thresholds, allow_missing, only_predicted, check_layout, bootstrap=bootstrap,
                     seed=seed, mean_ap=mean_ap, image_dir=image_dir)[0]


def score_set(pred: Source, gt: str | Path | GroundTruth,
              iou_thresholds: Sequence[float] = IOU_THRESHOLDS, allow_missing: bool = False,
              only_predicted: bool = False, check_layout: bool = True,
              warn: bool = True, bootstrap: int = 0, seed: int = 0, mean_ap: bool = False,
              image_dir: str | Path | None = None,
              reading: tuple[Layout, np.ndarray | None] | None = None) -> tuple[Report, Scored]:
    """Score predictions and keep the matches behind the numbers.

    Args:
        pred: a folder of `<event>/<image>.txt`, a `.json` file, or a mapping "event/image" -> `Faces` (see
            `gather`); the three differ by no more than the digits that files keep.
        gt: the ground truth folder (or its main file), or what `load_ground_truth` made of it.
        iou_thresholds: overlaps from which a box matches a face; all are computed in one pass.
        allow_missing: images without predictions count as missed instead of being an error.
        only_predicted: images without predictions are left out, with their faces.
        check_layout: where AP is below 0.5, find out whether the rows have another layout, and read them in it; the
            report's protocol names it. False for predictions that this project has just written.
        warn: log what was odd in the input; the report holds it either way.
        bootstrap: replicates for the 95 % interval of every AP (see bootstrap.py), 0 for none; seed: of their images.
        mean_ap: also compute the mean AP over IoU 0.5, 0.55, ... 0.95.
        image_dir: folder of the images, for rows in parts of their sizes.
        reading: the layout of the rows of files, and the images' sizes [I, 2], where they are known.

    Raises:
        InputError: no or damaged predictions, rows whose layout is not clear (in memory: not x1 y1 x2 y2 score),
            missing images unless allowed, a threshold outside 0..1, fewer than 100 replicates.
    """
    if 0 < bootstrap < MIN_REPLICATES:
        raise InputError(f"bootstrap {bootstrap}: an interval needs at least {MIN_REPLICATES} replicates; give 1000")
    thresholds = _checked(iou_thresholds, allow_missing and only_predicted)
    truth = gt if isinstance(gt, GroundTruth) else load_ground_truth(gt)
    name, rows, missing, notes = gather(pred, truth.images, *(reading or ()))
    if missing and not (allow_missing or only_predicted):
        raise MissingPredictions(
            f"{len(missing)} of {len(truth.images)} images have no prediction in {name}, first: "
            f"{', '.join(missing[:3])}; run the test over all images, or choose --allow_missing "
            "(they count as missed) or --only_predicted (they are left out)")
    used = [index for index, image_rows in enumerate(rows) if image_rows is not None or not only_predicted]
    images = [truth.images[index] for index in used]
    table = [np.empty((0, 5)) if image_rows is None else image_rows for image_rows in (rows[index] for index in used)]
    faces = {subset: sum(len(image.subsets[subset]) for image in images) for subset in SUBSETS}
    notes += [f"subset {subset} has no face in these images: its AP is not a number" for subset in SUBSETS
              if not faces[subset]]
    scores, remark = scale_scores([image_rows[:, 4] for image_rows in table])
    notes += [remark] if remark else []
    matches = match(images, table, scores)
    counted = {subset: face_flags(images, subset) for subset in SUBSETS}
    curves = {iou: {subset: curve(matches, iou, flags) for subset, flags in counted.items()} for iou in thresholds}
    ap = {iou: {subset: average_precision(points) for subset, points in of_iou.items()}
          for iou, of_iou in curves.items()}
    best = max((value for subset, value in ap[min(thresholds)].items() if faces[subset]), default=1.0)
    if best < LOW_AP and len(matches.row):
        layout = _find_layout(pred, name, images, table, image_dir) if check_layout and not reading else None
        if layout:
            sizes = _sizes(truth.images, image_dir, rows) if layout.parts else None
            return score_set(pred, truth, thresholds, allow_missing, only_predicted, False, warn, bootstrap, seed,
                             mean_ap, reading=(layout, sizes))
        if best < NEAR_ZERO_AP:
            notes.append(likely_reason(matches, sum(len(image.boxes) for image in images), min(thresholds)))
    for note in notes if warn else ():
        LOGGER.warning("%s: %s", name, note)
    protocol = {"iou_thresholds": list(thresholds), "score_thresholds": len(THRESHOLDS), "offset": 1,
                "order": "score", "allow_missing": allow_missing, "only_predicted": only_predicted}
    if reading:
        protocol["layout"] = reading[0].name
    ends = name_scores(table)
    if ends:
        protocol["scores"] = ends
    replicates = None
    if bootstrap:
        protocol |= {"bootstrap": bootstrap, "seed": seed}
        replicates = replicate_ap(images, matches, thresholds, draw_weights(len(images), bootstrap, seed))
    mean = {subset: float(np.mean([average_precision(curve(matches, iou, flags)) for iou in MEAN_IOUS]))
            for subset, flags in counted.items()} if mean_ap else None
    report = Report(name, str(truth.folder), ap, curves, protocol, faces, len(truth.images), len(images),
                    tuple(missing), sum(map(len, table)), tuple(notes), replicates, mean)
    return report, Scored(images, table, scores, matches)


def _find_layout(pred: Source, name: str, images: Sequence[TruthImage], table: Sequence[np.ndarray],
                 image_dir: str | Path | None) -> Layout | None:
    """Find the layout in which the rows of files find the faces, None where it is the usual one.

    Raises:
        InputError: as `recognise`; rows in memory that are not x1 y1 x2 y2 score.
    """
    faces = [image.boxes for image in images]
    if isinstance(pred, Mapping):
        given = [np.column_stack([corners([of_image]), of_image[:, 4]]) for of_image in table]
        other = describe_other_layout(given, faces, XYXY)
        if other:
            raise InputError(f"{name}: {other}")
        return None
    chosen = sample(table, faces)
    few = [images[index] for index in chosen]
    raw = read_raw(pred, few) if few else []
    sizes = _sizes(few, image_dir, raw) if image_dir and few else None
    try:
        return recognise(raw, [faces[index] for index in chosen], sizes=sizes)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _sizes(images: Sequence[TruthImage], image_dir: str | Path | None,
           rows: Sequence[np.ndarray | None]) -> np.ndarray:
    """Read width and height of the images that have rows, as [I, 2]; 0 for the others.

    Raises:
        InputError: an image is missing or damaged.
    """
    from dependency.centernet.src.lib.utils.image_file import find_named, read_header  # needs Pillow
    folder = Path(image_dir or ".")
    files = find_named(folder, [image.path for image in images])
    sizes = np.zeros((len(images), 2))
    for index, (image, of_image) in enumerate(zip(images, rows)):
        if of_image is not None and len(of_image):
            header = read_header(folder / files.get(image.path, f"{image.path}.jpg"))
            sizes[index] = header.width, header.height
    return sizes


def _checked(iou_thresholds: Sequence[float], both: bool) -> tuple[float, ...]:
    """Return the IoU thresholds, each once; `both` says that both ways of missing images are asked for."""
    if both:
        raise InputError("allow_missing counts missing images as missed, only_predicted leaves them out: "
                         "give one")
    thresholds = tuple(dict.fromkeys(float(value) for value in iou_thresholds))
    if not thresholds or not all(0 < value <= 1 for value in thresholds):
        raise InputError(f"IoU thresholds {list(thresholds)}: give values above 0, up to 1, such as 0.5")
    return thresholds


def _iou_list(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, evaluate, print the report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="PRED GT",
                        help="The two folders, if --pred and --gt are not used.")
    parser.add_argument("-p", "--pred", help="Folder of predictions, <event>/<image>.txt, or a .json file.")
    parser.add_argument("-g", "--gt", help="Folder of the ground truth: wider_face_val.mat (or val.mat), "
                                           "wider_easy_val.mat, wider_medium_val.mat, wider_hard_val.mat.")
    parser.add_argument("--iou_thresh", type=_iou_list, action="append", metavar="IOU[,IOU]",
                        help="Overlap (IoU) from which a box matches a face, separated by commas (default: 0.5,0.4).")
    parser.add_argument("--allow_missing", action="store_true",
                        help="Count the faces of images without predictions as missed.")
    parser.add_argument("--only_predicted", action="store_true",
                        help="Leave out images without predictions, with their faces.")
    parser.add_argument("--bootstrap", type=int, default=0, metavar="N",
                        help="Give every AP its 95 %% interval, from N replicates of the images, such as 1000.")
    parser.add_argument("--image_dir", metavar="DIR", help="The images, for boxes in parts of their sizes (0..1).")
    parser.add_argument("--mean_ap", action="store_true", help="Also print the mean AP over IoU 0.5, 0.55, ... 0.95.")
    parser.add_argument("--json", metavar="FILE", help="Also write the report as JSON.")
    args = parser.parse_args(argv)
    paths = list(args.paths)
    pred = args.pred or (paths.pop(0) if paths else None)
    gt = args.gt or (paths.pop(0) if paths else None)
    if not pred or not gt or paths:
        raise InputError("expected one folder of predictions (or .json file) and one of ground truth: "
                         "python -m dependency.evaluate --pred PRED --gt GT")
    ious = [value for part in args.iou_thresh for value in part] if args.iou_thresh else IOU_THRESHOLDS
    report = evaluate(pred, gt, ious, args.allow_missing, args.only_predicted, bootstrap=args.bootstrap,
                      mean_ap=args.mean_ap, image_dir=args.image_dir)
    print(format_report(report))
    if args.json:
        _write_json(args.json, report_to_dict(report))
    return 0


def _write_json(path: str, content: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, allow_nan=False)
        file.write("\n")


def run() -> int:
    """Run `main` with input errors as one line and status 2 (`dependency` may not import `src.cli.program`)."""
    try:
        return main()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(run())
