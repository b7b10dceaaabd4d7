# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from src.retinaface.augmentation import Augmentation, augment_sample, choose_crop, distort_colours
from src.retinaface.config import REDISTRIBUTION
from src.retinaface.layers import NETWORK_INPUT

# Colours (BGR) of the five landmarks' squares.
MARKS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))
PLAIN = {"color_distort": False}


def face_image(height=300, width=400, box=(150, 90, 246, 210)):
    """A grey image with one white face whose landmarks are coloured squares of 16 pixels."""
    image = np.full((height, width, 3), 90, np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    points = np.array([(x1 + 20, y1 + 30), (x2 - 20, y1 + 30), ((x1 + x2) // 2, (y1 + y2) // 2), (x1 + 25, y2 - 25),
                       (x2 - 25, y2 - 25)], np.float32)
    for (x, y), colour in zip(points.astype(int), MARKS):
        image[y - 8:y + 8, x - 8:x + 8] = colour
    return image, record([box], points[None])


def record(boxes, landmarks=None, ignore=None, visibility=2):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    landmarks = np.zeros((count, 5, 2), np.float32) if landmarks is None else landmarks
    ignore = np.zeros(count, bool) if ignore is None else np.array(ignore)
    return Record("a/b.jpg", boxes, landmarks, np.full((count, 5), visibility, np.uint8), ignore)


def sample(image, faces, plan, rng):
    """Choose a crop, and make it the input, as `RetinaFaceSamples` does with the image of a file."""
    window = choose_crop(faces.boxes[~faces.ignore], image.shape[:2], plan, rng)
    factor = window.reduction(plan.image_size)
    smaller = np.array(Image.fromarray(image).reduce(factor))
    return augment_sample(smaller, window.reduced(factor), faces, window, plan, rng)


def centre_of(image, colour):
    near = (abs(image.astype(int) - colour) < 60).all(axis=2)
    ys, xs = np.nonzero(near)
    return np.array([xs.mean(), ys.mean()]) + 0.5


@pytest.mark.parametrize("crop_choice", [None, (0.6, 1.0), REDISTRIBUTION])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_boxes_and_landmarks_lie_on_the_pixels(crop_choice, flip):
    image, faces = face_image()
    plan = Augmentation(320, crop_choice, flip, **PLAIN)
    checked = 0
    for seed in range(25):
        seen, found = sample(image, faces, plan, np.random.default_rng(seed))
        assert seen.shape == (320, 320, 3) and seen.dtype == np.uint8 and seen.flags["C_CONTIGUOUS"]
        x1, y1, x2, y2 = found.boxes[0]
        white = (seen > 230).all(axis=2)
        assert white[:, :int(x1) - 3].sum() == white[:int(y1) - 3].sum() == 0
        assert white[int(y2) + 4:].sum() == white[:, int(x2) + 4:].sum() == 0
        order = (1, 0, 2, 4, 3) if flip else range(5)
        for point, mark in zip(found.landmarks[0], order):
            np.testing.assert_allclose(centre_of(seen, MARKS[mark]), point, atol=1.5)
        assert found.landmarks[0, 0, 0] < found.landmarks[0, 1, 0], "the first eye stays the left one of the image"
        checked += 1
    assert checked == 25


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_coordinates_may_be_centres_of_pixels(flip):
    image, faces = face_image()
    by_centres = replace(faces, boxes=faces.boxes - 0.5, landmarks=faces.landmarks - 0.5)
    window = choose_crop(faces.boxes, image.shape[:2], Augmentation(320), np.random.default_rng(0))
    edges, centres = (augment_sample(image, window, given, window,
                                     Augmentation(320, flip=flip, pixel_offset=offset, **PLAIN),
                                     np.random.default_rng(0))[1]
                      for given, offset in ((faces, 0.0), (by_centres, 0.5)))
    assert (edges.boxes > 0.5).all()
    np.testing.assert_allclose(centres.boxes, edges.boxes - 0.5, atol=1e-3)
    np.testing.assert_allclose(centres.landmarks, edges.landmarks - 0.5, atol=1e-3)


def test_a_mirrored_sample_is_the_mirror_of_the_plain_one():
    image, faces = face_image()
    plain, mirrored = (sample(image, faces, Augmentation(160, None, flip, **PLAIN), np.random.default_rng(3))
                       for flip in (0.0, 1.0))
    np.testing.assert_array_equal(mirrored[0][:, ::-1], plain[0])
    np.testing.assert_allclose(mirrored[1].boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (160, 0, 160, 0),
                               plain[1].boxes, atol=1e-4)


@pytest.mark.parametrize("crop_choice", [None, REDISTRIBUTION])
def test_crops_hold_a_face_from_end_to_end(crop_choice):
    faces = np.array([(20, 30, 60, 90), (300, 100, 340, 160)], np.float32)
    sides, outside = [], 0
    for seed in range(300):
        x, y, side = choose_crop(faces, (240, 400), Augmentation(840, crop_choice), np.random.default_rng(seed))
        assert ((faces[:, :2] >= (x, y)).all(axis=1) & (faces[:, 2:] <= (x + side, y + side)).all(axis=1)).any()
        assert side in [int(240 * scale) for scale in REDISTRIBUTION] or crop_choice is None
        for start, extent in ((x, 400), (y, 240)):
            assert (0 <= start <= extent - side) if side <= extent else (extent - side <= start <= 0)
        outside += side > 240
        sides.append(side / 240)
    assert min(sides) < 0.4
    if crop_choice is None:
        assert max(sides) == 1 and 0.15 < np.mean(np.array(sides) == 1) < 0.6 and outside == 0
    else:
        assert max(sides) == 2 and outside > 60


@pytest.mark.parametrize("size", [20, 45, 100])
@pytest.mark.parametrize("crop_choice", [None, REDISTRIBUTION])
def test_crops_of_a_smaller_image_have_whole_pixels_and_hold_a_face(size, crop_choice):
    faces = np.array([(21, 31, 60, 90), (301, 99, 340, 160)], np.float32)
    found = set()
    for seed in range(100):
        window = choose_crop(faces, (241, 403), Augmentation(size, crop_choice), np.random.default_rng(seed))
        factor = window.reduction(size)
        assert factor == 1 or window.side / factor >= size and not any(value % factor for value in window)
        assert ((faces[:, :2] >= window[:2]).all(axis=1)
                & (faces[:, 2:] <= np.add(window[:2], window.side)).all(axis=1)).any()
        found.add(factor)
    assert len(found) > 1 and max(found) == {20: 8, 45: 4 + 4 * bool(crop_choice), 100: 2 + 2 * bool(crop_choice)}[size]
    faces = np.array([(0, 10, 390, 200)], np.float32)
    whole = choose_crop(faces, (241, 403), Augmentation(size), np.random.default_rng(0))
    assert whole[:2] == (0, 0) and 403 <= whole.side < 403 + whole.reduction(size)


def test_without_a_crop_that_fits_the_whole_image_is_taken():
    faces = np.array([(0, 10, 390, 200)], np.float32)
    assert choose_crop(faces, (240, 400), Augmentation(840), np.random.default_rng(0)) == (0, 0, 400)


def test_without_a_face_the_crops_are_of_all_sizes():
    plan = Augmentation(840, (0.3, 1.0))
    sides = [choose_crop(np.zeros((0, 4), np.float32), (240, 400), plan, np.random.default_rng(seed)).side
             for seed in range(20)]
    assert set(sides) == {72, 240}


def test_a_face_over_the_border_can_be_cropped():
    faces = np.array([(-4, 80, 50, 140)], np.float32)
    assert any(choose_crop(faces, (240, 400), Augmentation(840), np.random.default_rng(seed)).side < 240
               for seed in range(20))


@pytest.mark.parametrize("color_distort", [True, False])
def test_outside_the_image_is_the_mean(color_distort):
    image = np.full((100, 100, 3), 250, np.uint8)
    plan = Augmentation(200, (2.0,), 0.0, color_distort)
    for seed in range(10):
        seen, found = sample(image, record([(20, 20, 80, 80)]), plan, np.random.default_rng(seed))
        x1, y1, x2, y2 = np.array((-20, -20, 20, 20)) + found.boxes[0]
        ys, xs = np.mgrid[:200, :200] + 0.5
        outside = (xs < x1 - 5) | (xs > x2 + 5) | (ys < y1 - 5) | (ys > y2 + 5)
        assert outside.sum() > 20000 and (seen[outside] == np.array(NETWORK_INPUT["mean"], np.uint8)).all()


def test_the_whole_image_lies_at_the_top_left():
    image = np.full((100, 200, 3), 250, np.uint8)
    seen, found = sample(image, record([(0, 0, 200, 100)]), Augmentation(100, None, 0.0, False),
                                 np.random.default_rng(0))
    assert (seen[:45] == 250).all() and (seen[55:] == np.array(NETWORK_INPUT["mean"], np.uint8)).all()
    np.testing.assert_allclose(found.boxes, [(0, 0, 100, 50)])


def test_which_faces_stay():
    """One crop of an image of 200 x 100: its left or right half, or between."""
    image = np.zeros((100, 200, 3), np.uint8)
    faces = record([(10, 10, 30, 30), (60, 40, 80, 60), (150, 40, 170, 60), (90, 80, 90.4, 80.4)],
                   ignore=[False, False, False, False])
    for seed in range(40):
        rng = np.random.default_rng(seed)
        window = choose_crop(faces.boxes, (100, 200), Augmentation(100, (1.0,)), rng)
        found = sample(image, faces, Augmentation(100, (1.0,), 0.0, False), np.random.default_rng(seed))[1]
        shifted = faces.boxes - (window.x, 0, window.x, 0)
        expected = []
        for x1, y1, x2, y2 in shifted:
            if x1 < 100 and x2 > 0:
                centre = (x1 + x2) / 2
                expected.append((max(x1, 0), y1, min(x2, 100), y2, not 0 <= centre < 100 or y2 - y1 < 1))
        np.testing.assert_allclose(np.column_stack([found.boxes, found.ignore]), np.array(expected), atol=1e-4)
        assert (found.height, found.width) == (100, 100)


def test_ignored_faces_stay_ignored_and_choose_no_crop():
    image = np.zeros((100, 300, 3), np.uint8)
    faces = record([(10, 10, 30, 30), (250, 10, 270, 30)], ignore=[True, False])
    for seed in range(20):
        found = sample(image, faces, Augmentation(100, (0.6,), 0.0, False), np.random.default_rng(seed))[1]
        assert len(found.boxes) == 1 and not found.ignore[0]
    found = sample(image, record(faces.boxes, ignore=[True, True]), Augmentation(100, (3.0,), 0.0, False),
                           np.random.default_rng(0))[1]
    assert list(found.ignore) == [True, True]


@pytest.mark.parametrize("crop_choice", [None, REDISTRIBUTION])
def test_a_sample_depends_only_on_its_generator(crop_choice):
    image, faces = face_image()
    samples = [sample(image, faces, Augmentation(64, crop_choice), np.random.default_rng(seed))
               for seed in (1, 1, 2)]
    np.testing.assert_array_equal(samples[0][0], samples[1][0])
    np.testing.assert_array_equal(samples[0][1].boxes, samples[1][1].boxes)
    assert (samples[0][0] != samples[2][0]).any()


def test_the_source_stays_untouched():
    image, faces = face_image()
    before, boxes = image.copy(), faces.boxes.copy()
    for seed in range(10):
        sample(image, faces, Augmentation(64, REDISTRIBUTION), np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(faces.boxes, boxes)


def test_colours_vary_within_their_bounds():
    grey = np.full((4, 4, 3), 100, np.uint8)
    values = np.array([distort_colours(grey, np.random.default_rng(seed))[0, 0] for seed in range(400)]).astype(int)
    assert (abs(values - values[:, :1]) <= 1).all(), "grey has no hue and no saturation to change"
    levels = values[:, 0]
    assert 0.2 < np.mean(levels == 100) < 0.34, "neither brightness nor contrast in a quarter of the cases"
    assert 34 <= levels.min() < 50 and 180 < levels.max() <= 198


def test_hue_and_saturation_move():
    colour = np.full((4, 4, 3), (60, 100, 180), np.uint8)
    seen = np.array([distort_colours(colour, np.random.default_rng(seed))[0, 0] for seed in range(200)])
    hsv = cv2.cvtColor(seen[None], cv2.COLOR_BGR2HSV)[0].astype(int)
    start = cv2.cvtColor(colour, cv2.COLOR_BGR2HSV)[0, 0].astype(int)
    shift = (hsv[:, 0] - start[0] + 90) % 180 - 90
    assert -22 <= shift.min() < -12 and 12 < shift.max() <= 22
    assert hsv[:, 1].min() < start[1] - 40 and hsv[:, 1].max() > start[1] + 40


def test_colours_off_leaves_the_pixels():
    image, faces = face_image(200, 200)
    seen = sample(image, faces, Augmentation(200, (1.0,), 0.0, False), np.random.default_rng(0))[0]
    np.testing.assert_array_equal(seen, image)
