# SPDX-License-Identifier: Apache-2.0
"""The NumPy twin of `nms.pyx`: the same names, the same bits, for machines without a compiler.

    from dependency.centernet.src.lib.external.suppress import nms, soft_nms      # picks the faster one

A row is `x1 y1 x2 y2 score ...` in pixels, float32.  The order of operations and every rounding follow
`nms.pyx`; `exp` and `pow` are the C library's (through `math`), because NumPy's own vector versions may
differ in the last bit.
"""
import math

import numpy as np

ONE = np.float32(1)
# Larger boxes would have areas that float32 cannot hold.
LIMIT = 1e18


def nms(dets: np.ndarray, thresh: float) -> list[int]:
    """Greedy NMS of float32 rows [N, >= 5]: drops a box whose overlap with a better one is >= `thresh`.

    Returns:
        kept row indices, best score first; equal scores keep their row order.
    """
    _check(dets, 5)
    if not thresh > 0:
        raise ValueError(f"thresh is {thresh}: expected a value above 0, usually 0.3 to 0.5")
    boxes = np.ascontiguousarray(dets[:, :4].T)
    x1, y1, x2, y2 = boxes
    area = (x2 - x1 + ONE) * (y2 - y1 + ONE)
    order = np.argsort(-dets[:, 4], kind="stable")
    keep = []
    while order.size:
        best, order = order[0], order[1:]
        keep.append(int(best))
        touching, inter = _intersect(boxes[:, best], boxes[:, order])
        overlap = inter / (area[best] + area[order[touching]] - inter)
        order = np.delete(order, touching[overlap.astype(np.float64) >= thresh])
    return keep


def soft_nms_rows(dets: np.ndarray, sigma: float = 0.5, Nt: float = 0.3, threshold: float = 0.001,
                  method: int = 0) -> np.ndarray:
    """Soft-NMS of float32 rows [N, >= 5], `dets` unchanged: a new array of the kept rows, all columns."""
    _check_sigma(sigma, method)
    rows = np.array(_check(dets, 5), order="C")
    kept = len(rows)
    i = 0
    while i < kept:
        _swap_best(rows, i, kept)
        touched, weight = _weights(rows[i], rows[i + 1:kept], sigma, Nt, method)
        touched += i + 1
        rows[touched, 4] *= weight
        kept = _drop(rows, touched[rows[touched, 4] < np.float32(threshold)], kept)
        i += 1
    return rows[:kept].copy()


def soft_nms(boxes: np.ndarray, sigma: float = 0.5, Nt: float = 0.3, threshold: float = 0.001,
             method: int = 0) -> list[int]:
    """Soft-NMS in place on float32 [N, >= 5]: methods 0 hard, 1 linear, 2 gaussian.

    The first rows become the kept ones, best first; whole rows move, so landmarks stay with their box.  Rows
    after them are left as they were and mean nothing.

    Returns:
        list(range(number of kept rows)).
    """
    rows = soft_nms_rows(boxes, sigma, Nt, threshold, method)
    boxes[:len(rows)] = rows
    return list(range(len(rows)))


def soft_nms_39(boxes: np.ndarray, sigma: float = 0.5, Nt: float = 0.3, threshold: float = 0.001,
                method: int = 0) -> list[int]:
    """`soft_nms` for rows with 17 keypoints: float32 [N, >= 39]."""
    return soft_nms(_check(boxes, 39), sigma, Nt, threshold, method)


def soft_nms_merge(boxes: np.ndarray, sigma: float = 0.5, Nt: float = 0.3, threshold: float = 0.001,
                   method: int = 0, weight_exp: float = 6) -> list[int]:
    """`soft_nms` in place that also averages corners; float32 [N, >= 7].

    Columns 5 and 6 weigh the upper left and the lower right corner; a decayed box adds to the picked one with
    `(1 - weight) ** weight_exp`.
    """
    _check_sigma(sigma, method)
    rows = np.array(_check(boxes, 7), order="C")
    kept = len(rows)
    i = 0
    while i < kept:
        _swap_best(rows, i, kept)
        touched, weight = _weights(rows[i], rows[i + 1:kept], sigma, Nt, method)
        touched += i + 1
        rows[touched, 4] *= weight
        dropped = touched[rows[touched, 4] < np.float32(threshold)]
        share = dict(zip(touched.tolist(), ((1.0 - float(w)) ** weight_exp for w in weight)))
        sums = np.array([*(rows[i, :4] * rows[i, [5, 5, 6, 6]]), rows[i, 5], rows[i, 6]], np.float32)
        for pos in _visit_order(touched, dropped, i + 1, kept):
            factor = rows[pos, [5, 5, 6, 6]]
            sums += np.array([*(rows[pos, :4] * factor), rows[pos, 5], rows[pos, 6]]) * np.float32(share[pos])
        kept = _drop(rows, dropped, kept)
        rows[i, :4] = sums[:4] / sums[[4, 4, 5, 5]]
        i += 1
    boxes[:kept] = rows[:kept]
    return list(range(kept))


