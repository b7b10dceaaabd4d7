# SPDX-License-Identifier: Apache-2.0
"""The functions of `nms.pyx` in NumPy, for machines without a compiler; call them through `suppress.py`.

A row is `x1 y1 x2 y2 score ...` in pixels, float32.  Results are those of `nms.pyx` up to rounding: overlaps are
computed in float64 here.
"""
from __future__ import annotations

import numpy as np

from dependency.evaluate.overlaps import numpy_overlaps


def nms(dets: np.ndarray, thresh: float) -> list[int]:
    """Drop every box whose overlap with a better one is at least `thresh`; arguments and result as in `nms.pyx`."""
    boxes = dets[:, :4].astype(np.float64)
    order = np.argsort(-dets[:, 4], kind="stable")
    keep = []
    while order.size:
        best, order = order[0], order[1:]
        keep.append(int(best))
        order = order[_overlaps(boxes[order], boxes[best]) < thresh]
    return keep


def soft_nms(boxes: np.ndarray, sigma: float = 0.5, Nt: float = 0.3, threshold: float = 0.001,
             method: int = 0) -> list[int]:
    """Lower the scores of boxes that overlap better ones, in place; arguments and result as in `nms.pyx`."""
    rows = boxes.astype(np.float64)
    kept = len(rows)
    i = 0
    while i < kept:
        best = i + int(np.argmax(rows[i:kept, 4]))
        rows[[i, best]] = rows[[best, i]]
        others = rows[i + 1:kept]
        overlap = _overlaps(others[:, :4], rows[i, :4])
        touches = overlap != 0
        if method == 2:
            weight = np.exp(-overlap * overlap / sigma)
        else:
            weight = np.where(touches & (overlap > Nt), 1 - overlap if method == 1 else 0, 1)
        others[:, 4] *= weight
        i += 1
        kept = _drop(rows, i + np.flatnonzero(touches & (others[:, 4] < threshold)), kept)
    boxes[:kept] = rows[:kept]
    return list(range(kept))


def _overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Compute the overlap of each of the boxes [N, 4] with one box [4]."""
    return numpy_overlaps(boxes, box[None], 1.0)[:, 0]


def _drop(rows: np.ndarray, dropped: np.ndarray, kept: int) -> int:
    """Fill the places of the dropped rows, first to last, with the last rows that stay; return the new count.

    This is the order of the published loop, which moves the last row to the place of each row that it drops.
    """
    remaining = kept - len(dropped)
    tail = np.setdiff1d(np.arange(remaining, kept), dropped, assume_unique=True)
    rows[dropped[dropped < remaining]] = rows[tail[::-1]]
    return remaining
