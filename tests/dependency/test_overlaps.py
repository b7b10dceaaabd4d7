# SPDX-License-Identifier: Apache-2.0
"""Box overlaps: known values, both implementations against each other, the best face against the matrix."""
import logging
import sys

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


def test_properties(way):
    rng = np.random.default_rng(1)
    for _ in range(30):
        boxes, query = random_boxes(rng, rng.integers(0, 30)), random_boxes(rng, rng.integers(0, 20))
        matrix = way.box_overlaps(boxes, query)
        assert matrix.shape == (len(boxes), len(query)) and matrix.dtype == np.float64
        assert ((matrix >= 0) & (matrix <= 1)).all()
        np.testing.assert_allclose(matrix, way.box_overlaps(query, boxes).T, rtol=1e-15)


def test_compiled_equals_numpy():
    fast = pytest.importorskip("dependency.evaluate.box_overlaps",
                               reason="not built: python dependency/evaluate/setup.py install")
    rng = np.random.default_rng(2)
    for _ in range(60):
        boxes, query = random_boxes(rng, rng.integers(0, 200)), random_boxes(rng, rng.integers(1, 90))
        for offset in (0.0, 1.0):
            np.testing.assert_array_equal(fast.box_overlaps(boxes, query, offset),
                                          overlaps.numpy_overlaps(boxes, query, offset))
            for one, other in zip(fast.best_overlaps(boxes, query, offset),
                                  overlaps.numpy_best_overlaps(boxes, query, offset)):
                np.testing.assert_array_equal(one, other)


def test_best_is_the_first_maximum_of_the_matrix(way, monkeypatch):
    monkeypatch.setattr(overlaps, "BLOCK", 50)
    rng = np.random.default_rng(3)
    for _ in range(30):
        boxes, query = random_boxes(rng, rng.integers(0, 60)), random_boxes(rng, rng.integers(1, 12))
        query = np.concatenate([query, query])
        matrix = way.box_overlaps(boxes, query)
        index, best = way.best_overlaps(boxes, query)
        np.testing.assert_array_equal(index, matrix.argmax(axis=1))
        np.testing.assert_array_equal(best, matrix.max(axis=1))


@pytest.mark.parametrize("boxes, query, text", [
    (np.zeros((2, 5)), np.zeros((1, 4)), "boxes have shape"),
    (np.zeros((2, 4)), np.zeros(4), "query have shape")])
def test_wrong_shapes_are_named(boxes, query, text):
    with pytest.raises(InputError, match=text):
        overlaps.box_overlaps(boxes, query)
    with pytest.raises(InputError, match=text):
        overlaps.best_overlaps(boxes, query)


def test_best_needs_a_query():
    with pytest.raises(InputError, match="at least one"):
        overlaps.best_overlaps(np.zeros((2, 4)), np.zeros((0, 4)))


def test_fallback_is_said_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "dependency.evaluate.box_overlaps", None)
    monkeypatch.setattr(logging.getLogger("facedet"), "propagate", True)
    overlaps.kernels.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="facedet"):
            for _ in range(2):
                overlaps.box_overlaps(np.zeros((1, 4)), np.zeros((1, 4)))
        assert len(caplog.records) == 1 and "setup.py install" in caplog.text
    finally:
        overlaps.kernels.cache_clear()
