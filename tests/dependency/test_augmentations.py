# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dependency.extd.utils import augmentations as crops

BOXES = np.array([[100, 80, 180, 190], [600, 400, 612, 416]], np.float32)


def windows(make, count=300):
    return [make(np.random.default_rng(seed)) for seed in range(count)]


def test_anchor_window_holds_a_face_near_an_anchor_size():
    sizes = []
    for window in windows(lambda rng: crops.anchor_window(BOXES, 768, 1024, 512, rng)):
        inside = [(window.x <= x1 + 1e-3 and window.y <= y1 + 1e-3 and x2 <= window.x + window.side + 1e-3
                   and y2 <= window.y + window.side + 1e-3) for x1, y1, x2, y2 in BOXES]
        assert any(inside)
        sizes.append(512 / window.side)
    assert max(sizes) <= crops.MAX_ENLARGEMENT
    assert min(sizes) < 0.2 and max(sizes) > 1.5, "faces are shrunk and enlarged"


def test_data_anchor_sampling_only_shrinks_before_the_random_factor():
    rng = np.random.default_rng(0)
    for side in (10, 33, 90, 300, 700):
        ratios = np.array([crops.sampling_ratio(side, rng) for _ in range(400)])
        nearest = min(crops.ANCHORS, key=lambda anchor: abs(anchor - side))
        assert ratios.max() <= 2 * nearest / side + 1e-9
        assert ratios.min() >= 0.5 * 16 / side - 1e-9


def test_square_windows_stay_in_the_image_when_they_can():
    for window in windows(lambda rng: crops.square_window(BOXES, 768, 1024, (0.3, 0.7), rng)):
        assert 0.3 * 1024 - 1e-3 <= window.side <= 0.7 * 1024 + 1e-3
        assert window.x >= -1e-3 and window.x + window.side <= 1024 + 1e-3
        assert window.y >= -1e-3 and window.y + window.side <= 768 + 1e-3


def test_a_window_larger_than_the_image_shows_all_of_it():
    for window in windows(lambda rng: crops.square_window(BOXES, 300, 640, (1.5, 1.5), rng), 50):
        assert window.x <= 1e-3 and window.x + window.side >= 640 - 1e-3
        assert window.y <= 1e-3 and window.y + window.side >= 300 - 1e-3


def test_reference_crop_has_the_reference_sizes():
    sides = {round(window.side / 1024, 2) for window in windows(lambda rng: crops.reference_window(768, 1024, rng))}
    assert sides == {0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95}


@pytest.mark.parametrize("boxes", [np.zeros((0, 4), np.float32), np.array([[0, 0, 2000, 2000]], np.float32)])
def test_odd_faces_still_give_a_window(boxes):
    window = crops.square_window(boxes, 480, 640, (0.3, 1.0), np.random.default_rng(1))
    assert np.isfinite(window).all() and window.side > 0
