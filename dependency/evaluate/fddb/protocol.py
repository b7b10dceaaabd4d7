# SPDX-License-Identifier: Apache-2.0
"""Evaluates detections on FDDB: true positive rate over false alarms, discrete and continuous.

    report = evaluate_fddb("output/fddb", "fddb/FDDB-folds")
    print(format_fddb(report)); plot_fddb([report], "fddb.png")

The protocol is that of Jain and Learned-Miller, "FDDB: A Benchmark for Face Detection in Unconstrained Settings"
(UM-CS-2010-009, section 5), as their program does it: for every score of the set, the detections with at least this
score are matched again to the ellipses of their image, one to one, with the largest sum of overlaps. A pair adds 1 to
the discrete count if its overlap is over 0.5, and its overlap, whatever it is, to the continuous one; false alarms, in
both curves, are the detections that are not in a pair over 0.5. Overlaps are counted in pixels (overlap.py). Boxes are
scored as boxes: many published curves first stretch them or turn them into ellipses by a regressor, which mainly raises
the continuous curve; that is not done here.
"""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from dependency.errors import InputError
from dependency.evaluate.diagnosis import LOW_AP, describe_other_layout
from dependency.evaluate.fddb.files import ELLIPSE_COLUMNS, FddbImage, load_fddb, missing_text, read_detections
from dependency.evaluate.fddb.overlap import box_overlaps_ellipses, ellipse_boxes, ellipse_overlaps

LOGGER = logging.getLogger("facedet")
MIN_OVERLAP = 0.5                               # a face is found by an overlap above this
FALSE_ALARMS = (100, 500, 1000, 2000)
KINDS = ("discrete", "continuous")
ALL_FOLDS = 10


class Levels(NamedTuple):
    """The counts at each score threshold, from the highest score down.

    scores: [T] float64, the thresholds: every different score.
    found: [T] int64 pairs whose overlap is over 0.5.
    overlap: [T] float64 sum of the overlaps of all pairs.
    detections: [T] int64 detections of this score or a higher one.
    """
    scores: np.ndarray
    found: np.ndarray
    overlap: np.ndarray
    detections: np.ndarray


@dataclass(frozen=True)
class FddbReport:
    """The curves and how they were obtained.

    pred, gt: where the detections and the folds are.
    discrete, continuous: [T, 2] float64 false alarms and rate at each of `thresholds` [T], highest score first.
    rates: "discrete", "continuous" -> number of false alarms -> rate 0..1 with at most so many.
    false_alarms: of all detections; a number in `rates` above it is beyond the end of the curve.
    protocol: the settings, as named values.
    folds: numbers of the folds in the ground truth.
    images: images in the ground truth; scored: images that entered the numbers; faces: in those.
    missing: names of the images without prediction.
    detections: rows read.
    warnings: remarks on the input, one sentence each.
    """
    pred: str
    gt: str
    discrete: np.ndarray
    continuous: np.ndarray
    thresholds: np.ndarray
    rates: dict[str, dict[int, float]]
    false_alarms: int
    protocol: dict[str, Any]
    folds: tuple[int, ...]
    images: int
    scored: int
    faces: int
    missing: tuple[str, ...]
    detections: int
    warnings: tuple[str, ...]


