# SPDX-License-Identifier: Apache-2.0
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Greedy NMS and soft-NMS on detection rows, compiled; `nms_numpy.py` is the twin that gives the same bits.

    make                                   # here, or: python setup.py install
    from dependency.centernet.src.lib.external.suppress import nms, soft_nms      # what the project calls

A row is `x1 y1 x2 y2 score ...` in pixels, float32; widths and intersections count pixels inclusively (+ 1),
as in the code published with soft-NMS (Bodla et al., ICCV 2017, algorithm 1).  Only buffers are used, no
NumPy C API, so one build serves every NumPy.

Arithmetic that the twin repeats: differences are float32; areas are products in double; the union is rounded
to float32 once; overlap and weight are float32; exp and pow run in double.
"""
import numpy as np

from libc.math cimport exp, pow


cdef inline float _overlap(float ax1, float ay1, float ax2, float ay2, double a_area,
                           float bx1, float by1, float bx2, float by2, float b_area) noexcept nogil:
    """Overlap of two boxes, or -1 where they do not touch."""
    cdef float one = 1
    cdef float iw = (bx2 if bx2 < ax2 else ax2) - (bx1 if bx1 > ax1 else ax1) + one
    if not iw > 0:
        return -1
    cdef float ih = (by2 if by2 < ay2 else ay2) - (by1 if by1 > ay1 else ay1) + one
    if not ih > 0:
        return -1
    cdef float inter = iw * ih
    cdef float union_area = <float>(a_area + b_area - inter)
    return inter / union_area


cdef inline double _area(float x1, float y1, float x2, float y2) noexcept nogil:
    return (<double>(x2 - x1) + 1.0) * (<double>(y2 - y1) + 1.0)


cdef inline float _weight(float overlap, float sigma, float nt, int method) noexcept nogil:
    cdef float argument
    if method == 2:
        argument = -(overlap * overlap) / sigma
        return <float>exp(argument)
    if overlap > nt:
        return <float>(1.0 - overlap) if method == 1 else 0
    return 1


cdef Py_ssize_t _decay(float[:, ::1] box, float[::1] score, float[::1] area, Py_ssize_t[::1] order,
                       float sigma, float nt, float threshold, int method) noexcept nogil:
    """Soft-NMS in place on the columns `box` [4, N], `score`, `area`, `order`; gives the count kept."""
    cdef Py_ssize_t i = 0, pos, best, column, kept = score.shape[0], index
    cdef float value, x1, y1, x2, y2
    cdef double picked_area
    while i < kept:
        best = i
        for pos in range(i + 1, kept):
            if score[best] < score[pos]:
                best = pos
        for column in range(4):
            value = box[column, i]; box[column, i] = box[column, best]; box[column, best] = value
        value = score[i]; score[i] = score[best]; score[best] = value
        value = area[i]; area[i] = area[best]; area[best] = value
        index = order[i]; order[i] = order[best]; order[best] = index
        x1 = box[0, i]; y1 = box[1, i]; x2 = box[2, i]; y2 = box[3, i]
        picked_area = _area(x1, y1, x2, y2)
        pos = i + 1
        while pos < kept:
            value = _overlap(x1, y1, x2, y2, picked_area,
                             box[0, pos], box[1, pos], box[2, pos], box[3, pos], area[pos])
            if value >= 0:
                score[pos] = _weight(value, sigma, nt, method) * score[pos]
                if score[pos] < threshold:
                    # The last row takes the place of a dropped one and is looked at next.
                    kept -= 1
                    for column in range(4):
                        box[column, pos] = box[column, kept]
                    score[pos] = score[kept]
                    area[pos] = area[kept]
                    order[pos] = order[kept]
                    continue
            pos += 1
        i += 1
    return kept


cdef Py_ssize_t _decay_merge(float[:, ::1] rows, float sigma, float nt, float threshold, int method,
                             double weight_exp) noexcept nogil:
    """Soft-NMS in place on whole rows; every picked box becomes the weighted mean of what it decays."""
    cdef Py_ssize_t i = 0, pos, best, column, kept = rows.shape[0], columns = rows.shape[1]
    cdef float value, weight, share, x1, y1, x2, y2, mx1, my1, mx2, my2, top, bottom
    cdef double picked_area
    while i < kept:
        best = i
        for pos in range(i + 1, kept):
            if rows[best, 4] < rows[pos, 4]:
                best = pos
        for column in range(columns):
            value = rows[i, column]; rows[i, column] = rows[best, column]; rows[best, column] = value
        x1 = rows[i, 0]; y1 = rows[i, 1]; x2 = rows[i, 2]; y2 = rows[i, 3]
        picked_area = _area(x1, y1, x2, y2)
        top = rows[i, 5]; bottom = rows[i, 6]
        mx1 = x1 * top; my1 = y1 * top; mx2 = x2 * bottom; my2 = y2 * bottom
        pos = i + 1
        while pos < kept:
            value = _overlap(x1, y1, x2, y2, picked_area,
                             rows[pos, 0], rows[pos, 1], rows[pos, 2], rows[pos, 3],
                             <float>_area(rows[pos, 0], rows[pos, 1], rows[pos, 2], rows[pos, 3]))
            if value >= 0:
                weight = _weight(value, sigma, nt, method)
                share = <float>pow(1.0 - weight, weight_exp)
                mx1 = mx1 + rows[pos, 0] * rows[pos, 5] * share
                my1 = my1 + rows[pos, 1] * rows[pos, 5] * share
                mx2 = mx2 + rows[pos, 2] * rows[pos, 6] * share
                my2 = my2 + rows[pos, 3] * rows[pos, 6] * share
                top = top + rows[pos, 5] * share
                bottom = bottom + rows[pos, 6] * share
                rows[pos, 4] = weight * rows[pos, 4]
                if rows[pos, 4] < threshold:
                    kept -= 1
                    for column in range(columns):
                        rows[pos, column] = rows[kept, column]
                    continue
            pos += 1
        rows[i, 0] = mx1 / top; rows[i, 1] = my1 / top
        rows[i, 2] = mx2 / bottom; rows[i, 3] = my2 / bottom
        i += 1
    return kept


cdef void _suppress(const float* x1, const float* y1, const float* x2, const float* y2, const float* area,
                    Py_ssize_t count, float limit, int* dropped) noexcept nogil:
    """Greedy NMS over boxes in score order; marks what an earlier box suppresses."""
    cdef Py_ssize_t i, j
    cdef float left, top, right, bottom, own, w, h, inter
    cdef float zero = 0, one = 1
    for i in range(count):
        if dropped[i]:
            continue
        left = x1[i]; top = y1[i]; right = x2[i]; bottom = y2[i]; own = area[i]
        for j in range(i + 1, count):
            w = (x2[j] if x2[j] < right else right) - (x1[j] if x1[j] > left else left) + one
            h = (y2[j] if y2[j] < bottom else bottom) - (y1[j] if y1[j] > top else top) + one
            w = w if w > zero else zero
            h = h if h > zero else zero
            inter = w * h
            dropped[j] = dropped[j] | (inter / (own + area[j] - inter) >= limit)


def _checked(dets, columns):
    """`dets` itself when it is float32 [N, >= columns], else a ValueError."""
    if getattr(dets, "dtype", None) != np.float32 or dets.ndim != 2 or dets.shape[1] < columns:
        raise ValueError(f"expected a float32 array [N, {columns} or more columns], got "
                         f"{getattr(dets, 'dtype', type(dets).__name__)} {getattr(dets, 'shape', '')}")
    return dets


def _kept(dets, float sigma, float nt, float threshold, int method):
    """Indices of the kept rows in output order, and their decayed scores."""
    box = np.array(dets[:, :4].T, order="C")
    score = np.array(dets[:, 4])
    x1, y1, x2, y2 = box
    area = (((x2 - x1).astype(np.float64) + 1) * ((y2 - y1).astype(np.float64) + 1)).astype(np.float32)
    order = np.arange(len(score), dtype=np.intp)
    kept = _decay(box, score, area, order, sigma, nt, threshold, method)
    return order[:kept], score[:kept]


def nms(dets, thresh):
    """Greedy NMS of float32 rows [N, >= 5]: drops a box whose overlap with a better one is >= `thresh`.

    Returns:
        list of kept row indices, best score first; equal scores keep their row order.
    """
    _checked(dets, 5)
    order = np.argsort(-dets[:, 4], kind="stable")
    if not len(order):
        return []
    limit = np.float32(thresh)
    # The smallest float32 not below `thresh`: comparing in float32 then decides as comparing in double does.
    if float(limit) < thresh:
        limit = np.nextafter(limit, np.float32(np.inf))
    x1, y1, x2, y2 = dets[order, :4].T
    columns = np.array([x1, y1, x2, y2, (x2 - x1 + 1) * (y2 - y1 + 1)])
    dropped = np.zeros(len(order), np.intc)
    cdef float[:, ::1] column = columns
    cdef int[::1] flag = dropped
    _suppress(&column[0, 0], &column[1, 0], &column[2, 0], &column[3, 0], &column[4, 0],
              len(order), limit, &flag[0])
    return order[dropped == 0].tolist()


def soft_nms_rows(dets, sigma=0.5, Nt=0.3, threshold=0.001, method=0):
    """Soft-NMS of float32 rows [N, >= 5], `dets` unchanged: a new array of the kept rows, all columns."""
    order, scores = _kept(_checked(dets, 5), sigma, Nt, threshold, method)
    rows = dets[order]
    rows[:, 4] = scores
    return rows


def soft_nms(boxes, sigma=0.5, Nt=0.3, threshold=0.001, method=0):
    """Soft-NMS in place on float32 [N, >= 5]: methods 0 hard, 1 linear, 2 gaussian.

    The first rows become the kept ones, best first; whole rows move, so landmarks stay with their box.  Rows
    after them are left as they were and mean nothing.

    Returns:
        list(range(number of kept rows)).
    """
    rows = soft_nms_rows(boxes, sigma, Nt, threshold, method)
    boxes[:len(rows)] = rows
    return list(range(len(rows)))


def soft_nms_39(boxes, sigma=0.5, Nt=0.3, threshold=0.001, method=0):
    """`soft_nms` for rows with 17 keypoints: float32 [N, >= 39]."""
    return soft_nms(_checked(boxes, 39), sigma, Nt, threshold, method)


def soft_nms_merge(boxes, sigma=0.5, Nt=0.3, threshold=0.001, method=0, weight_exp=6):
    """`soft_nms` in place that also averages corners; float32 [N, >= 7].

    Columns 5 and 6 weigh the upper left and the lower right corner; a decayed box adds to the picked one with
    `(1 - weight) ** weight_exp`.
    """
    rows = np.array(_checked(boxes, 7), order="C")
    kept = _decay_merge(rows, sigma, Nt, threshold, method, weight_exp)
    boxes[:kept] = rows[:kept]
    return list(range(kept))
