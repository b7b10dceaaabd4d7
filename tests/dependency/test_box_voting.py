# SPDX-License-Identifier: Apache-2.0
"""Box voting against a literal version."""
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dependency.centernet.src.lib.detectors.box_voting import vote


def random_rows(seed, count):
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 60, (count, 2)), rng.uniform(2, 40, (count, 2))
    rest = rng.uniform(0, 100, (count, 10))
    scores = rng.integers(1, 12, (count, 1)) / 12       # ties are common
    return np.concatenate([corner, corner + side, scores, rest], axis=1).astype(np.float32)


def literal(rows, overlap):
    """The definition, one pair at a time."""
    waiting = sorted(rows.astype(np.float64).tolist(), key=lambda row: -row[4])
    voted = []
    while waiting:
        best, group, others = waiting[0], [], []
        for row in waiting:
            width = min(best[2], row[2]) - max(best[0], row[0]) + 1
            height = min(best[3], row[3]) - max(best[1], row[1]) + 1
            shared = max(0.0, width) * max(0.0, height)
            areas = sum((x2 - x1 + 1) * (y2 - y1 + 1) for x1, y1, x2, y2 in (best[:4], row[:4]))
            (group if row is best or shared / (areas - shared) >= overlap else others).append(row)
        total = sum(row[4] for row in group)
        mean = [sum(row[column] * row[4] for row in group) / total for column in range(len(best))]
        voted.append([*mean[:4], best[4], *mean[5:]])
        waiting = others
    return np.array(voted, np.float32).reshape(-1, rows.shape[1])


@given(seed=st.integers(0, 10**6), count=st.integers(0, 40), overlap=st.sampled_from([0.1, 0.4, 0.7]))
@settings(max_examples=60)
def test_equals_the_literal_version(seed, count, overlap):
    rows = random_rows(seed, count)
    before = rows.copy()
    voted = vote(rows, overlap)
    np.testing.assert_allclose(voted, literal(rows, overlap), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(rows, before)
    assert voted.dtype == np.float32 and voted.shape[1] == 15 and (np.diff(voted[:, 4]) <= 0).all()


def test_rows_of_score_0_count_alike():
    rows = np.array([[0, 0, 10, 10, 0, 2], [2, 0, 12, 10, 0, 4], [50, 50, 60, 60, 0, 6]], np.float32)
    np.testing.assert_array_equal(vote(rows, 0.4), [[1, 0, 11, 10, 0, 3], [50, 50, 60, 60, 0, 6]])
