# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.retinaface.anchors import (
    VARIANCE,
    anchor_count,
    bbox_encode,
    decode_bbox,
    decode_landm,
    landmark_encode,
    prior_box,
    square_side,
)


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


@pytest.fixture
def faces():
    """As many faces as anchors of a 96 x 128 input, relative to it."""
    rng = np.random.default_rng(0)
    priors = prior_box((96, 128))
    corner = rng.uniform(-0.1, 0.9, (len(priors), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.01, 0.6, (len(priors), 2))], axis=1).astype(np.float32)
    return priors, boxes, rng.uniform(-0.1, 1.1, (len(priors), 10)).astype(np.float32)


def test_boxes_and_landmarks_come_back_alone_and_in_batches(faces):
    priors, boxes, landmarks = faces
    loc, landm = bbox_encode(boxes, priors, VARIANCE), landmark_encode(landmarks, priors, VARIANCE)
    before = loc.copy(), landm.copy()
    assert loc.dtype == landm.dtype == decode_bbox(loc, priors, VARIANCE).dtype == np.float32
    np.testing.assert_allclose(decode_bbox(np.stack([loc, loc[::-1]]), priors, VARIANCE)[0], boxes, atol=1e-5)
    np.testing.assert_allclose(decode_landm(np.stack([landm, landm[::-1]]), priors, VARIANCE)[0], landmarks, atol=1e-5)
    np.testing.assert_array_equal(loc, before[0])
    np.testing.assert_array_equal(landm, before[1])


def test_offsets_by_hand():
    """An anchor of 16 x 16 at (40, 24), a face of 32 x 8 centred 4 right of and 2 over it, in a 64 x 64 input."""
    prior = np.array([[40, 24, 16, 16]], np.float32) / 64
    box = np.array([[28, 18, 60, 26]], np.float32) / 64
    expected = [[4 / 1.6, -2 / 1.6, np.log(2) / 0.2, np.log(0.5) / 0.2]]
    np.testing.assert_allclose(bbox_encode(box, prior, VARIANCE), expected, rtol=1e-5)
    points = np.array([[40, 24, 56, 24, 40, 40, 24, 8, 0, 0]], np.float32) / 64
    np.testing.assert_allclose(landmark_encode(points, prior, VARIANCE),
                               [[0, 0, 10, 0, 0, 10, -10, -10, -25, -15]], atol=1e-5)


def test_a_box_without_area_stays_finite():
    prior = np.array([[0.5, 0.5, 0.1, 0.1]], np.float32)
    assert np.isfinite(bbox_encode(np.full((1, 4), 0.5, np.float32), prior, VARIANCE)).all()