def evaluate_fddb(pred: str | Path, truth: str | Path | Sequence[FddbImage], allow_missing: bool = False,
                  only_predicted: bool = False, false_alarms: Sequence[int] = FALSE_ALARMS) -> FddbReport:
    """Score detections on all folds of the ground truth.

    Args:
        pred: a tree <pred>/2002/08/11/big/img_591.txt as test.py writes it, a folder of fold-01-out.txt, ..., or
            one such file; rows of 5 numbers are boxes, in fold files rows of 6 are ellipses.
        truth: the folder of the ellipse lists, or the images from `load_fddb`.
        allow_missing: the faces of images without predictions count as missed; otherwise such images are an error.
        only_predicted: leave out images without predictions, with their faces.
        false_alarms: numbers of false alarms at which the rates are reported.

    Raises:
        InputError: no predictions, damaged ones, boxes of another layout, or missing images unless allowed.
    """
    if allow_missing and only_predicted:
        raise InputError("allow_missing counts missing images as missed, only_predicted leaves them out: give one")
    images = load_fddb(truth) if isinstance(truth, (str, Path)) else list(truth)
    detections, warnings = read_detections(pred, images)
    missing = tuple(image.name for image, rows in zip(images, detections) if rows is None)
    if missing and not (allow_missing or only_predicted):
        raise InputError(f"{missing_text(pred, missing, len(images))}; run the test over all images, or choose "
                         "--allow_missing (they count as missed) or --only_predicted (they are left out)")
    used = [(image, rows) for image, rows in zip(images, detections) if rows is not None or not only_predicted]
    faces = sum(len(image.ellipses) for image, _ in used)
    if not faces:
        raise InputError(f"{pred}: its images have no annotated face; predict more images")
    unsized = [image.name for image, _ in used if image.size is None]
    if unsized:
        warnings.append(f"the size of {len(unsized)} images is not known, so regions are not clipped to them, first: "
                        f"{', '.join(unsized[:3])}; put FDDB's originalPics next to FDDB-folds")
    levels = count_set([match_image(_overlaps(image, rows), rows[:, -1]) for image, rows in used if rows is not None])
    if not len(levels.scores):
        warnings.append("there is no detection in any file")
    elif levels.found[-1] < LOW_AP * faces:
        _check_layout(pred, used)
    for warning in warnings:
        LOGGER.warning("%s: %s", pred, warning)
    alarms = levels.detections - levels.found
    curves = {"discrete": np.column_stack([alarms, levels.found / faces]),
              "continuous": np.column_stack([alarms, levels.overlap / faces])}
    protocol = {"overlap": MIN_OVERLAP, "matching": "one to one, largest sum of overlaps, at every score",
                "regions": "pixels", "clipped": not unsized, "allow_missing": allow_missing,
                "only_predicted": only_predicted}
    return FddbReport(
        pred=str(pred),
        gt=str(truth) if isinstance(truth, (str, Path)) else "",
        discrete=curves["discrete"],
        continuous=curves["continuous"],
        thresholds=levels.scores,
        rates={kind: {count: rate_at(curve, count) for count in false_alarms} for kind, curve in curves.items()},
        false_alarms=int(alarms[-1]) if len(alarms) else 0,
        protocol=protocol,
        folds=tuple(sorted({image.fold for image in images})),
        images=len(images),
        scored=len(used),
        faces=faces,
        missing=missing,
        detections=sum(len(rows) for _, rows in used if rows is not None),
        warnings=tuple(warnings))


def match_image(overlaps: np.ndarray, scores: np.ndarray) -> Levels:
    """Match the detections of one image to its faces at each of its scores.

    Args:
        overlaps: [N, K] of every detection with every face.
        scores: [N].

    Each group of detections and faces that overlaps connect is matched on its own. Nearly always it has one face,
    whose partner is the detection with the largest overlap so far.
    """
    order = np.argsort(-scores, kind="stable")
    scores, overlaps = scores[order], overlaps[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[:len(scores)]) + 1
    found, total = np.zeros(len(ends), np.int64), np.zeros(len(ends))
    for rows, faces in _groups(overlaps):
        part, used = overlaps[np.ix_(rows, faces)], np.searchsorted(rows, ends)
        if len(faces) == 1:
            best = np.maximum.accumulate(np.append(0.0, part[:, 0]))[used]
            found += best > MIN_OVERLAP
            total += best
            continue
        counts, level = np.unique(used, return_inverse=True)
        pairs = [part[:count][linear_sum_assignment(part[:count], maximize=True)] for count in counts]
        found += np.array([np.count_nonzero(pair > MIN_OVERLAP) for pair in pairs])[level]
        total += np.array([pair.sum() for pair in pairs])[level]
    return Levels(scores[ends - 1], found, total, ends)


