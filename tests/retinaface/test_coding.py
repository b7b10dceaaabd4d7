# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.retinaface.anchors import prior_box
from src.retinaface.coding import bbox_encode, decode_bbox, decode_landm, landmark_encode

VARIANCES = (0.1, 0.2)


@pytest.fixture
def faces():
    """As many faces as anchors of a 96 x 128 input, in shares of it."""
    rng = np.random.default_rng(0)
    priors = prior_box((96, 128))
    corner = rng.uniform(-0.1, 0.9, (len(priors), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.01, 0.6, (len(priors), 2))], axis=1).astype(np.float32)
    return priors, boxes, rng.uniform(-0.1, 1.1, (len(priors), 10)).astype(np.float32)


def test_boxes_come_back(faces):
    priors, boxes, _ = faces
    encoded = bbox_encode(boxes, priors, VARIANCES)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(decode_bbox(encoded, priors, VARIANCES), boxes, atol=1e-5)


def test_landmarks_come_back(faces):
    priors, _, landmarks = faces
    encoded = landmark_encode(landmarks, priors, VARIANCES)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(decode_landm(encoded, priors, VARIANCES), landmarks, atol=1e-5)


def test_formula():
    """An anchor of 16 x 16 at (40, 24), a face of 32 x 8 centred 4 right of and 2 over it, in a 64 x 64 input."""
    prior = np.array([[40, 24, 16, 16]], np.float32) / 64
    box = np.array([[28, 18, 60, 26]], np.float32) / 64
    expected = [[4 / 1.6, -2 / 1.6, np.log(2) / 0.2, np.log(0.5) / 0.2]]
    np.testing.assert_allclose(bbox_encode(box, prior, VARIANCES), expected, rtol=1e-5)
    points = np.array([[40, 24, 56, 24, 40, 40, 24, 8, 0, 0]], np.float32) / 64
    np.testing.assert_allclose(landmark_encode(points, prior, VARIANCES),
                               [[0, 0, 10, 0, 0, 10, -10, -10, -25, -15]], atol=1e-5)


def test_a_batch_decodes_like_its_images(faces):
    priors, boxes, landmarks = faces
    loc = np.stack([bbox_encode(boxes, priors, VARIANCES), bbox_encode(boxes[::-1], priors, VARIANCES)])
    landm = np.stack([landmark_encode(landmarks, priors, VARIANCES), np.zeros_like(landmarks)])
    for image in range(2):
        np.testing.assert_array_equal(decode_bbox(loc, priors, VARIANCES)[image],
                                      decode_bbox(loc[image], priors, VARIANCES))
        np.testing.assert_array_equal(decode_landm(landm, priors, VARIANCES)[image],
                                      decode_landm(landm[image], priors, VARIANCES))


def test_decoding_keeps_float32_and_its_input(faces):
    priors, boxes, landmarks = faces
    loc, landm = bbox_encode(boxes, priors, VARIANCES), landmark_encode(landmarks, priors, VARIANCES)
    before = loc.copy(), landm.copy()
    assert decode_bbox(loc, priors, VARIANCES).dtype == decode_landm(landm, priors, VARIANCES).dtype == np.float32
    np.testing.assert_array_equal(loc, before[0])
    np.testing.assert_array_equal(landm, before[1])


def test_a_box_without_area_stays_finite():
    prior = np.array([[0.5, 0.5, 0.1, 0.1]], np.float32)
    assert np.isfinite(bbox_encode(np.full((1, 4), 0.5, np.float32), prior, VARIANCES)).all()
