# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dependency.centernet.src.lib.utils.gaussian import draw_umich_gaussian, gaussian_radius


@pytest.mark.parametrize("height, width, expected", [
    (1, 1, .273), (2, 2, .547), (4, 4, 1.093), (8, 6, 1.877), (10, 10, 2.733), (16, 12, 3.755), (20, 15, 4.693),
    (32, 24, 7.509), (64, 48, 15.019), (100, 80, 24.32)])
def test_radius_is_cornernets(height, width, expected):
    assert gaussian_radius(height, width) == pytest.approx(expected, abs=6e-4 if expected < 20 else 6e-3)


@pytest.mark.parametrize("centre", [(0, 0), (31, 31), (0, 17), (15, 16)])
@pytest.mark.parametrize("radius", [0, 1, 5, 40])
def test_peak_is_one_and_the_rest_is_the_formula(centre, radius):
    heatmap = np.zeros((32, 32), np.float32)
    draw_umich_gaussian(heatmap, centre, radius)
    assert heatmap[centre[1], centre[0]] == 1
    ys, xs = np.mgrid[:32, :32]
    dx, dy, sigma = xs - centre[0], ys - centre[1], (2 * radius + 1) / 6
    expected = np.exp(-(dx ** 2 + dy ** 2) / (2 * sigma ** 2)) * (np.maximum(abs(dx), abs(dy)) <= radius)
    np.testing.assert_allclose(heatmap, expected, atol=1e-6)


def test_overlapping_peaks_keep_the_larger_value():
    first, second, both = (np.zeros((32, 32), np.float32) for _ in range(3))
    draw_umich_gaussian(first, (10, 10), 6)
    draw_umich_gaussian(second, (14, 10), 3)
    draw_umich_gaussian(both, (10, 10), 6)
    draw_umich_gaussian(both, (14, 10), 3)
    np.testing.assert_array_equal(both, np.maximum(first, second))
