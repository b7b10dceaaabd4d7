# SPDX-License-Identifier: Apache-2.0
"""Overlaps in pixels, equal to those of masks of the whole image."""
import numpy as np
import pytest

from dependency.evaluate.fddb.overlap import box_overlaps_ellipses, ellipse_boxes, ellipse_overlaps, paint_ellipse
from tests.dependency.fddb.example_set import literal_overlap, random_image


def test_box_that_holds_an_ellipse():
    np.testing.assert_allclose(ellipse_boxes([[20, 10, 0, 50, 40], [20, 10, np.pi / 2, 50, 40]]),
                               [[30, 30, 70, 50], [40, 20, 60, 60]], atol=1e-9)
    turn = np.linspace(0, 2 * np.pi, 100001)
    along, across = 37 * np.cos(turn), 22 * np.sin(turn)
    x, y = 5 + along * np.cos(1.2) - across * np.sin(1.2), 6 + along * np.sin(1.2) + across * np.cos(1.2)
    np.testing.assert_allclose(ellipse_boxes([37, 22, 1.2, 5, 6])[0], [x.min(), y.min(), x.max(), y.max()], atol=1e-6)


def test_a_painted_ellipse_has_the_area_of_the_exact_one():
    for size in (None, (400, 500)):
        mask = paint_ellipse(np.array([100.9, 60.9, 0.7, 250.4, 200.4]), size)
        assert mask.pixels.sum() == pytest.approx(np.pi * 100 * 60, rel=0.02)     # half axes lose their fractions
    assert paint_ellipse(np.array([10, 5, 0.0, 0, 200]), (100, 100)).pixels.size == 0
    whole, half = (paint_ellipse(np.array([30, 20, 0.0, 0, 50]), size).pixels.sum() for size in (None, (100, 100)))
    assert half / whole == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_overlaps_equal_masks_of_the_whole_image(seed):
    rng, size, touched = np.random.default_rng(seed), (90, 120), 0
    for _ in range(15):
        ellipses, rows = random_image(rng)
        others = ellipses + rng.normal(0, 2, ellipses.shape) * [1, 1, 0.1, 1, 1]
        boxes = np.concatenate([rows[:, :4], [[10, 10, -5, 20], [200, 200, 20, 20], [-50, -50, 500, 500]]])
        got, got_ellipses = box_overlaps_ellipses(boxes, ellipses, size), ellipse_overlaps(others, ellipses, size)
        for column, ellipse in enumerate(ellipses):
            np.testing.assert_array_equal(got[:, column], [literal_overlap(box, ellipse, size) for box in boxes])
            np.testing.assert_array_equal(got_ellipses[:, column],
                                          [literal_overlap(other, ellipse, size) for other in others])
        touched += np.count_nonzero(got) + np.count_nonzero(got_ellipses)
    assert touched > 100
