# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.retinaface.anchors import anchor_count, prior_box, square_side


@pytest.mark.parametrize("size, count", [(840, 29126), (640, 16800), (1024, 43008), (2176, 194208), (2160, 191498),
                                         ((5568, 1056), 241164)])
def test_published_counts(size, count):
    assert anchor_count(size) == count


@pytest.mark.parametrize("size", [(64, 64), (481, 482), (500, 513), (8, 1), (33, 65)])
def test_count_is_that_of_the_array(size):
    assert prior_box(size).shape == (anchor_count(size), 4)


def test_published_values_at_840():
    priors = prior_box((840, 840)) * 840
    np.testing.assert_allclose(priors[:3], [(4, 4, 16, 16), (4, 4, 32, 32), (12, 4, 16, 16)], rtol=1e-6)
    np.testing.assert_allclose(priors[22050], (8, 8, 64, 64), rtol=1e-6)
    np.testing.assert_allclose(priors[-1], (848, 848, 512, 512), rtol=1e-6)


def test_equals_the_definition_cell_by_cell():
    height, width = 75, 50
    expected = []
    for step, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for row in range(int(np.ceil(height / step))):
            for column in range(int(np.ceil(width / step))):
                expected += [((column + 0.5) * step / width, (row + 0.5) * step / height, size / width, size / height)
                             for size in sizes]
    np.testing.assert_allclose(prior_box((height, width)), expected, rtol=1e-6)


def test_own_levels_and_clipping():
    priors = prior_box([40, 80], min_sizes=[[10]], steps=[20], clip=True)
    np.testing.assert_allclose(priors[:2] * (80, 40, 80, 40), [(10, 10, 10, 10), (30, 10, 10, 10)], rtol=1e-6)
    assert len(priors) == 2 * 4
    assert prior_box((64, 64)).max() > 1 and prior_box((64, 64), clip=True).max() == 1


def test_made_once_and_safe_to_share():
    first = prior_box((96, 64))
    assert prior_box([96, 64], min_sizes=[[16, 32], [64, 128], [256, 512]], steps=[8, 16, 32]) is first
    assert first.dtype == np.float32
    with pytest.raises(ValueError):
        first[0, 0] = 1


@pytest.mark.parametrize("side", [64, 320, 640, 840, 2176])
def test_the_size_follows_from_the_count(side):
    assert square_side(anchor_count(side)) == side
    assert square_side(anchor_count(side) + 1) is None
