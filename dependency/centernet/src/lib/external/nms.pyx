# SPDX-License-Identifier: Apache-2.0
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Greedy NMS and soft-NMS on detection rows, compiled; call them through `suppress.py`, which checks.

    make                                   # here, or: python setup.py install

A row is `x1 y1 x2 y2 score ...` in pixels, float32; widths and heights count pixels inclusively (+ 1), as in the code
published with soft-NMS (Bodla et al., ICCV 2017, algorithm 1).  The results are those of the published loops, bit for
bit (`python -m benchmarks.nms` compares and times).  Only buffers are used, no NumPy C API, so one build serves every
NumPy.  `nms_numpy.py` holds the same functions in NumPy.

Inside, the rows are the columns of a float32 array [7, N], so that x1 of all boxes lie one after the other, then y1,
and so on: the compiler makes vector instructions of the loop in `_intersect`.
"""
import numpy as np

from libc.math cimport INFINITY, exp

cdef enum:
    X1, Y1, X2, Y2, SCORE
    AREA                     # of the box, in pixels
    SHARED                   # area that the box shares with the box that was picked last

cdef enum:
    BLOCK = 8                # rows that are skipped together


def nms(dets, double thresh):
    """Drop every box whose overlap with a better one is at least `thresh`.

    Args:
        dets: float32 [N, 5 or more columns], finite.
        thresh: above 0.

    Returns:
        list of the kept row indices, best score first; equal scores keep their row order.
    """
    order = np.argsort(-dets[:, 4], kind="stable")
    columns = _columns(dets[order])
    columns[AREA] = (columns[X2] - columns[X1] + 1) * (columns[Y2] - columns[Y1] + 1)
    suppressed = np.zeros(len(order), np.int32)
    # The smallest float32 that is not below `thresh`: comparing in float32 then decides as comparing in double does.
    cdef float limit = thresh
    if limit < thresh:
        limit = np.nextafter(np.float32(limit), np.float32(np.inf))
    _suppress(columns, limit, suppressed)
    return order[suppressed == 0].tolist()


def soft_nms(boxes, float sigma=0.5, float Nt=0.3, float threshold=0.001, int method=0):
    """Lower the scores of boxes that overlap better ones, in place; drop those that fall below `threshold`.

    Args:
        boxes: float32 [N, 5 or more columns], finite.  Its first rows become the kept ones, best first; whole rows
            move, so landmarks stay with their box.  The rows after them mean nothing.
        sigma: width of the gaussian weight.
        Nt: overlap above which methods 0 and 1 act.
        threshold: an overlapped row whose score falls below it is dropped.
        method: 0 hard (score * 0), 1 linear (score * (1 - overlap)), 2 gaussian (score * exp(-overlap^2 / sigma)).

    Returns:
        list(range(number of kept rows)).
    """
    columns = _columns(boxes)
    sides = (columns[X2:SCORE] - columns[X1:X2]).astype(np.float64) + 1
    columns[AREA] = sides[0] * sides[1]
    order = np.arange(len(boxes), dtype=np.intp)
    kept = _decay(columns, order, sigma, Nt, threshold, method)
    rows = boxes[order[:kept]]
    rows[:, 4] = columns[SCORE, :kept]
    boxes[:kept] = rows
    return list(range(kept))


def _columns(rows):
    """[7, N] float32 with the boxes and scores of the rows filled in."""
    columns = np.empty((SHARED + 1, len(rows)), np.float32)
    columns[:AREA] = rows[:, :AREA].T
    return columns


cdef inline float _min(float a, float b) noexcept nogil:
    return a if a < b else b


cdef inline float _max(float a, float b) noexcept nogil:
    return a if a > b else b


cdef void _intersect(float[:, ::1] column, Py_ssize_t picked, Py_ssize_t count) noexcept nogil:
    """Fill SHARED of the rows from `picked` + 1 to `count`; 0 where a box does not touch the picked one."""
    cdef Py_ssize_t row
    cdef float width, height, zero = 0, one = 1
    cdef const float* x1 = &column[X1, 0]
    cdef const float* y1 = &column[Y1, 0]
    cdef const float* x2 = &column[X2, 0]
    cdef const float* y2 = &column[Y2, 0]
    cdef float* shared = &column[SHARED, 0]
    cdef float left = x1[picked], top = y1[picked], right = x2[picked], bottom = y2[picked]
    for row in range(picked + 1, count):
        width = _min(right, x2[row]) - _max(left, x1[row]) + one
        height = _min(bottom, y2[row]) - _max(top, y1[row]) + one
        shared[row] = _max(width, zero) * _max(height, zero)


cdef void _suppress(float[:, ::1] column, float limit, int[::1] suppressed) noexcept:
    """Mark each row that overlaps an earlier row, itself not marked, by `limit` or more."""
    cdef Py_ssize_t picked, row, count = suppressed.shape[0]
    cdef float own, shared
    with nogil:
        for picked in range(count):
            if suppressed[picked]:
                continue
            _intersect(column, picked, count)
            own = column[AREA, picked]
            for row in range(picked + 1, count):
                shared = column[SHARED, row]
                suppressed[row] |= shared / (own + column[AREA, row] - shared) >= limit


cdef inline bint _any_shared(const float* shared) noexcept nogil:
    """Check whether any of BLOCK shared areas is above 0; none is negative, so the sum decides."""
    return ((shared[0] + shared[1]) + (shared[2] + shared[3])) + ((shared[4] + shared[5]) + (shared[6] + shared[7])) > 0


cdef Py_ssize_t _argmax(const float* score, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """The first of the best rows from `first` to `count`; eight maxima side by side make vector instructions."""
    cdef float[BLOCK] best
    cdef float highest = -INFINITY
    cdef Py_ssize_t row = first
    cdef int lane
    for lane in range(BLOCK):
        best[lane] = -INFINITY
    while row + BLOCK <= count:
        for lane in range(BLOCK):
            best[lane] = _max(best[lane], score[row + lane])
        row += BLOCK
    for lane in range(BLOCK):
        highest = _max(highest, best[lane])
    while row < count:
        highest = _max(highest, score[row])
        row += 1
    row = first
    while score[row] != highest:
        row += 1
    return row


cdef Py_ssize_t _decay(float[:, ::1] column, Py_ssize_t[::1] order, float sigma, float Nt, float threshold,
                       int method) noexcept:
    """Run soft-NMS on the columns; returns the number of rows kept, which come first in columns and `order`."""
    cdef Py_ssize_t count = order.shape[0], picked = 0, row, block_end
    cdef float overlap, weight, one = 1
    cdef double own
    if not count:
        return 0
    cdef const float* area = &column[AREA, 0]
    cdef const float* shared = &column[SHARED, 0]
    cdef float* score = &column[SCORE, 0]
    with nogil:
        while picked < count:
            _swap(column, order, picked, _argmax(score, picked, count))
            _intersect(column, picked, count)
            own = ((<double>(column[X2, picked] - column[X1, picked]) + 1)
                   * (<double>(column[Y2, picked] - column[Y1, picked]) + 1))
            picked += 1
            row = block_end = picked
            while row < count:
                if row >= block_end:
                    block_end = row + BLOCK
                    if block_end <= count and not _any_shared(shared + row):
                        row = block_end
                        continue
                if shared[row] > 0:
                    overlap = shared[row] / <float>(own + area[row] - shared[row])
                    if method == 2:
                        weight = <float>exp(-(overlap * overlap) / sigma)
                    elif overlap > Nt:
                        weight = one - overlap if method == 1 else 0
                    else:
                        weight = 1
                    score[row] = weight * score[row]
                    if score[row] < threshold:
                        # The last row takes its place and is looked at next.
                        count -= 1
                        _move(column, order, count, row)
                        continue
                row += 1
    return count


cdef inline void _swap(float[:, ::1] column, Py_ssize_t[::1] order, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(column.shape[0]):
        column[index, a], column[index, b] = column[index, b], column[index, a]
    order[a], order[b] = order[b], order[a]


cdef inline void _move(float[:, ::1] column, Py_ssize_t[::1] order, Py_ssize_t source,
                       Py_ssize_t target) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(column.shape[0]):
        column[index, target] = column[index, source]
    order[target] = order[source]