def count_set(images: Sequence[Levels]) -> Levels:
    """Add the counts of all images, at every score that occurs in any."""
    steps = [Levels(image.scores, *(np.diff(values, prepend=0) for values in image[1:])) for image in images]
    empty = Levels(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    scores, *counts = (np.concatenate(values) for values in zip(*[empty, *steps]))
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last = np.append(scores[1:] != scores[:-1], True)[:len(scores)]
    return Levels(scores[last], *(np.cumsum(values[order])[last] for values in counts))


def rate_at(curve: np.ndarray, false_alarms: int) -> float:
    """Return the rate at the lowest score with at most `false_alarms` on a curve [T, 2]; 0 if there is none."""
    within = np.flatnonzero(curve[:, 0] <= false_alarms)
    return float(curve[within[-1], 1]) if len(within) else 0.0


def format_fddb(report: FddbReport) -> str:
    """Format a line with the protocol, then the rates, one line per number of false alarms."""
    folds = f"{len(report.folds)} of {ALL_FOLDS} folds" if len(report.folds) < ALL_FOLDS else "all folds"
    effect = "" if not report.missing else (" (left out, their faces too)" if report.protocol["only_predicted"]
                                          else " (their faces count as missed)")
    clipped = "clipped to the image" if report.protocol["clipped"] else "not clipped to the image"
    lines = [(f"protocol: FDDB, {folds}, {report.scored} of {report.images} images scored, {len(report.missing)} "
             f"missing{effect}, {report.faces} faces, {report.detections} detections, regions {clipped}"),
             f"==================== FDDB ==================== {report.pred}",
             "false positives  discrete  continuous"]
    for count, rate in report.rates["discrete"].items():
        note = "" if report.false_alarms >= count else f"  (all detections give {report.false_alarms})"
        lines.append(f"{count:>15}  {rate:.6f}  {report.rates['continuous'][count]:.6f}{note}")
    return "\n".join(lines)


def fddb_to_dict(report: FddbReport, curves: bool = False) -> dict[str, Any]:
    """Return the report as plain JSON values, on request with the curves."""
    result = {"pred": report.pred, "gt": report.gt, "protocol": report.protocol,
              "rates": {kind: {str(count): rate for count, rate in rates.items()}
                        for kind, rates in report.rates.items()},
              "false_positives": report.false_alarms, "folds": list(report.folds), "images": report.images,
              "scored": report.scored, "faces": report.faces, "missing": list(report.missing),
              "detections": report.detections, "warnings": list(report.warnings)}
    if curves:
        result["curves"] = {"score": report.thresholds.tolist(),
                            "false_positives": report.discrete[:, 0].astype(int).tolist(),
                            **{kind: getattr(report, kind)[:, 1].tolist() for kind in KINDS}}
    return result


def plot_fddb(reports: Sequence[FddbReport], path: str | Path, limit: int | None = None) -> bool:
    """Plot the rates over false positives into a PNG, discrete next to continuous, one line per report.

    Args:
        reports: named in the legend by the folder of their predictions.
        path: the PNG.
        limit: false positives at the right end; None: the largest number in the rates.

    Returns:
        False, with a log line, if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        LOGGER.info("%s is not written: pip install matplotlib", path)
        return False
    figure = Figure(figsize=(11, 4.4), dpi=120)
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), KINDS):
        for report in reports:
            points = np.vstack([[0.0, 0.0], getattr(report, kind)])
            axes.plot(points[:, 0], points[:, 1], label=Path(report.pred).name)
        axes.set(title=kind, xlabel="false positives", ylabel="true positive rate", ylim=(0, 1),
                 xlim=(0, limit or max(max(report.rates[kind], default=1) for report in reports)))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    return True


def _check_layout(pred: str | Path, used: Sequence[tuple[FddbImage, np.ndarray | None]]) -> None:
    """Raise InputError for boxes that find the faces only when they are read in another layout."""
    boxes = [(rows, ellipse_boxes(image.ellipses)) for image, rows in used
             if rows is not None and rows.shape[1] < ELLIPSE_COLUMNS]
    faces = [np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]) for _, corners in boxes]
    other = describe_other_layout([rows for rows, _ in boxes], faces)
    if other:
        raise InputError(f"{pred}: {other}")


def _overlaps(image: FddbImage, rows: np.ndarray) -> np.ndarray:
    if rows.shape[1] == ELLIPSE_COLUMNS:
        return ellipse_overlaps(rows[:, :5], image.ellipses, image.size)
    return box_overlaps_ellipses(rows[:, :4], image.ellipses, image.size)


def _groups(overlaps: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (rows, faces), both ascending, of each group that overlaps connect; without those that overlap nothing."""
    rows, faces = np.nonzero(overlaps)
    row_count, face_count = overlaps.shape
    if face_count == 1:
        return [(rows, np.zeros(1, np.intp))] if len(rows) else []
    graph = csr_matrix((np.ones(len(rows)), (rows, row_count + faces)), shape=(row_count + face_count,) * 2)
    label = connected_components(graph, directed=False)[1]
    return [(np.flatnonzero(label[:row_count] == group), np.flatnonzero(label[row_count:] == group))
            for group in np.unique(label[rows])]
