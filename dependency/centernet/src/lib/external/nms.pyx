# SPDX-License-Identifier: Apache-2.0
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Greedy NMS and soft-NMS on detection rows, compiled; `nms_numpy.py` is the twin that gives the same bits.

    make                                   # here, or: python setup.py install
    from dependency.centernet.src.lib.external.suppress import nms, soft_nms      # what the project calls

A row is `x1 y1 x2 y2 score ...` in pixels, float32; widths and intersections count pixels inclusively (+ 1),
as in the code published with soft-NMS (Bodla et al., ICCV 2017, algorithm 1).  Only buffers are used, no
NumPy C API, so one build serves every NumPy.

For each row picked, the published loops look at every row for the best score and again for overlaps.  Here rows
that lie near each other share a block, which knows its bounds and its best score, so that a pick looks at
few rows (`blocks.pxi`).  The result is the same, bit for bit, order of equal scores included; `python -m
benchmarks.nms` compares and times.

Arithmetic that the twin repeats: differences are float32; areas are products in double (in `nms` float32); the
union is rounded to float32 once; overlap and weight are float32; exp and pow run in double.
"""
import numpy as np

from libc.math cimport INFINITY, exp, pow
from libc.string cimport memchr

include "blocks.pxi"

# Larger boxes would have areas that float32 cannot hold.
cdef double LIMIT = 1e18


cdef struct Rule:
    float sigma
    float nt
    float threshold
    int method               # 0 hard, 1 linear, 2 gaussian


# Where the rows stand in the published order: slot at a place, place of a slot, and which places are dropped.
cdef struct Places:
    Py_ssize_t* slot
    Py_ssize_t* place
    unsigned char* dropped


cdef inline float _weight(float overlap, Rule rule) noexcept nogil:
    """The factor of the score of a box that the picked one overlaps."""
    cdef float one = 1
    if rule.method == 2:
        return <float>exp(-(overlap * overlap) / rule.sigma)
    if overlap > rule.nt:
        return one - overlap if rule.method == 1 else 0
    return one


cdef inline void _weigh(const float* overlap, Rule rule, float* weight) noexcept nogil:
    """`_weight` for a block; overlap is -infinity where the boxes are apart."""
    cdef Py_ssize_t row, index
    cdef int[SIZE] touching
    if rule.method != 2:
        for row in range(SIZE):
            weight[row] = _weight(overlap[row], rule)
        return
    for row in range(SIZE):
        weight[row] = 1
    for index in range(_at_least(overlap, SIZE, 0, touching)):
        row = touching[index]
        weight[row] = _weight(overlap[row], rule)


cdef bint _decay_block(Blocks* blocks, Py_ssize_t block, Picked picked, Rule rule, Places places) noexcept nogil:
    """Lower the scores in one block by a picked box and drop what falls below the threshold; whether any did."""
    cdef float[SIZE] inter
    cdef float[SIZE] overlap
    cdef float[SIZE] weight
    cdef int[SIZE] low
    cdef Py_ssize_t row, first = block * SIZE
    cdef int drops = 0
    cdef float zero = 0, apart = -INFINITY, ratio
    cdef const float* area = blocks.area + first
    cdef float* score = blocks.score + first
    if not _intersect(blocks, first, picked, inter):
        return False
    for row in range(SIZE):
        ratio = inter[row] / <float>(picked.area + area[row] - inter[row])
        overlap[row] = ratio if inter[row] > zero else apart
    _weigh(overlap, rule, weight)
    for row in range(SIZE):
        score[row] = weight[row] * score[row]
        low[row] = (score[row] < rule.threshold) & (inter[row] > zero)
    for row in range(SIZE):
        drops += low[row]
    if drops:
        for row in range(SIZE):
            if low[row]:
                places.dropped[places.place[first + row]] = 1
                _clear(blocks, first + row)
    blocks.best[block] = _highest(score, SIZE)
    return drops > 0


cdef Py_ssize_t _close_gaps(Places places, Py_ssize_t start, Py_ssize_t kept) noexcept nogil:
    """From `start` on, the last row takes the place of a dropped one (and may be dropped too); the rows left."""
    cdef Py_ssize_t pos = start
    cdef unsigned char* mark
    while pos < kept:
        mark = <unsigned char*>memchr(places.dropped + pos, 1, kept - pos)
        if mark == NULL:
            break
        pos = mark - places.dropped
        kept -= 1
        places.slot[pos] = places.slot[kept]
        places.place[places.slot[pos]] = pos
        places.dropped[pos] = places.dropped[kept]
    return kept


cdef Py_ssize_t _decay(Blocks* blocks, Py_ssize_t kept, Rule rule, Places places, float* scores) noexcept nogil:
    """Soft-NMS: the number of rows kept; their slots are the first of `places`, their scores go to `scores`."""
    cdef Py_ssize_t i = 0, slot, index
    cdef Picked picked
    cdef bint gaps
    while i < kept:
        slot = _best(blocks, places.place)
        places.slot[places.place[slot]] = places.slot[i]
        places.place[places.slot[i]] = places.place[slot]
        places.slot[i] = slot
        scores[i] = blocks.score[slot]
        i += 1
        picked = _take(blocks, slot)
        gaps = False
        for index in range(_find_near(blocks, picked)):
            gaps |= _decay_block(blocks, blocks.near[index], picked, rule, places)
        if gaps:
            kept = _close_gaps(places, i, kept)
    return kept


cdef inline float _overlap(Picked a, Picked b) noexcept nogil:
    """Overlap of two boxes, or -1 where they are apart."""
    cdef float one = 1
    cdef float width = _min(a.x2, b.x2) - _max(a.x1, b.x1) + one
    cdef float height = _min(a.y2, b.y2) - _max(a.y1, b.y1) + one
    if not (width > 0 and height > 0):
        return -1
    cdef float inter = width * height
    return inter / <float>(a.area + <float>b.area - inter)


cdef inline Picked _row(const float[:, ::1] rows, Py_ssize_t row) noexcept nogil:
    cdef Picked box
    box.x1 = rows[row, 0]
    box.y1 = rows[row, 1]
    box.x2 = rows[row, 2]
    box.y2 = rows[row, 3]
    box.area = _area(box.x1, box.y1, box.x2, box.y2)
    return box


cdef Py_ssize_t _decay_merge(float[:, ::1] rows, Rule rule, double weight_exp) noexcept nogil:
    """Soft-NMS in place on whole rows; every picked box becomes the weighted mean of what it decays."""
    cdef Py_ssize_t i = 0, pos, best, column, kept = rows.shape[0], columns = rows.shape[1]
    cdef float value, weight, share, mx1, my1, mx2, my2, top, bottom
    cdef Picked picked
    while i < kept:
        best = i
        for pos in range(i + 1, kept):
            if rows[best, 4] < rows[pos, 4]:
                best = pos
        for column in range(columns):
            value = rows[i, column]; rows[i, column] = rows[best, column]; rows[best, column] = value
        picked = _row(rows, i)
        top = rows[i, 5]; bottom = rows[i, 6]
        mx1 = picked.x1 * top; my1 = picked.y1 * top; mx2 = picked.x2 * bottom; my2 = picked.y2 * bottom
        pos = i + 1
        while pos < kept:
            value = _overlap(picked, _row(rows, pos))
            if value >= 0:
                weight = _weight(value, rule)
                share = <float>pow(1.0 - weight, weight_exp)
                mx1 = mx1 + rows[pos, 0] * rows[pos, 5] * share
                my1 = my1 + rows[pos, 1] * rows[pos, 5] * share
                mx2 = mx2 + rows[pos, 2] * rows[pos, 6] * share
                my2 = my2 + rows[pos, 3] * rows[pos, 6] * share
                top = top + rows[pos, 5] * share
                bottom = bottom + rows[pos, 6] * share
                rows[pos, 4] = weight * rows[pos, 4]
                if rows[pos, 4] < rule.threshold:
                    kept -= 1
                    for column in range(columns):
                        rows[pos, column] = rows[kept, column]
                    continue
            pos += 1
        rows[i, 0] = mx1 / top; rows[i, 1] = my1 / top
        rows[i, 2] = mx2 / bottom; rows[i, 3] = my2 / bottom
        i += 1
    return kept


cdef void _suppress(Blocks* blocks, Py_ssize_t block, Picked picked, float limit) noexcept nogil:
    """Empty the rows of one block that the picked box overlaps by `limit` or more."""
    cdef float[SIZE] inter
    cdef int[SIZE] drop
    cdef Py_ssize_t row, first = block * SIZE
    cdef float own = <float>picked.area
    cdef const float* area = blocks.area + first
    if not _intersect(blocks, first, picked, inter):
        return
    for row in range(SIZE):
        drop[row] = inter[row] / (own + area[row] - inter[row]) >= limit
    for row in range(SIZE):
        if drop[row]:
            _clear(blocks, first + row)


cdef Py_ssize_t _greedy(Blocks* blocks, const Py_ssize_t[::1] ranked, const Py_ssize_t[::1] slot_of, float limit,
                        Py_ssize_t[::1] keep) noexcept nogil:
    """Greedy NMS of rows in the order `ranked`; writes the kept ones, gives their number."""
    cdef Py_ssize_t rank, slot, index, kept = 0
    cdef Picked picked
    for rank in range(ranked.shape[0]):
        slot = slot_of[ranked[rank]]
        if blocks.score[slot] == -INFINITY:
            continue
        keep[kept] = ranked[rank]
        kept += 1
        picked = _take(blocks, slot)
        picked.area = blocks.area[slot]
        for index in range(_find_near(blocks, picked)):
            _suppress(blocks, blocks.near[index], picked, limit)
    return kept


def _checked(dets, int columns):
    """`dets` itself when it is float32 [N, >= columns] with usable boxes and scores, else a ValueError."""
    if getattr(dets, "dtype", None) != np.float32 or dets.ndim != 2 or dets.shape[1] < columns:
        raise ValueError(f"expected a float32 array [N, {columns} or more columns], got "
                         f"{getattr(dets, 'dtype', type(dets).__name__)} {getattr(dets, 'shape', '')}")
    cdef const float[:, :] rows = dets
    cdef Py_ssize_t row, column
    for row in range(rows.shape[0]):
        for column in range(5):
            if not -LIMIT < rows[row, column] < LIMIT:
                raise ValueError(
                    f"detection {row} of {len(dets)} holds {rows[row, column]}: expected finite boxes and scores, "
                    "at most 1e18; check the weights and the normalisation of the network that made it")
    return dets


cdef Rule _rule(float sigma, float nt, float threshold, int method) except *:
    """The options of soft-NMS as the loops take them, else a ValueError."""
    if method == 2 and not sigma > 0:
        raise ValueError(f"sigma is {sigma}: expected a value above 0, usually 0.5")
    return Rule(sigma, nt, threshold, method)


def _slots(order):
    """The slot of every row, from the row of every slot."""
    slots = np.empty(len(order), np.intp)
    slots[order] = np.arange(len(order))
    return slots


def nms(dets, double thresh):
    """Greedy NMS of float32 rows [N, >= 5]: drops a box whose overlap with a better one is >= `thresh`.

    Returns:
        list of kept row indices, best score first; equal scores keep their row order.
    """
    _checked(dets, 5)
    if not thresh > 0:
        raise ValueError(f"thresh is {thresh}: expected a value above 0, usually 0.3 to 0.5")
    if not len(dets):
        return []
    cdef float limit = thresh
    # The smallest float32 not below `thresh`: comparing in float32 then decides as comparing in double does.
    if limit < thresh:
        limit = np.nextafter(np.float32(limit), np.float32(np.inf))
    cdef Blocks blocks
    order, memory = _arrange(dets, &blocks, True)
    kept = np.empty(len(order), np.intp)
    cdef Py_ssize_t[::1] ranked = np.argsort(-dets[:, 4], kind="stable"), slot = _slots(order), keep = kept
    cdef Py_ssize_t count
    with nogil:
        count = _greedy(&blocks, ranked, slot, limit, keep)
    return kept[:count].tolist()


def soft_nms_rows(dets, sigma=0.5, Nt=0.3, threshold=0.001, method=0):
    """Soft-NMS of float32 rows [N, >= 5], `dets` unchanged: a new array of the kept rows, all columns."""
    cdef Rule rule = _rule(sigma, Nt, threshold, method)
    cdef Py_ssize_t count = len(_checked(dets, 5))
    if not count:
        return dets.copy()
    cdef Blocks blocks
    order, memory = _arrange(dets, &blocks, False)
    slots, scores = _slots(order), np.empty(count, np.float32)
    cdef Py_ssize_t[::1] slot = slots, place = order.copy()
    cdef unsigned char[::1] dropped = np.zeros(count, np.uint8)
    cdef float[::1] score = scores
    cdef Places places = Places(&slot[0], &place[0], &dropped[0])
    with nogil:
        count = _decay(&blocks, count, rule, places, &score[0])
    rows = np.take(dets, order[slots[:count]], axis=0)
    rows[:, 4] = scores[:count]
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
    kept = _decay_merge(rows, _rule(sigma, Nt, threshold, method), weight_exp)
    boxes[:kept] = rows[:kept]
    return list(range(kept))
