# SPDX-License-Identifier: Apache-2.0
"""FDDB's evaluation: the share of faces found against the number of false alarms, discrete and continuous.

    report = evaluate_fddb("output/fddb", "fddb/FDDB-folds")
    print(format_fddb(report)); plot_fddb([report], "fddb.png")

The protocol is that of Jain and Learned-Miller, "FDDB: A Benchmark for Face Detection in Unconstrained Settings"
(UM-CS-2010-009, section 5), as their program does it: at every score of the set the detections of at least this
score are matched anew to the ellipses of their image, one to one, so that the sum of overlaps is largest.  A pair
adds 1 to the discrete count where its overlap is over 0.5, and its overlap to the continuous one whatever it is; false
alarms, in both curves, are the detections that are not in a pair over 0.5.  Overlaps are counted in pixels
(fddb_overlap.py).  Boxes are scored as boxes: many published curves first stretch them or turn them into ellipses by
a regressor, which raises the continuous curve in the main; nothing of the kind is done here.
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
from dependency.evaluate.fddb.files import ELLIPSE_COLUMNS, FddbImage, load_fddb, missing_text, read_detections
from dependency.evaluate.fddb.overlap import box_overlaps_ellipses, ellipse_overlaps

LOGGER = logging.getLogger("facedet")
FOUND = 0.5                                     # an overlap over it (not equal) counts as found
FALSE_ALARMS = (100, 500, 1000, 2000)
KINDS = ("discrete", "continuous")
ALL_FOLDS = 10


class Levels(NamedTuple):
    """What is counted at each score threshold, from the highest score down.

    scores: [T] float64, the thresholds: every score that occurs, once.
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
    false_alarms: of all detections; where it is below a number in `rates`, the curve ends before it.
    protocol: the settings, as named values.
    folds: those that the ground truth holds, of FDDB's ten.
    images: images in the ground truth; scored: images that entered the numbers; faces: in those.
    missing: names of the images without prediction.
    detections: rows read.
    warnings: what was odd in the input, one sentence each.
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
    """Score detections on the folds that are there.

    Args:
        pred: a tree <pred>/2002/08/11/big/img_591.txt as test.py writes it, a folder of fold-01-out.txt, ..., or
            one such file; rows of 5 numbers are boxes, in fold files rows of 6 are ellipses.
        truth: the folder of the ellipse lists, or what `load_fddb` made of it.
        allow_missing: images without predictions count as missed instead of being an error.
        only_predicted: they are left out, with their faces.
        false_alarms: where to read the rates off.

    Raises:
        InputError: no or damaged predictions, missing ones unless allowed.
    """
    if allow_missing and only_predicted:
        raise InputError("allow_missing counts missing images as missed, only_predicted leaves them out: give one")
    images = load_fddb(truth) if isinstance(truth, (str, Path)) else list(truth)
    rows, notes = read_detections(pred, images)
    missing = tuple(image.name for image, found in zip(images, rows) if found is None)
    if missing and not (allow_missing or only_predicted):
        raise InputError(f"{missing_text(pred, missing, len(images))}; run the test over all images, or choose "
                         "--allow_missing (they count as missed) or --only_predicted (they are left out)")
    used = [(image, found) for image, found in zip(images, rows) if found is not None or not only_predicted]
    faces = sum(len(image.ellipses) for image, _ in used)
    if not faces:
        raise InputError(f"{pred}: the images that it covers have no annotated face; predict more images")
    unsized = [image.name for image, _ in used if image.size is None]
    if unsized:
        notes.append(f"the size of {len(unsized)} images is not known, so regions are not clipped to them, first: "
                     f"{', '.join(unsized[:3])}; put FDDB's originalPics beside FDDB-folds")
    levels = count_set([match_image(_overlaps(image, found), found[:, -1]) for image, found in used
                        if found is not None])
    if not len(levels.scores):
        notes.append("there is no detection in any file")
    for note in notes:
        LOGGER.warning("%s: %s", pred, note)
    alarms = levels.detections - levels.found
    curves = {"discrete": np.column_stack([alarms, levels.found / faces]),
              "continuous": np.column_stack([alarms, levels.overlap / faces])}
    protocol = {"overlap": FOUND, "matching": "one to one, largest sum of overlaps, anew at every score",
                "regions": "pixels", "clipped": not unsized, "allow_missing": allow_missing,
                "only_predicted": only_predicted}
    return FddbReport(str(pred), str(truth) if isinstance(truth, (str, Path)) else "", curves["discrete"],
                      curves["continuous"], levels.scores,
                      {kind: {count: rate_at(curve, count) for count in false_alarms}
                       for kind, curve in curves.items()},
                      int(alarms[-1]) if len(alarms) else 0, protocol, tuple(sorted({image.fold for image in images})),
                      len(images), len(used), faces, missing,
                      sum(len(found) for _, found in used if found is not None), tuple(notes))


