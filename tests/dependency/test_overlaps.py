# SPDX-License-Identifier: Apache-2.0
"""Box overlaps: known values, both implementations against each other, the best face against the matrix."""

import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate import overlaps


@pytest.fixture(params=["compiled", "numpy"])
def way(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(overlaps, "kernels", lambda: None)
    else:
        pytest.importorskip("dependency.evaluate.box_overlaps",
                            reason="not built: python dependency/evaluate/setup.py install")
    return overlaps


def random_boxes(rng, count):
    corners = rng.uniform(0, 100, (count, 2))
    boxes = np.column_stack([corners, corners + rng.uniform(-3, 60, (count, 2))])
    return boxes.round() if rng.integers(2) else boxes


def test_known_values(way):
    boxes = [[0, 0, 9, 9], [0, 0, 9, 4], [10, 0, 19, 9], [100, 100, 110, 110]]
    np.testing.assert_array_equal(way.box_overlaps(boxes, [[0, 0, 9, 9]]).ravel(), [1, 0.5, 0, 0])
    # Boxes that touch at x = 10 share one column when pixels are counted inclusively, nothing geometrically.
    assert way.box_overlaps([[0, 0, 10, 9]], [[10, 0, 19, 9]])[0, 0] == pytest.approx(10 / 200)
    assert way.box_overlaps([[0, 0, 10, 9]], [[10, 0, 19, 9]], offset=0)[0, 0] == 0
    assert way.box_overlaps([[0, 0, 10, 10]], [[0, 0, 10, 5]], offset=0)[0, 0] == 0.5


def test_compiled_equals_numpy():
    fast = pytest.importorskip("dependency.evaluate.box_overlaps",
                               reason="not built: python dependency/evaluate/setup.py install")
    rng = np.random.default_rng(2)
    for _ in range(60):
        boxes, query = random_boxes(rng, rng.integers(0, 200)), random_boxes(rng, rng.integers(1, 90))
        for offset in (0.0, 1.0):
            np.testing.assert_array_equal(fast.box_overlaps(boxes, query, offset),
                                          overlaps.numpy_overlaps(boxes, query, offset))


def random_groups(rng):
    """Boxes and query boxes of a few images, some without the one, the other or both; query boxes stand double."""
    sizes = rng.integers(0, 12, (rng.integers(1, 7), 2)) * rng.integers(0, 2, (1, 2))
    sizes = np.maximum(sizes, rng.integers(0, 2, sizes.shape))
    first_box, first_query = (np.concatenate([[0], np.cumsum(column)]) for column in (sizes[:, 0], 2 * sizes[:, 1]))
    single = random_boxes(rng, sizes[:, 1].sum()).round()
    query = np.concatenate([np.empty((0, 4)), *(np.tile(part, (2, 1))
                                                for part in np.split(single, np.cumsum(sizes[:-1, 1])))])
    return random_boxes(rng, first_box[-1]).round(), first_box, query, first_query


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_best_of_a_group_is_the_first_maximum_of_its_matrix(way, monkeypatch, block):
    monkeypatch.setattr(overlaps, "BLOCK", block)
    rng, ties = np.random.default_rng(4), 0
    for _ in range(200):
        boxes, first_box, query, first_query = random_groups(rng)
        offset = float(rng.integers(2))
        index, best = way.best_overlaps_in_groups(boxes, first_box, query, first_query, offset)
        assert index.dtype == np.int64 and best.dtype == np.float64
        for g in range(len(first_box) - 1):
            rows, faces = slice(*first_box[g:g + 2]), slice(*first_query[g:g + 2])
            if faces.start == faces.stop:
                assert (index[rows] == -1).all() and not best[rows].any()
                continue
            matrix = way.box_overlaps(boxes[rows], query[faces], offset)
            np.testing.assert_array_equal(index[rows], matrix.argmax(axis=1) + faces.start)
            np.testing.assert_array_equal(best[rows], matrix.max(axis=1))
            ties += np.count_nonzero(best[rows])
    assert ties > 300                               # every touched query box has an equal


@pytest.mark.parametrize("first_box, first_query", [
    ([0, 2], [0, 1, 1]), ([0, 1], [0, 1]), ([], [0, 1]), ([0, 3, 2], [0, 0, 1]), ([0, 2], [0, 2])])
def test_groups_must_cover_the_boxes(first_box, first_query):
    with pytest.raises(InputError):
        overlaps.best_overlaps_in_groups(np.zeros((2, 4)), first_box, np.zeros((1, 4)), first_query)


@pytest.mark.parametrize("boxes, query", [((2, 5), (1, 4)), ((2, 4), (4,)), ((2, 4), (0, 4))])
def test_wrong_shapes_are_refused(boxes, query):
    with pytest.raises(InputError):
        overlaps.best_overlaps(np.zeros(boxes), np.zeros(query))
