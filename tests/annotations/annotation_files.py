# SPDX-License-Identifier: Apache-2.0
"""Annotation files by their text, for tests that read and check them."""
import numpy as np

NONE = " ".join(["-1.0"] * 15)
SEEN = "12 25 0.0 18 25.5 1.0 15 30 0.0 13 34 0.0 17 34 0.0"
LABEL = f"""# e/one.jpg
10 20 30 40 {SEEN} 0.7
1 2 3 4 {NONE} 0.1
# e/none.jpg
# e/two.jpg
5 6 7 8
5.5 6 7 8 0.3
"""


def row(box, points=NONE):
    return f"{box} {points} 0.5"


def same(left, right, sizes=True):
    """The same records, bit for bit."""
    assert [item.path for item in left] == [item.path for item in right]
    for one, other in zip(left, right):
        for name in ("boxes", "landmarks", "visibility", "ignore"):
            first, second = getattr(one, name), getattr(other, name)
            assert first.dtype == second.dtype and first.shape == second.shape, name
            np.testing.assert_array_equal(first, second)
        if sizes:
            assert (one.height, one.width) == (other.height, other.width)
