# SPDX-License-Identifier: Apache-2.0
"""Overlap (IoU) of boxes as WIDER FACE counts it, by the compiled module where it is built, else in NumPy.

    iou = box_overlaps(boxes, faces)                 # [N, K]
    index, iou = best_overlaps(boxes, faces)         # only the best face of every box
    index, iou = best_overlaps_in_groups(boxes, first_box, faces, first_face)      # image by image

Boxes are xyxy pixels, computed in float64.  `offset` is added to every width and height: 1 (the WIDER FACE
toolbox and all its ports) counts pixels inclusively, 0 is the plain geometric overlap.  Both ways give the
same bits.
"""
from __future__ import annotations

import importlib
import logging
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from dependency.errors import InputError

LOGGER = logging.getLogger("facedet")
BLOCK = 1 << 16                     # pairs computed at a time: their float64 temporaries fit into the cache


def box_overlaps(boxes: np.ndarray, query: np.ndarray, offset: float = 1.0) -> np.ndarray:
    """Compute the overlap of every box with every query box.

    Args:
        boxes: [N, 4] xyxy pixels.
        query: [K, 4] xyxy pixels.
        offset: added to widths and heights; 1 counts pixels inclusively.

    Returns:
        [N, K] float64 intersection over union; 0 where the boxes do not touch.

    Raises:
        InputError: an array of another shape.
    """
    boxes, query = _boxes(boxes, "boxes"), _boxes(query, "query")
    compiled = kernels()
    return compiled.box_overlaps(boxes, query, offset) if compiled else numpy_overlaps(boxes, query, offset)


