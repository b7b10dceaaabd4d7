# SPDX-License-Identifier: Apache-2.0
"""MATLAB's cell arrays out of Python's lists, for tests of what reads them."""
import numpy as np


def cells(value):
    """A list becomes a column of cells, also within a list; anything else stays as it is."""
    if not isinstance(value, list):
        return value
    column = np.empty((len(value), 1), object)
    for row, part in enumerate(value):
        column[row, 0] = cells(part)
    return column
