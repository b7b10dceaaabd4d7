# SPDX-License-Identifier: Apache-2.0
"""Average precision on WIDER FACE val, from prediction files and the official ground truth.

    python dependency/evaluate/eval.py --pred outputs/centerface/140 --gt dataset/centerface/ground_truth
    python dependency/evaluate/eval.py outputs/centerface/140 dataset/centerface/ground_truth --iou_thresh 0.5

Predictions are `<pred>/<event>/<image>.txt` (see prediction_io.py).  The protocol is that of the Python ports
of the official toolbox: scores scaled to 0..1 over the whole set, rows taken in file order, 1000 score
thresholds, ignored faces neutral, overlap of boxes counted with + 1, area under the monotone precision-recall
curve.  Two differences where the ports fail: score ends are the true minimum and maximum, and when all scores
are equal they all become 1.
"""
import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np

if not __package__:                 # run as a script from any directory
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dependency.errors import InputError
from dependency.evaluate.ground_truth import SUBSETS, GroundTruth, TruthImage, load_ground_truth
from dependency.evaluate.overlaps import best_overlaps
from dependency.evaluate.prediction_io import parse_prediction
from dependency.evaluate.report import Report, format_report, report_to_dict
from dependency.files import atomic_write

LOGGER = logging.getLogger("facedet")
IOU_THRESHOLDS = (0.5, 0.4)
THRESHOLDS = 1 - (np.arange(1000) + 1) / 1000       # the last one is exactly 0


def evaluate(pred: Union[str, Path], gt: Union[str, Path, GroundTruth],
             iou_thresholds: Sequence[float] = IOU_THRESHOLDS, allow_missing: bool = False,
             only_predicted: bool = False) -> Report:
    """Score a folder of prediction files.

    Args:
        pred: holds one folder per event, in it `<image>.txt`.
        gt: the ground truth folder (or its main file), or what `load_ground_truth` made of it.
        iou_thresholds: overlaps from which a box counts as found; all are computed in one pass.
        allow_missing: images without a file count as missed instead of being an error.
        only_predicted: images without a file are left out, with their faces.

    Raises:
        InputError: no or damaged predictions, missing ones unless allowed, a threshold outside 0..1.
    """
    if allow_missing and only_predicted:
        raise InputError("allow_missing counts missing images as missed, only_predicted leaves them out: "
                         "give one")
    thresholds = tuple(dict.fromkeys(float(value) for value in iou_thresholds))
    if not thresholds or not all(0 < value <= 1 for value in thresholds):
        raise InputError(f"IoU thresholds {list(thresholds)}: give values above 0, up to 1, such as 0.5")
    truth = gt if isinstance(gt, GroundTruth) else load_ground_truth(gt)
    rows, missing, notes = read_predictions(pred, truth.images)
    if missing and not (allow_missing or only_predicted):
        raise InputError(f"{len(missing)} of {len(truth.images)} images have no prediction in {pred}, first: "
                         f"{', '.join(missing[:3])}; run the test over all images, or choose --allow_missing "
                         "(they count as missed) or --only_predicted (they are left out)")
    used = [index for index, image_rows in enumerate(rows) if image_rows is not None or not only_predicted]
    images = [truth.images[index] for index in used]
    table = [np.empty((0, 5)) if rows[index] is None else rows[index] for index in used]
    faces = {subset: sum(len(image.kept[subset]) for image in images) for subset in SUBSETS}
    notes += [f"subset {subset} has no face in these images: its AP is not a number" for subset in SUBSETS
              if not faces[subset]]
    scores, remark = scale_scores([image_rows[:, 4] for image_rows in table])
    notes += [remark] if remark else []
    ap, curves = score(images, [image_rows[:, :4] for image_rows in table], scores, thresholds)
    for note in notes:
        LOGGER.warning("%s: %s", pred, note)
    protocol = {"iou_thresholds": list(thresholds), "score_thresholds": len(THRESHOLDS), "offset": 1,
                "order": "file", "allow_missing": allow_missing, "only_predicted": only_predicted}
    return Report(str(pred), str(truth.folder), ap, curves, protocol, faces, len(truth.images), len(images),
                  tuple(missing), sum(map(len, table)), tuple(notes))


