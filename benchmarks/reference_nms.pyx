# SPDX-License-Identifier: Apache-2.0
"""NMS and soft-NMS as published: what `benchmarks/nms.py` compares with, used nowhere else.

    python -m benchmarks.nms               # compiles this file and compares

A row is `x1 y1 x2 y2 score ...`, float32 pixels.  What makes the published code slow is kept on purpose: rows of
the caller's array, two full scans a pick, a name without a type (`object` below), NumPy's scalar `exp`, and
Cython's checks of bounds, divisions and exceptions.  Two of their defects are not: all columns move with a row,
and equal scores keep their row order in `nms` (the references' order of ties depends on NumPy's build).
"""
import numpy as np


cdef inline float larger(float a, float b):
    return a if a >= b else b


cdef inline float smaller(float a, float b):
    return a if a <= b else b


def nms(float[:, :] dets, double thresh):
    """Greedy NMS: indices of the kept rows, best first."""
    cdef Py_ssize_t count = dets.shape[0], rank, later, i, j
    cdef float left, top, right, bottom, own, width, height, inter, overlap
    rows = np.asarray(dets)
    cdef float[:] x1 = rows[:, 0], y1 = rows[:, 1], x2 = rows[:, 2], y2 = rows[:, 3]
    cdef float[:] area = (rows[:, 2] - rows[:, 0] + 1) * (rows[:, 3] - rows[:, 1] + 1)
    cdef Py_ssize_t[:] order = np.argsort(-rows[:, 4], kind="stable")
    cdef Py_ssize_t[:] suppressed = np.zeros(count, np.intp)
    keep = []
    for rank in range(count):
        i = order[rank]
        if suppressed[i]:
            continue
        keep.append(i)
        left = x1[i]
        top = y1[i]
        right = x2[i]
        bottom = y2[i]
        own = area[i]
        for later in range(rank + 1, count):
            j = order[later]
            if suppressed[j]:
                continue
            width = larger(0, smaller(right, x2[j]) - larger(left, x1[j]) + 1)
            height = larger(0, smaller(bottom, y2[j]) - larger(top, y1[j]) + 1)
            inter = width * height
            overlap = inter / (own + area[j] - inter)
            if overlap >= thresh:
                suppressed[j] = 1
    return keep


def soft_nms(float[:, :] boxes, float sigma=0.5, float Nt=0.3, float threshold=0.001, int method=0):
    """Soft-NMS in place, method 0 hard, 1 linear, 2 gaussian: the number of rows kept, which come first."""
    cdef Py_ssize_t kept = boxes.shape[0], columns = boxes.shape[1], i, pos, best, column
    cdef float value, left, top, right, bottom, x1, y1, x2, y2, area, width, height, union_area, overlap, weight
    cdef object score
    for i in range(kept):                       # the number at the start: later rounds find nothing to do
        best = i
        value = boxes[i, 4]
        pos = i + 1
        while pos < kept:
            if value < boxes[pos, 4]:
                value = boxes[pos, 4]
                best = pos
            pos += 1
        for column in range(columns):
            value = boxes[i, column]
            boxes[i, column] = boxes[best, column]
            boxes[best, column] = value
        left = boxes[i, 0]
        top = boxes[i, 1]
        right = boxes[i, 2]
        bottom = boxes[i, 3]
        pos = i + 1
        while pos < kept:
            x1 = boxes[pos, 0]
            y1 = boxes[pos, 1]
            x2 = boxes[pos, 2]
            y2 = boxes[pos, 3]
            score = boxes[pos, 4]               # of every row looked at, and never read
            area = (x2 - x1 + 1.0) * (y2 - y1 + 1.0)
            width = smaller(right, x2) - larger(left, x1) + 1.0
            if width > 0:
                height = smaller(bottom, y2) - larger(top, y1) + 1.0
                if height > 0:
                    union_area = (right - left + 1.0) * (bottom - top + 1.0) + area - width * height
                    overlap = width * height / union_area
                    if method == 2:
                        weight = np.exp(-(overlap * overlap) / sigma)
                    elif overlap > Nt:
                        weight = 1.0 - overlap if method == 1 else 0
                    else:
                        weight = 1
                    boxes[pos, 4] = weight * boxes[pos, 4]
                    if boxes[pos, 4] < threshold:
                        kept -= 1
                        for column in range(columns):
                            boxes[pos, column] = boxes[kept, column]
                        pos -= 1
            pos += 1
    return kept
