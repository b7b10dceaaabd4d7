# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.utils import augment
from dependency.extd.utils.augmentations import Window


def spot(shape, x, y, radius=6):
    image = np.zeros((*shape, 3), np.uint8)
    cv2.circle(image, (x, y), radius, (255, 255, 255), cv2.FILLED)
    return image


def centroid(image):
    ys, xs = np.nonzero(image[..., 0] > 100)
    return np.array([xs.mean(), ys.mean()]) + 0.5


@pytest.mark.parametrize("window", [Window(0, 0, 256), Window(30.3, 17.7, 100), Window(-50, -20, 400),
                                    Window(-300.5, -200.25, 900)])
@pytest.mark.parametrize("pixel_offset", [0.0, 0.5])
def test_pixels_and_points_move_alike(window, pixel_offset):
    image = spot((240, 320), 90, 70, radius=12)
    seen = augment.cut(image, window, 256)
    # The middle of the spot as an annotation gives it, of the image and of what the window shows.
    middle = np.array([90.5, 70.5]) - pixel_offset
    shown = augment.to_window(middle, window, 256, pixel_offset)
    np.testing.assert_allclose(centroid(seen) - pixel_offset, shown, atol=0.25)
    box = augment.flip_boxes(np.tile(shown, 2)[None], 256, pixel_offset)
    np.testing.assert_allclose(centroid(seen[:, ::-1]) - pixel_offset, box[0, :2], atol=0.25)


def test_outside_the_image_is_black():
    image = np.full((50, 50, 3), 200, np.uint8)
    seen = augment.cut(image, Window(-50, -50, 150), 150)
    assert (seen[:48] == 0).all() and (seen[102:] == 0).all() and (seen[52:98, 52:98] == 200).all()


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    small = augment.cut(stripes, Window(0, 0, 512), 64)
    assert small.std() < 10 and 110 < small.mean() < 145


@pytest.mark.parametrize("pixel_offset", [0.0, 0.5])
def test_flip_twice_is_nothing_and_exchanges_left_and_right(pixel_offset):
    rng = np.random.default_rng(0)
    boxes, points = rng.uniform(0, 90, (7, 4)).astype(np.float32), rng.uniform(0, 90, (7, 5, 2)).astype(np.float32)
    visibility = rng.integers(0, 3, (7, 5))
    mirrored = augment.flip_boxes(boxes, 100, pixel_offset)
    np.testing.assert_allclose(augment.flip_boxes(mirrored, 100, pixel_offset), boxes, atol=1e-5)
    once, seen = augment.flip_landmarks(points, visibility, 100, pixel_offset)
    left = np.stack([100 - 2 * pixel_offset - points[:, 1, 0], points[:, 1, 1]], axis=1)
    np.testing.assert_allclose(once[:, 0], left, atol=1e-5)
    np.testing.assert_array_equal(seen[:, 3], visibility[:, 4])
    again, visibility_again = augment.flip_landmarks(once, seen, 100, pixel_offset)
    np.testing.assert_allclose(again, points, atol=1e-5)
    np.testing.assert_array_equal(visibility_again, visibility)


def test_colour_jitter_differs_by_sample_and_repeats_by_seed():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    first, same, other = (augment.colour_jitter(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).mean() > 0.5
    means = [augment.colour_jitter(image, np.random.default_rng(seed)).mean() for seed in range(60)]
    assert np.std(means) > 10, "the strength is drawn anew for every sample"


@pytest.mark.parametrize("strength, lighting", [(0.4, 0.1), (0.4, 0.0), (0.0, 0.1), (1.0, 3.0)])
def test_colour_jitter_is_the_published_one_step_by_step(strength, lighting):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = image / 255
        for step in rng.permutation(3):
            factor = 1 + rng.uniform(-strength, strength)
            grey = values @ (0.114, 0.587, 0.299)
            base = {0: 0.0, 1: grey.mean(), 2: grey[..., None]}[step]
            values = base + (values - base) * factor
        values = values + augment.LIGHTING_VECTORS @ (rng.normal(0, lighting, 3) * augment.LIGHTING_VALUES)
        jittered = augment.colour_jitter(image, np.random.default_rng(seed), strength, lighting)
        assert jittered.dtype == np.uint8 and np.abs(jittered - np.clip(values * 255, 0, 255)).max() < 1.6