def read_predictions(pred: Union[str, Path],
                     images: Sequence[TruthImage]) -> tuple[list[Optional[np.ndarray]], list[str], list[str]]:
    """Read the file of every image.

    Returns:
        per image [N, 5] x y w h score, or None without a file; the `event/image` without a file; remarks.

    Raises:
        InputError: no such folder, none of its files belongs to an image, a damaged file
            (with file and line).
    """
    pred = Path(pred)
    if not pred.is_dir():
        raise InputError(f"predictions {pred}: no such folder; give the --save_dir of the test "
                         "(with the epoch's folder)")
    found = {event: set(os.listdir(pred / event)) if (pred / event).is_dir() else set()
             for event in {image.event for image in images}}
    expected = {event: set() for event in found}
    for image in images:
        expected[image.event].add(f"{image.name}.txt")
    rows, missing = [], []
    odd = {"count": [], "order": [], "empty": []}
    for image in images:
        name = f"{image.event}/{image.name}"
        if f"{image.name}.txt" not in found[image.event]:
            rows.append(None)
            missing.append(name)
            continue
        path = pred / f"{name}.txt"
        content = path.read_bytes()
        prediction = parse_prediction(content, path)
        rows.append(prediction.rows)
        _note_oddities(odd, name, content, prediction.rows, prediction.count)
    stray = sorted(name for name in os.listdir(pred) if name not in found)
    stray += sorted(f"{event}/{name}" for event in found for name in found[event] - expected[event])
    if len(missing) == len(images):
        raise InputError(f"{pred} holds no prediction: expected <event>/<image>.txt such as "
                         f"{missing[0]}.txt, found {', '.join(stray[:3]) or 'nothing'}; give the folder "
                         "that holds the event folders")
    return rows, missing, _remarks(odd, stray)


def scale_scores(scores: Sequence[np.ndarray]) -> tuple[list[np.ndarray], Optional[str]]:
    """Scores of the whole set mapped to 0..1 by their true ends, and a remark where that cannot be done."""
    filled = [values for values in scores if len(values)]
    if not filled:
        return list(scores), "there is no detection in any file"
    low, high = min(values.min() for values in filled), max(values.max() for values in filled)
    if low == high:
        return [np.ones_like(values) for values in scores], f"all scores are {low:g}, so all count as 1"
    return [(values - low) / (high - low) for values in scores], None


def score(images: Sequence[TruthImage], boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray],
          iou_thresholds: Sequence[float]) -> tuple[dict[float, dict[str, float]],
                                                    dict[float, dict[str, np.ndarray]]]:
    """The protocol itself, on arrays.

    Args:
        images: the ground truth of every image.
        boxes: per image [N, 4] xywh pixels, in file order.
        scores: per image [N], scaled to 0..1 over the set.
        iou_thresholds: as `evaluate`.

    Returns:
        average precision and curves, both IoU threshold -> subset, as in `Report`.

    Which face a row overlaps most depends on no threshold and no subset, so each row needs only that face,
    its overlap and the first score threshold at which it counts; three `bincount`s per subset and IoU give
    all 1000 points.
    """
    start = np.cumsum([0] + [len(image.boxes) for image in images])
    faces, overlaps, bins = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int64)]
    for index, image in enumerate(images):
        # As official: an image without any face adds no proposal.
        if not len(scores[index]) or not len(image.boxes):
            continue
        face, overlap = best_overlaps(_corners(boxes[index]), _corners(image.boxes))
        faces.append(face + start[index])
        overlaps.append(overlap)
        # A threshold takes all rows up to the last one that reaches it: the best score from a row on decides.
        bins.append(_first_threshold(np.maximum.accumulate(scores[index][::-1])[::-1]))
    face, overlap, first_bin = map(np.concatenate, (faces, overlaps, bins))
    kept = {subset: np.zeros(start[-1], bool) for subset in SUBSETS}
    for index, image in enumerate(images):
        for subset in SUBSETS:
            kept[subset][image.kept[subset] + start[index]] = True
    curves = {iou: {subset: _curve(face, overlap >= iou, first_bin, kept[subset]) for subset in SUBSETS}
              for iou in iou_thresholds}
    ap = {iou: {subset: average_precision(curve) for subset, curve in of_iou.items()}
          for iou, of_iou in curves.items()}
    return ap, curves