def _check(dets: np.ndarray, columns: int) -> np.ndarray:
    if getattr(dets, "dtype", None) != np.float32 or dets.ndim != 2 or dets.shape[1] < columns:
        raise ValueError(f"expected a float32 array [N, {columns} or more columns], got "
                         f"{getattr(dets, 'dtype', type(dets).__name__)} {getattr(dets, 'shape', '')}")
    faulty = np.argwhere(~(np.abs(dets[:, :5]) < LIMIT))
    if len(faulty):
        row, column = faulty[0]
        raise ValueError(f"detection {row} of {len(dets)} holds {dets[row, column]}: expected finite boxes and "
                         "scores, at most 1e18; check the weights and the normalisation of the network that made it")
    return dets


def _check_sigma(sigma: float, method: int) -> None:
    if method == 2 and not np.float32(sigma) > 0:
        raise ValueError(f"sigma is {sigma}: expected a value above 0, usually 0.5")


def _swap_best(rows: np.ndarray, i: int, kept: int) -> None:
    best = i + int(np.argmax(rows[i:kept, 4]))
    if best != i:
        rows[[i, best]] = rows[[best, i]]


def _intersect(picked: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the boxes `columns` [4, M] that touch the box `picked` [4], and the areas that they share with it."""
    px1, py1, px2, py2 = picked
    x1, y1, x2, y2 = columns
    width = np.minimum(x2, px2) - np.maximum(x1, px1) + ONE
    height = np.minimum(y2, py2) - np.maximum(y1, py1) + ONE
    touching = np.flatnonzero((width > 0) & (height > 0))
    return touching, width[touching] * height[touching]


def _weights(picked: np.ndarray, others: np.ndarray, sigma: float, nt: float,
             method: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the rows `others` touch the row `picked`, and the float32 factor of their scores."""
    touching, inter = _intersect(picked[:4], others[:, :4].T)
    x1, y1, x2, y2 = others[touching, :4].T
    area = ((x2 - x1).astype(np.float64) + 1) * ((y2 - y1).astype(np.float64) + 1)
    px1, py1, px2, py2 = picked[:4]
    picked_area = (float(px2 - px1) + 1) * (float(py2 - py1) + 1)
    union = (picked_area + area.astype(np.float32).astype(np.float64) - inter).astype(np.float32)
    overlap = inter / union
    if method == 2:
        argument = -(overlap * overlap) / np.float32(sigma)
        return touching, np.array([math.exp(value) for value in argument.tolist()], np.float32)
    lowered = (1.0 - overlap.astype(np.float64)).astype(np.float32) if method == 1 else np.float32(0)
    return touching, np.where(overlap > np.float32(nt), lowered, ONE)


def _drop(rows: np.ndarray, dropped: np.ndarray, kept: int) -> int:
    """Fill the places of the `dropped` rows, first to last, with the last rows that stay; the new count."""
    if not dropped.size:
        return kept
    left = kept - len(dropped)
    tail = np.setdiff1d(np.arange(left, kept), dropped, assume_unique=True)
    rows[dropped[dropped < left]] = rows[tail[::-1]]
    return left


def _visit_order(touched: np.ndarray, dropped: np.ndarray, first: int, kept: int) -> list[int]:
    """The order in which `nms.pyx` meets the touched rows: after a dropped row comes the last of the list."""
    seen, gone = set(touched.tolist()), set(dropped.tolist())
    order = []
    while first < kept:
        row = first
        if row in seen:
            order.append(row)
        while row in gone and kept - 1 > first:
            kept -= 1
            row = kept
            if row in seen:
                order.append(row)
        first += 1
    return order