def match_image(overlaps: np.ndarray, scores: np.ndarray) -> Levels:
    """Match the detections of one image to its faces at each of its scores.

    Args:
        overlaps: [N, K] of every detection with every face.
        scores: [N].

    Pairs of no overlap change nothing, so detections and faces that no chain of overlaps connects are matched
    apart: nearly always one face, whose partner is simply the best so far.
    """
    order = np.argsort(-scores, kind="stable")
    scores, overlaps = scores[order], overlaps[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[:len(scores)]) + 1
    found, total = np.zeros(len(ends), np.int64), np.zeros(len(ends))
    for rows, faces in _groups(overlaps):
        part, taken = overlaps[np.ix_(rows, faces)], np.searchsorted(rows, ends)
        if len(faces) == 1:
            best = np.maximum.accumulate(np.append(0.0, part[:, 0]))[taken]
            found += best > FOUND
            total += best
            continue
        counts, level = np.unique(taken, return_inverse=True)
        pairs = [part[:count][linear_sum_assignment(part[:count], maximize=True)] for count in counts]
        found += np.array([np.count_nonzero(pair > FOUND) for pair in pairs])[level]
        total += np.array([pair.sum() for pair in pairs])[level]
    return Levels(scores[ends - 1], found, total, ends)


def count_set(images: Sequence[Levels]) -> Levels:
    """The counts of all images together, at every score that occurs in any."""
    steps = [Levels(image.scores, *(np.diff(values, prepend=0) for values in image[1:])) for image in images]
    empty = Levels(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    scores, *counts = (np.concatenate(values) for values in zip(*[empty, *steps]))
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last = np.append(scores[1:] != scores[:-1], True)[:len(scores)]
    return Levels(scores[last], *(np.cumsum(values[order])[last] for values in counts))


def rate_at(curve: np.ndarray, false_alarms: int) -> float:
    """The rate at the lowest score with at most so many false alarms on a curve [T, 2]; 0 where there is none."""
    within = np.flatnonzero(curve[:, 0] <= false_alarms)
    return float(curve[within[-1], 1]) if len(within) else 0.0


def format_fddb(report: FddbReport) -> str:
    """A line with the protocol, then the rates, a line for each number of false alarms."""
    folds = f"{len(report.folds)} of {ALL_FOLDS} folds" if len(report.folds) < ALL_FOLDS else "all folds"
    fate = "" if not report.missing else (" (left out, their faces too)" if report.protocol["only_predicted"]
                                          else " (their faces count as missed)")
    clipped = "clipped to the image" if report.protocol["clipped"] else "not clipped to the image"
    lines = [(f"protocol: FDDB, {folds}, {report.scored} of {report.images} images scored, {len(report.missing)} "
             f"missing{fate}, {report.faces} faces, {report.detections} detections, regions {clipped}"),
             f"==================== FDDB ==================== {report.pred}",
             "false positives  discrete  continuous"]
    for count, rate in report.rates["discrete"].items():
        note = "" if report.false_alarms >= count else f"  (all detections give {report.false_alarms})"
        lines.append(f"{count:>15}  {rate:.6f}  {report.rates['continuous'][count]:.6f}{note}")
    return "\n".join(lines)


def fddb_to_dict(report: FddbReport, curves: bool = False) -> dict[str, Any]:
    """The report as plain JSON values; the curves are there only if asked for."""
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


def plot_fddb(reports: Sequence[FddbReport], path: str | Path, most: int | None = None) -> bool:
    """Draw rate over false positives into a PNG, discrete beside continuous, a line for each report.

    Args:
        reports: named in the legend by the folder of their predictions.
        path: the picture.
        most: false positives at the right end; the largest number in the rates when None.

    Returns:
        False, with a log line, where matplotlib is absent.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        LOGGER.info("no %s: matplotlib is absent (pip install matplotlib)", path)
        return False
    figure = Figure(figsize=(11, 4.4), dpi=120)
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), KINDS):
        for report in reports:
            points = np.vstack([[0.0, 0.0], getattr(report, kind)])
            axes.plot(points[:, 0], points[:, 1], label=Path(report.pred).name)
        axes.set(title=kind, xlabel="false positives", ylabel="true positive rate", ylim=(0, 1),
                 xlim=(0, most or max(max(report.rates[kind], default=1) for report in reports)))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    return True


def _overlaps(image: FddbImage, found: np.ndarray) -> np.ndarray:
    if found.shape[1] == ELLIPSE_COLUMNS:
        return ellipse_overlaps(found[:, :5], image.ellipses, image.size)
    return box_overlaps_ellipses(found[:, :4], image.ellipses, image.size)


def _groups(overlaps: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, faces) of each set that overlaps connect, both in ascending order; what overlaps nothing is in none."""
    rows, faces = np.nonzero(overlaps)
    count, faces_in_all = overlaps.shape
    if faces_in_all == 1:
        return [(rows, np.zeros(1, np.intp))] if len(rows) else []
    graph = csr_matrix((np.ones(len(rows)), (rows, count + faces)), shape=(count + faces_in_all,) * 2)
    label = connected_components(graph, directed=False)[1]
    return [(np.flatnonzero(label[:count] == group), np.flatnonzero(label[count:] == group))
            for group in np.unique(label[rows])]