def average_precision(curve: np.ndarray) -> float:
    """Area under the monotone envelope of a [T, 2] recall-precision curve (PASCAL VOC 2010 and later)."""
    recall = np.concatenate([[0.0], curve[:, 0], [1.0]])
    precision = np.concatenate([[0.0], curve[:, 1], [0.0]])
    if np.isnan(recall).any():
        return float("nan")
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[step + 1] - recall[step]) * envelope[step + 1]))


def _curve(face: np.ndarray, matched: np.ndarray, first_bin: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """[1000, 2] recall and precision; rows are in image and file order, `kept` says which faces count."""
    counts = kept[face]
    proposal = ~matched | counts            # a row on an ignored face is neither right nor wrong
    hits = np.flatnonzero(matched & counts)
    hits = hits[np.unique(face[hits], return_index=True)[1]]       # the first row on a face finds it
    proposals, found = (np.cumsum(np.bincount(first_bin[rows], minlength=len(THRESHOLDS) + 1)[:-1])
                        for rows in (proposal, hits))
    faces = np.count_nonzero(kept)
    recall = found / faces if faces else np.full(len(found), np.nan)
    # Before the first proposal nothing is wrong; recall is 0 there, so the area does not change.
    precision = np.divide(found, proposals, out=np.ones(len(found)), where=proposals > 0)
    return np.column_stack([recall, precision])


def _first_threshold(scores: np.ndarray) -> np.ndarray:
    """Index of the first (highest) threshold that each score reaches; compared as floats, never rounded."""
    return len(THRESHOLDS) - np.searchsorted(THRESHOLDS[::-1], scores, side="right")


def _corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _note_oddities(odd: dict[str, list[str]], name: str, content: bytes, rows: np.ndarray,
                   count: Optional[int]) -> None:
    if count not in (None, len(rows)):
        odd["count"].append(name)
    if (rows[1:, 4] > rows[:-1, 4]).any():
        odd["order"].append(name)
    if not content.strip():
        odd["empty"].append(name)


def _remarks(odd: dict[str, list[str]], stray: list[str]) -> list[str]:
    texts = [("files have a count line that disagrees with their rows; all rows are used", odd["count"]),
             ("files are not sorted by score; the protocol takes rows in file order", odd["order"]),
             ("files are empty; they count as no detections", odd["empty"]),
             ("files or folders belong to no image of the ground truth; they are ignored", stray)]
    return [f"{len(names)} {text}, first: {', '.join(names[:3])}" for text, names in texts if names]


def _iou_list(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main(argv: Optional[list[str]] = None) -> int:
    """Parse the command line, evaluate, print the report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="PRED GT",
                        help="the two folders, when not given by option")
    parser.add_argument("-p", "--pred", help="folder of predictions, <event>/<image>.txt")
    parser.add_argument("-g", "--gt", help="folder of the ground truth: wider_face_val.mat (or val.mat), "
                                           "wider_easy_val.mat, wider_medium_val.mat, wider_hard_val.mat")
    parser.add_argument("--iou_thresh", type=_iou_list, action="append", metavar="IOU[,IOU]",
                        help="overlap that counts as found; repeat or separate by commas (default: 0.5,0.4)")
    parser.add_argument("--allow_missing", action="store_true",
                        help="count images without prediction as missed")
    parser.add_argument("--only_predicted", action="store_true", help="leave out images without prediction")
    parser.add_argument("--json", metavar="FILE", help="also write the report as JSON")
    args = parser.parse_args(argv)
    paths = list(args.paths)
    pred = args.pred or (paths.pop(0) if paths else None)
    gt = args.gt or (paths.pop(0) if paths else None)
    if not pred or not gt or paths:
        raise InputError("expected one folder of predictions and one of ground truth: "
                         "python dependency/evaluate/eval.py --pred PRED --gt GT")
    ious = [value for part in args.iou_thresh for value in part] if args.iou_thresh else IOU_THRESHOLDS
    report = evaluate(pred, gt, ious, args.allow_missing, args.only_predicted)
    print(format_report(report))
    if args.json:
        _write_json(args.json, report_to_dict(report))
    return 0


def _write_json(path: str, content: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, allow_nan=False)
        file.write("\n")


def _run() -> int:
    """`main` with input errors as one line and status 2 (`dependency` may not import `src.common.cli`)."""
    try:
        return main()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(_run())
