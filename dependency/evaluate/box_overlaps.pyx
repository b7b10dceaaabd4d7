# SPDX-License-Identifier: Apache-2.0
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Overlap of boxes, compiled; `overlaps.py` holds the NumPy twin of equal bits and is what to import.

    python setup.py install                # in this folder
    from dependency.evaluate.overlaps import box_overlaps

Boxes are float64 xyxy pixels.  `offset` is added to every width and height: 1 counts pixels inclusively, as
the WIDER FACE evaluation does, 0 is the plain geometric overlap.  Only buffers are used, no NumPy C API.
"""
import numpy as np


cdef inline double _overlap(const double[:, ::1] a, Py_ssize_t n, double a_area,
                            const double[:, ::1] b, Py_ssize_t k, double b_area,
                            double offset) noexcept nogil:
    cdef double w, h
    w = (b[k, 2] if b[k, 2] < a[n, 2] else a[n, 2]) - (b[k, 0] if b[k, 0] > a[n, 0] else a[n, 0]) + offset
    if not w > 0:
        return 0
    h = (b[k, 3] if b[k, 3] < a[n, 3] else a[n, 3]) - (b[k, 1] if b[k, 1] > a[n, 1] else a[n, 1]) + offset
    if not h > 0:
        return 0
    return w * h / (a_area + b_area - w * h)


cdef inline double _area(const double[:, ::1] boxes, Py_ssize_t row, double offset) noexcept nogil:
    return (boxes[row, 2] - boxes[row, 0] + offset) * (boxes[row, 3] - boxes[row, 1] + offset)


def box_overlaps(const double[:, ::1] boxes, const double[:, ::1] query, double offset=1):
    """Overlap of every box [N, 4] with every query [K, 4]: float64 [N, K]."""
    cdef Py_ssize_t n, k, count = boxes.shape[0], queries = query.shape[0]
    cdef double area
    result = np.empty((count, queries))
    query_areas = np.empty(queries)
    cdef double[:, ::1] out = result
    cdef double[::1] query_area = query_areas
    with nogil:
        for k in range(queries):
            query_area[k] = _area(query, k, offset)
        for n in range(count):
            area = _area(boxes, n, offset)
            for k in range(queries):
                out[n, k] = _overlap(boxes, n, area, query, k, query_area[k], offset)
    return result


def best_overlaps(const double[:, ::1] boxes, const double[:, ::1] query, double offset=1):
    """For every box [N, 4] the query [K >= 1, 4] that it overlaps most: index intp, overlap float64 [N]."""
    cdef Py_ssize_t n, k, count = boxes.shape[0], queries = query.shape[0]
    cdef double area, value
    indices = np.zeros(count, np.intp)
    overlaps = np.zeros(count)
    query_areas = np.empty(queries)
    cdef Py_ssize_t[::1] index = indices
    cdef double[::1] best = overlaps, query_area = query_areas
    with nogil:
        for k in range(queries):
            query_area[k] = _area(query, k, offset)
        for n in range(count):
            area = _area(boxes, n, offset)
            for k in range(queries):
                value = _overlap(boxes, n, area, query, k, query_area[k], offset)
                if value > best[n]:
                    best[n] = value
                    index[n] = k
    return indices, overlaps