def best_overlaps(boxes: np.ndarray, query: np.ndarray, offset: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Find for every box the query box that it overlaps most, the first one on ties.

    Args:
        boxes: [N, 4] xyxy pixels.
        query: [K, 4] xyxy pixels, K >= 1.
        offset: added to widths and heights; 1 counts pixels inclusively.

    Returns:
        [N] int64 index of the query box (0 when none is touched) and [N] float64 overlap.

    Raises:
        InputError: an array of another shape, or no query box.
    """
    if not len(query):
        raise InputError("best_overlaps needs at least one query box, got none: leave out images "
                         "without faces")
    return best_overlaps_in_groups(boxes, [0, len(boxes)], query, [0, len(query)], offset)


def best_overlaps_in_groups(boxes: np.ndarray, first_box: ArrayLike, query: np.ndarray,
                            first_query: ArrayLike, offset: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Run `best_overlaps` for many images in one call: boxes see the query boxes of their own group only.

    Args:
        boxes: [N, 4] xyxy pixels, group after group.
        first_box: [G + 1] where each group of boxes begins, and N.
        query: [K, 4] xyxy pixels, group after group.
        first_query: [G + 1] where each group of query boxes begins, and K.
        offset: added to widths and heights; 1 counts pixels inclusively.

    Returns:
        [N] int64 index among all query boxes: the first of the group's when none is touched, -1 where the
        group has none; and [N] float64 overlap.

    Raises:
        InputError: an array of another shape, or groups that do not cover it.
    """
    boxes, query = _boxes(boxes, "boxes"), _boxes(query, "query")
    box_starts, query_starts = _groups(first_box, boxes, "boxes"), _groups(first_query, query, "query boxes")
    if len(box_starts) != len(query_starts):
        raise InputError(f"{len(box_starts) - 1} groups of boxes, {len(query_starts) - 1} of query boxes: "
                         "expected as many of both")
    compiled = kernels()
    if compiled is not None:
        return compiled.best_overlaps_in_groups(boxes, box_starts, query, query_starts, offset)
    return numpy_best_overlaps(boxes, box_starts, query, query_starts, offset)


@cache
def kernels() -> ModuleType | None:
    """Import the compiled module; None, with a warning, where it is not built."""
    try:
        return importlib.import_module("dependency.evaluate.box_overlaps")
    except ImportError as error:
        LOGGER.warning("compiled box overlaps not found (%s): NumPy is used, with equal results; to build "
                       "them: python dependency/evaluate/setup.py install", error)
        return None


def numpy_overlaps(boxes: np.ndarray, query: np.ndarray, offset: float) -> np.ndarray:
    """Compute `box_overlaps` in NumPy; float64 arrays."""
    return _overlap(boxes.T[:, :, None], query.T[:, None, :], offset)


def numpy_best_overlaps(boxes: np.ndarray, first_box: np.ndarray, query: np.ndarray, first_query: np.ndarray,
                        offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute `best_overlaps_in_groups` in NumPy; float64 and int64 arrays.

    In each group a box is compared with the query boxes between two positions in their order by left edge: those
    that can reach it.  Such pairs are computed for many boxes at once, block by block.
    """
    index, best = np.full(len(boxes), -1, np.int64), np.zeros(len(boxes))
    order, low, high = (np.zeros(size, np.int64) for size in (len(query), len(boxes), len(boxes)))
    bounds = zip(*(part.tolist() for part in (first_box[:-1], first_box[1:], first_query[:-1], first_query[1:])))
    for begin, end, first, last in bounds:
        if begin == end or first == last:
            continue
        index[begin:end] = first
        order[first:last] = query[first:last, 0].argsort() + first
        left, _, right, _ = query[order[first:last]].T
        # One pixel more than needed, so that rounding leaves no neighbour out.
        low[begin:end] = first + np.maximum.accumulate(right).searchsorted(boxes[begin:end, 0] - offset - 1)
        high[begin:end] = first + left.searchsorted(boxes[begin:end, 2] + offset + 1, side="right")
    counts = np.maximum(high - low, 0)
    rows = np.flatnonzero(counts)
    ends = np.cumsum(counts[rows])
    start = 0
    while start < len(rows):
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + BLOCK)))
        _best_of_pairs(boxes, query, order, rows[start:stop], low, counts, offset, index, best)
        start = stop
    return index, best


def _best_of_pairs(boxes: np.ndarray, query: np.ndarray, order: np.ndarray, rows: np.ndarray, low: np.ndarray,
                   counts: np.ndarray, offset: float, index: np.ndarray, best: np.ndarray) -> None:
    """Fill `index` and `best` of some rows, each with its `counts` query boxes from position `low` of `order` on."""
    counts = counts[rows]
    first = np.cumsum(counts) - counts
    choice = order[np.arange(counts.sum()) + np.repeat(low[rows] - first, counts)]
    overlaps = _overlap(boxes[np.repeat(rows, counts)].T, query[choice].T, offset)
    best[rows] = np.maximum.reduceat(overlaps, first)
    choice[overlaps < np.repeat(best[rows], counts)] = len(query)
    found = rows[best[rows] > 0]
    index[found] = np.minimum.reduceat(choice, first)[best[rows] > 0]


def _overlap(boxes: np.ndarray, query: np.ndarray, offset: float) -> np.ndarray:
    """Compute the overlap of [4, ...] boxes with [4, ...] query boxes of a shape that goes with theirs."""
    left, top, right, bottom = boxes
    x1, y1, x2, y2 = query
    width = np.minimum(right, x2) - np.maximum(left, x1) + offset
    height = np.minimum(bottom, y2) - np.maximum(top, y1) + offset
    inter = width * height
    areas = (right - left + offset) * (bottom - top + offset) + (x2 - x1 + offset) * (y2 - y1 + offset)
    result = np.zeros_like(inter)
    np.divide(inter, areas - inter, out=result, where=(width > 0) & (height > 0))
    return result


def _groups(first: ArrayLike, boxes: np.ndarray, name: str) -> np.ndarray:
    starts = np.ascontiguousarray(first, np.int64)
    if starts.ndim != 1 or not len(starts) or starts[0] or starts[-1] != len(boxes) or (np.diff(starts) < 0).any():
        raise InputError(f"the groups of {len(boxes)} {name} are not 0 to {len(boxes)}, rising")
    return starts


def _boxes(boxes: np.ndarray, name: str) -> np.ndarray:
    boxes = np.ascontiguousarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"{name} have shape {boxes.shape}: expected [N, 4], rows of x1 y1 x2 y2")
    return boxes
