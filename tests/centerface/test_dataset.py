# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.image import letterbox
from dependency.errors import InputError
from src.centerface.dataset import Augmentation, CenterFaceSamples
from src.centerface.training import draw_batch, target_faces
from tests.data.samples import check_smaller_images, smooth_photograph

TRUE_COLOURS = {"colour": 0.0, "lighting": 0.0}
WITHOUT_CHANCE = {"data_anchor": "off", "flip": 0.0, **TRUE_COLOURS}


@pytest.fixture
def records(tmp_path):
    """Two images, each one bright rectangle that is the face, landmarks in its corners and middle."""
    found = []
    for number, box in enumerate(((40, 30, 90, 100), (100, 20, 130, 60))):
        image = np.zeros((160, 200, 3), np.uint8)
        x1, y1, x2, y2 = box
        image[y1:y2, x1:x2] = 255
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        points = [[(x1, y1), (x2, y1), ((x1 + x2) / 2, (y1 + y2) / 2), (x1, y2), (x2, y2)]]
        found.append(Record(f"{number}.png", np.array([box], np.float32), np.array(points, np.float32),
                            np.full((1, 5), 2, np.uint8), np.zeros(1, bool), 160, 200))
    return found


def faces_of(sample, size):
    return target_faces(*sample[2:], size // 4)


@pytest.mark.parametrize("options", [
    WITHOUT_CHANCE, {**WITHOUT_CHANCE, "flip": 1.0}, {"data_anchor": "crop", **TRUE_COLOURS},
    {"data_anchor": "reference", **TRUE_COLOURS}, {"data_anchor": "crop", **TRUE_COLOURS, "mosaic": 1.0}])
def test_targets_lie_on_the_pixels_of_the_face(tmp_path, records, options):
    size = 256
    samples = CenterFaceSamples(records, tmp_path, Augmentation(input_size=size, **options))
    checked = 0
    for seed in range(12):
        sample = samples(seed % 2, np.random.default_rng(seed))
        grey = sample[0][..., 0].astype(float)
        faces = faces_of(sample, size)
        for box, points in zip(faces.boxes, faces.landmarks):
            x1, y1, x2, y2 = box
            if min(x2 - x1, y2 - y1) < 12:
                continue
            inner = grey[int(y1) + 2:int(y2) - 2, int(x1) + 2:int(x2) - 2]
            assert inner.mean() > 240, "the box is full of face"
            around = grey[max(0, int(y1) - 6):int(y2) + 6, max(0, int(x1) - 6):int(x2) + 6].sum()
            assert grey[int(y1):int(y2) + 1, int(x1):int(x2) + 1].sum() > 0.85 * around, "and holds nearly all of it"
            if min(x1, y1, size - x2, size - y2) > 2 and (points != 0).all() and not options.get("mosaic"):
                middle, corners = points[2], points[[0, 1, 3, 4]]
                np.testing.assert_allclose(middle, [(x1 + x2) / 2, (y1 + y2) / 2], atol=1)
                np.testing.assert_allclose(corners, [(x1, y1), (x2, y1), (x1, y2), (x2, y2)], atol=1)
            checked += 1
    assert checked >= 8


@pytest.mark.parametrize("options", [{"flip": 0.0}, {"flip": 1.0}, {"mosaic": 1.0}])
def test_coordinates_may_be_centres_of_pixels(tmp_path, records, options):
    by_centres = [replace(record, boxes=record.boxes - 0.5, landmarks=record.landmarks - 0.5) for record in records]
    edges, centres = (faces_of(CenterFaceSamples(given, tmp_path, Augmentation(
        input_size=256, pixel_offset=offset, **{**WITHOUT_CHANCE, **options}))(0, np.random.default_rng(0)), 256)
        for given, offset in ((records, 0.0), (by_centres, 0.5)))
    assert len(edges.boxes)
    np.testing.assert_allclose(centres.boxes, edges.boxes - 0.5, atol=1e-3)
    np.testing.assert_allclose(centres.landmarks, edges.landmarks - 0.5, atol=1e-3)


@pytest.mark.parametrize("options", [{"data_anchor": "off"}, {"data_anchor": "crop"}, {"mosaic": 1.0}])
def test_a_sample_of_a_smaller_image_is_nearly_that_of_the_whole_one(tmp_path, monkeypatch, options):
    records = [smooth_photograph(tmp_path)]
    samples = CenterFaceSamples(records, tmp_path, Augmentation(input_size=64, **TRUE_COLOURS, **options))
    check_smaller_images(samples, monkeypatch)


def test_a_sample_depends_only_on_its_generator(tmp_path, records):
    samples = CenterFaceSamples(records, tmp_path, Augmentation(input_size=64, mosaic=0.5))
    first, again, other = (samples(0, np.random.default_rng((1, epoch, 0))) for epoch in (0, 0, 1))
    for left, right in zip(first, again):
        np.testing.assert_array_equal(left, right)
    assert (first[0] != other[0]).any()


def test_samples_without_mosaic_are_those_of_that_option(tmp_path, records):
    mosaics = CenterFaceSamples(records, tmp_path, Augmentation(input_size=64, mosaic=1.0))
    single = CenterFaceSamples(records, tmp_path, Augmentation(input_size=64, mosaic=0.0))
    for left, right in zip(mosaics.without_mosaic()(0, np.random.default_rng(0)), single(0, np.random.default_rng(0))):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("option", ["colour", "lighting"])
def test_each_change_of_colours_works_alone(tmp_path, records, option):
    plans = [Augmentation(input_size=64, **{**WITHOUT_CHANCE, **options}) for options in ({}, {option: 0.4})]
    plain, changed = (CenterFaceSamples(records, tmp_path, plan)(0, np.random.default_rng(0))[0].astype(int)
                      for plan in plans)
    shift = changed - plain
    assert abs(shift).max() > 3
    inside = (plain > 40) & (plain < 215) & (changed > 0) & (changed < 255)
    if option == "lighting":
        for channel in range(3):
            assert np.ptp(shift[..., channel][inside[..., channel]]) <= 1, "one shift a channel"


def test_background_is_seen_in_windows_of_all_sizes(tmp_path, records):
    empty = replace(records[0], boxes=np.zeros((0, 4), np.float32), landmarks=np.zeros((0, 5, 2), np.float32),
                    visibility=np.zeros((0, 5), np.uint8), ignore=np.zeros(0, bool))
    samples = CenterFaceSamples([empty], tmp_path, Augmentation(input_size=64, flip=0.0, **TRUE_COLOURS))
    (first, *targets), (other, *_) = (samples(0, np.random.default_rng(seed)) for seed in (0, 1))
    assert (first != other).any() and not any(column.any() for column in targets)


def test_columns_are_small(tmp_path, records):
    sample = CenterFaceSamples(records, tmp_path, Augmentation(input_size=512))(0, np.random.default_rng(0))
    assert sample[0].dtype == np.uint8
    assert sum(column.nbytes for column in sample) < 0.9e6, "the reference sent 4.98 MB a sample"


def test_input_size_must_fit_the_network(tmp_path, records):
    with pytest.raises(InputError, match="--image_size 500"):
        CenterFaceSamples(records, tmp_path, Augmentation(input_size=500))


def test_an_unreadable_image_is_named(tmp_path, records):
    (tmp_path / "0.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match="0.png"):
        CenterFaceSamples(records, tmp_path, Augmentation())(0, np.random.default_rng(0))


def test_a_batch_is_drawn(tmp_path, records):
    samples = CenterFaceSamples(records, tmp_path, Augmentation(input_size=64))
    batch = [np.stack(column) for column in zip(*(samples(i, np.random.default_rng(i)) for i in (0, 1)))]
    drawn = np.concatenate(draw_batch(batch))
    assert (drawn[..., 1] > drawn[..., 0].astype(int) + 100).any(), "green boxes"


@pytest.mark.parametrize("size, most", [(160, 0), (96, 16)])
def test_without_crops_training_shows_what_the_test_shows(tmp_path, records, size, most):
    """At less than half the image's size the edges differ a little: the image is reduced by another factor."""
    samples = CenterFaceSamples(records, tmp_path, Augmentation(input_size=size, **WITHOUT_CHANCE))
    for index, record in enumerate(records):
        image, *targets = samples(index, np.random.default_rng(0))
        canvas, placement = letterbox(cv2.imread(str(tmp_path / record.path)), size)
        np.testing.assert_allclose(image.astype(int), canvas, atol=most)
        corners = target_faces(*targets[1:], size // 4).boxes.reshape(-1, 2, 2)
        np.testing.assert_allclose(placement.to_image(corners).reshape(-1, 4), record.boxes, atol=0.05)
