# SPDX-License-Identifier: Apache-2.0
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The rows of a prediction file in the official layout, compiled; `prediction_io.py` is what to import.

    parsed = parse_official(content)                 # the fields of `Prediction`, or None

Anything but name, count and rows of plain decimal numbers gives None: the parser in Python, which knows every
layout and words the errors, reads it then.  Where this one answers, both give the same bits.
"""
import numpy as np
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport isfinite

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, void *overflow) except? -1.0

cdef double[23] TENS
TENS[:] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
           1e18, 1e19, 1e20, 1e21, 1e22]


cdef inline bint _blank(char c) noexcept nogil:
    return c == 32 or c == 9 or c == 11 or c == 12


cdef inline bint _line_end(char c) noexcept nogil:
    return c == 10 or c == 13


cdef inline bint _digit(char c) noexcept nogil:
    return 48 <= c <= 57


cdef inline int _line_ends(const char *text, int size) noexcept nogil:
    """How many there are; in a loop that becomes vector instructions."""
    cdef int count = 0, place
    for place in range(size):
        count += (text[place] == 10) + (text[place] == 13)
    return count


# The text ends in a NUL byte, as `bytes` do, so no step below needs the end to know where to stop.

cdef inline const char *_skip_white(const char *at) noexcept nogil:
    while _blank(at[0]) or _line_end(at[0]):
        at += 1
    return at


cdef inline const char *_skip_blank(const char *at) noexcept nogil:
    while _blank(at[0]):
        at += 1
    return at


cdef inline const char *_digits(const char *at, unsigned long long *mantissa) noexcept nogil:
    """Append the decimal digits from `at` on to a number; gives their end."""
    while _digit(at[0]):
        mantissa[0] = mantissa[0] * 10 + (at[0] - 48)
        at += 1
    return at


cdef const char *_number(const char *at, double *value) except? NULL:
    """Read one decimal number, correctly rounded; gives its end, or `at` itself where there is none."""
    cdef const char *start = at
    cdef const char *first
    cdef unsigned long long mantissa = 0
    cdef int digits = 0, decimals = 0
    cdef bint negative = at[0] == 45
    cdef char *end
    if at[0] == 45 or at[0] == 43:
        at += 1
    first = at
    at = _digits(first, &mantissa)
    digits = at - first
    if at[0] == 46:
        first = at + 1
        at = _digits(first, &mantissa)
        decimals = at - first
    if digits + decimals == 0:
        return start
    if at[0] != 101 and at[0] != 69 and digits + decimals <= 15:
        # Both parts are exact doubles (below 2^53, 10^22), so the division rounds once.
        value[0] = <double>mantissa
        if decimals:
            value[0] /= TENS[decimals]
        if negative:
            value[0] = -value[0]
        return at
    value[0] = PyOS_string_to_double(start, &end, NULL)
    return end


def parse_official(bytes content):
    """The fields of `Prediction`: rows [N, 5], the count line's number, two remarks; None for another layout."""
    cdef const char *text = PyBytes_AS_STRING(content)
    cdef const char *stop = text + PyBytes_GET_SIZE(content)
    cdef const char *at = text
    cdef const char *begin
    cdef Py_ssize_t row = 0
    cdef bint rising = False, negative = False
    cdef int column
    cdef double value = 0
    cdef long long count = 0
    # A byte order mark, perhaps; or more lines than an int counts.
    if text[0] == <char>0xEF or stop - text > 1 << 30:
        return None
    at = _skip_white(at)
    while at < stop and not _blank(at[0]) and not _line_end(at[0]):
        at += 1
    at = _skip_blank(at)
    if not _line_end(at[0]):
        return None
    begin = at = _skip_white(at)
    while _digit(at[0]):
        count = count * 10 + (at[0] - 48)
        at += 1
    if not 0 < at - begin < 10:
        return None
    at = _skip_blank(at)
    if at < stop and not _line_end(at[0]):
        return None
    rows = np.empty((_line_ends(at, stop - at) + 1, 5))
    cdef double[:, ::1] out = rows
    at = _skip_white(at)
    while at < stop:
        for column in range(5):
            begin = at
            at = _number(begin, &value)
            if at == begin or not isfinite(value):
                return None
            out[row, column] = value
            begin = at
            at = _skip_blank(at)
            if column < 4 and at == begin:
                return None
        rising |= row > 0 and out[row, 4] > out[row - 1, 4]
        negative |= out[row, 2] < 0 or out[row, 3] < 0
        # What follows the fifth column is not read.
        if at == begin and at < stop and not _line_end(at[0]):
            return None
        while at < stop and not _line_end(at[0]):
            at += 1
        at = _skip_white(at)
        row += 1
    return rows[:row], count, rising, negative
