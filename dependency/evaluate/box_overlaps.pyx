# SPDX-License-Identifier: Apache-2.0
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Overlap of boxes, compiled; import `overlaps.py`, which also has the same functions in NumPy.

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


def best_overlaps_in_groups(const double[:, ::1] boxes, const long long[::1] first_box,
                            const double[:, ::1] query, const long long[::1] first_query, double offset=1):
    """For every box [N, 4] the query [K, 4] of its group that it overlaps most: index int64, overlap float64 [N].

    Group g has the boxes first_box[g] to first_box[g + 1], and so the queries.  Without queries the index is -1.
    The queries of a group are visited by left edge, from the first that can reach the box: in a crowd each box
    meets its neighbours only.  Rounding keeps order, so those left out have no overlap as computed either.
    """
    group_ids = np.repeat(np.arange(len(first_query) - 1), np.diff(first_query))
    order = np.lexsort((np.asarray(query)[:, 0], group_ids))
    sorted_query = np.asarray(query)[order]
    indices, overlaps = np.full(len(boxes), -1, np.int64), np.zeros(len(boxes))
    areas, reaches = np.empty(len(query)), sorted_query[:, 2].copy()
    cdef const double[:, ::1] ordered = sorted_query
    cdef const long long[::1] original = order.astype(np.int64)
    cdef long long[::1] index = indices
    cdef double[::1] best = overlaps, area = areas, reach = reaches
    cdef Py_ssize_t group, n, k
    if not len(query):
        return indices, overlaps
    with nogil:
        for group in range(first_query.shape[0] - 1):
            for k in range(first_query[group], first_query[group + 1]):
                area[k] = _area(ordered, k, offset)
                if k > first_query[group] and reach[k - 1] > reach[k]:
                    reach[k] = reach[k - 1]
            if first_query[group] == first_query[group + 1]:
                continue
            for n in range(first_box[group], first_box[group + 1]):
                _best_of_group(&boxes[n, 0], &ordered[0, 0], &area[0], &reach[0], &original[0], first_query[group],
                               first_query[group + 1], offset, &index[n], &best[n])
    return indices, overlaps


cdef inline void _best_of_group(const double *box, const double *query, const double *query_area,
                                const double *reach, const long long *original, Py_ssize_t first,
                                Py_ssize_t last, double offset, long long *index, double *best) noexcept nogil:
    """The best of the queries first to last, which are sorted by left edge; `reach` is the furthest right so far."""
    cdef Py_ssize_t low = first, count = last - first, half
    cdef double w, h, value, area = (box[2] - box[0] + offset) * (box[3] - box[1] + offset)
    cdef const double *face
    index[0] = first
    while count > 1:                                # the first whose reach overlaps, or the last of all
        half = count // 2
        low = low if reach[low + half - 1] - box[0] + offset > 0 else low + half
        count -= half
    for low in range(low, last):
        face = query + 4 * low
        if not box[2] - face[0] + offset > 0:
            break
        h = (face[3] if face[3] < box[3] else box[3]) - (face[1] if face[1] > box[1] else box[1]) + offset
        if not h > 0:
            continue
        w = (face[2] if face[2] < box[2] else box[2]) - (face[0] if face[0] > box[0] else box[0]) + offset
        if not w > 0:
            continue
        value = w * h / (area + query_area[low] - w * h)
        if value > best[0] or value == best[0] and original[low] < index[0]:
            best[0] = value
            index[0] = original[low]
