# SPDX-License-Identifier: Apache-2.0
import shutil

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.errors import InputError
from src.data.training_set import training_records
from src.retinaface.anchors import anchor_count, decode_bbox, decode_landm, prior_box
from src.retinaface.config import REDISTRIBUTION, cfg_res50
from src.retinaface.dataset import (
    DATASET_COLUMNS,
    RetinaFaceSamples,
    SampleOptions,
    create_dataset,
    face_labels,
)
from src.retinaface.matching import IGNORED
from tests.data.samples import check_smaller_images, smooth_photograph

SIDE = 128
VARIANCES = (0.1, 0.2)
WITHOUT_CHANCE = {"image_size": SIDE, "crop_choice": (1.0,), "flip": 0.0, "color_distort": False}
CFG = {**cfg_res50, "image_size": SIDE, "batch_size": 2}


@pytest.fixture
def widerface(tmp_path):
    """A folder as the manual lays it out: label.txt and images/ with five images; gives the path of label.txt."""
    lines = []
    for number in range(5):
        image = np.full((96, 128, 3), 20 * number + 40, np.uint8)
        x, y = 10 + 8 * number, 20
        image[y:y + 40, x:x + 32] = 255
        path = tmp_path / "train" / "images" / "a--b" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
        points = " ".join(f"{x + dx}.0 {y + dy}.0 0.0" for dx, dy in ((8, 12), (24, 12), (16, 20), (10, 30), (22, 30)))
        lines += [f"# a--b/{number}.png", f"{x} {y} 32 40 {points if number % 2 else ' '.join(['-1.0'] * 15)} 0.5"]
    label = tmp_path / "train" / "label.txt"
    label.write_text("\n".join(lines) + "\n")
    return label


def samples_of(label, **options):
    return RetinaFaceSamples(training_records(label, label.parent / "images"), label.parent / "images",
                             SampleOptions(**{**WITHOUT_CHANCE, **options}))


def test_shapes_and_types(widerface):
    samples = samples_of(widerface)
    columns = samples(1, np.random.default_rng(0))
    count = anchor_count(SIDE)
    assert len(columns) == 4 and len(samples) == 5 and samples.describe(1) == "a--b/1.png"
    assert [each.shape for each in columns] == [(SIDE, SIDE, 3), (count, 4), (count,), (count, 10)]
    assert [each.dtype for each in columns] == [np.uint8, np.float32, np.int32, np.float32]


@pytest.mark.parametrize("options", [{}, {"flip": 1.0}, {"crop_choice": REDISTRIBUTION, "color_distort": True},
                                     {"crop_choice": None}])
def test_targets_lie_on_the_pixels_of_the_face(widerface, options):
    samples, priors = samples_of(widerface, **options), prior_box((SIDE, SIDE))
    for seed in range(20):
        image, loc, conf, landm = samples(seed % 5, np.random.default_rng(seed))
        face = np.abs(conf) == 1
        assert set(conf[face]) == {1 if seed % 2 else -1} if seed % 5 == seed else face.any()
        x1, y1, x2, y2 = (decode_bbox(loc[face], priors[face], VARIANCES) * SIDE).mean(axis=0)
        grey = image.astype(float).mean(axis=2)
        inner = grey[int(y1) + 2:int(y2) - 1, int(x1) + 2:int(x2) - 1].mean()
        around = grey[max(0, int(y1) - 4):int(y1) - 1, int(x1):int(x2)].mean()
        assert inner > around + 20
        marks = conf == 1
        if marks.any():
            points = decode_landm(landm[marks], priors[marks], VARIANCES).mean(axis=0).reshape(5, 2) * SIDE
            expected = np.array([(8, 12), (24, 12), (16, 20), (10, 30), (22, 30)]) / (32, 40)
            seen = (points - (x1, y1)) / (x2 - x1, y2 - y1)
            mirrored = expected[[1, 0, 2, 4, 3]] * (-1, 1) + (1, 0)
            assert min(abs(seen - expected).max(), abs(seen - mirrored).max()) < 0.03
            if "flip" in options:
                np.testing.assert_allclose(seen, mirrored, atol=0.03)


def test_a_mosaic_shows_four_images_with_their_faces(widerface):
    """White squares on grey: each face that is learnt lies on one, each in a quarter of its own."""
    samples, priors = samples_of(widerface, mosaic=1.0), prior_box((SIDE, SIDE))
    quarters = set()
    for seed in range(20):
        image, loc, conf, _ = samples(seed % 5, np.random.default_rng(seed))
        assert image.shape == (SIDE, SIDE, 3)
        for x1, y1, x2, y2 in decode_bbox(loc, priors, VARIANCES)[np.abs(conf) == 1] * SIDE:
            inner = image[int(y1) + 2:int(y2) - 1, int(x1) + 2:int(x2) - 1]
            assert inner.mean() > 235
            quarters.add((x1 + x2 > SIDE, y1 + y2 > SIDE))
    assert len(quarters) == 4
    for columns in zip(samples.without_mosaic()(1, np.random.default_rng(1)),
                       samples_of(widerface)(1, np.random.default_rng(1))):
        np.testing.assert_array_equal(*columns)


@pytest.mark.parametrize("crop_choice", [None, REDISTRIBUTION])
def test_a_sample_of_a_smaller_image_is_nearly_that_of_the_whole_one(tmp_path, monkeypatch, crop_choice):
    samples = RetinaFaceSamples([smooth_photograph(tmp_path)], tmp_path,
                                SampleOptions(image_size=64, crop_choice=crop_choice, color_distort=False))
    check_smaller_images(samples, monkeypatch)


def record(boxes, ignore, visibility):
    boxes = np.array(boxes, np.float32)
    return Record("a.png", boxes, np.zeros((len(boxes), 5, 2), np.float32), np.array(visibility, np.uint8),
                  np.array(ignore))


def test_labels():
    faces = record([(0, 0, 20, 9), (0, 0, 20, 20), (0, 0, 9, 9), (5, 5, 50, 50), (5, 5, 50, 50)],
                   [False, False, False, True, False],
                   [[2] * 5, [0] * 5, [2] * 5, [2] * 5, [2, 2, 1, 0, 2]])
    assert list(face_labels(faces, 10)) == [1, -1, IGNORED, IGNORED, -1]
    assert list(face_labels(faces)) == [1, -1, 1, IGNORED, -1]
    assert len(face_labels(record(np.zeros((0, 4)), np.zeros(0, bool), np.zeros((0, 5))), 10)) == 0


def test_small_and_ignored_faces_are_no_background(widerface):
    found = [samples_of(widerface, **options)(1, np.random.default_rng(0))[2]
             for options in ({}, {"min_face": 60.0})]
    assert (found[0] == 1).any() and not (np.abs(found[1]) == 1).any()
    assert (found[1][found[0] == 1] == IGNORED).all()


def test_a_sample_depends_only_on_its_generator(widerface):
    samples = samples_of(widerface, crop_choice=REDISTRIBUTION, flip=0.5, color_distort=True)
    first, again, other = (samples(0, np.random.default_rng((1, epoch, 0))) for epoch in (0, 0, 1))
    for left, right in zip(first, again):
        np.testing.assert_array_equal(left, right)
    assert (first[0] != other[0]).any()


def test_options_come_from_any_configuration():
    manual = {"variance": [0.1, 0.2], "clip": False, "image_size": 840, "match_thresh": 0.4, "batch_size": 8}
    assert SampleOptions.of(manual) == SampleOptions(match_thresh=0.4, crop_choice=None)
    ours = SampleOptions.of({**cfg_res50, "crop_choice": [], "min_face": 3.0})
    assert ours.crop_choice is None and ours.min_face == 3.0 and ours.image_size == cfg_res50.image_size
    assert SampleOptions.of({"crop_choice": [0.5, 2.0]}).crop_choice == (0.5, 2.0)


def test_what_is_trained_on(widerface):
    """Boxes alone suffice; faces without area, images without faces and images that are absent are left out."""
    text = [line if line[0] == "#" else " ".join(line.split()[:4]) for line in widerface.read_text().splitlines()]
    widerface.write_text("\n".join([*text, "# a--b/5.png", "5 5 0 7", "5 5 -3 7", "5 5 30 30", "# a--b/6.png", ""]))
    for number in (5, 6):
        shutil.copy(widerface.parent / "images/a--b/0.png", widerface.parent / f"images/a--b/{number}.png")
    assert set(samples_of(widerface)(1, np.random.default_rng(0))[2]) == {0, -1}
    records = training_records(widerface, widerface.parent / "images")
    assert len(records) == 6 and len(records[-1].boxes) == 1
    (widerface.parent / "images/a--b/3.png").unlink()
    records = training_records(widerface, widerface.parent / "images", only_existing=True)
    assert [each.path for each in records] == [f"a--b/{number}.png" for number in (0, 1, 2, 4, 5)]


@pytest.mark.parametrize("damage, message", [
    (lambda label: label.unlink(), "label.txt"),
    (lambda label: (label.parent / "images").rename(label.parent / "pictures"), "--img_dir"),
    (lambda label: (label.parent / "images/a--b/3.png").unlink(), "3.png"),
    (lambda label: label.write_text(label.read_text() + "1 2 3\n"), "label.txt:11"),
    (lambda label: label.write_text("# a--b/0.png\n"), "no image with a face")])
def test_what_is_wrong_is_named(widerface, ms, damage, message):
    damage(widerface)
    with pytest.raises(InputError, match=message):
        create_dataset(widerface, CFG, 2)


def test_an_unreadable_image_is_named(widerface):
    (widerface.parent / "images/a--b/0.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match="0.png"):
        samples_of(widerface)(0, np.random.default_rng(0))


@pytest.mark.parametrize("option, message", [
    ({"image_size": 0}, "--image_size 0"), ({"variance": (0.1,)}, "--variance"),
    ({"variance": (0, 0.2)}, "--variance"), ({"crop_choice": (-1.0,)}, "--crop_choice"),
    ({"crop_choice": (30.0,)}, "--crop_choice"), ({"flip": 2}, "--flip"), ({"match_thresh": 0}, "--match_thresh"),
    ({"mosaic": 2.0}, "--mosaic"), ({"mosaic": 0.5, "image_size": 65}, "--image_size 65")])
def test_a_value_out_of_its_range_is_named(option, message):
    with pytest.raises(InputError, match=message):
        SampleOptions(**option)


def epochs_of(dataset, count):
    """All batches of `count` epochs through one iterator."""
    iterator = dataset.create_dict_iterator(num_epochs=count, output_numpy=True)
    return [list(iterator) for _ in range(count)]


def test_create_dataset_has_the_columns_of_the_manual(widerface, ms):
    dataset = create_dataset(str(widerface), CFG, 2, multiprocessing=True, num_worker=cfg_res50.num_workers)
    count = anchor_count(SIDE)
    assert dataset.get_dataset_size() == 2 and dataset.get_col_names() == list(DATASET_COLUMNS)
    (first, _), = epochs_of(dataset, 1)
    assert first["image"].shape == (2, 3, SIDE, SIDE) and first["image"].dtype == np.float32
    assert first["truths"].shape == (2, count, 4) and first["truths"].dtype == np.float32
    assert first["conf"].shape == (2, count) and first["conf"].dtype == np.int32
    assert first["landm"].shape == (2, count, 10) and first["landm"].dtype == np.float32
    assert (np.abs(first["conf"]) == 1).any(axis=1).all()


def test_create_dataset_subtracts_the_mean_of_each_channel(widerface, ms):
    for path in (widerface.parent / "images/a--b").iterdir():
        cv2.imwrite(str(path), np.full((96, 128, 3), (10, 120, 240), np.uint8))
    config = {**CFG, "color_distort": False}
    (first, _), = epochs_of(create_dataset(widerface, config, 2, multiprocessing=False, num_worker=1), 1)
    for channel, value in enumerate((10 - 104, 120 - 117, 240 - 123)):
        seen = first["image"][:, channel]
        assert np.mean(seen == value) > 0.3 and np.mean((seen == value) | (seen == 0)) > 0.95


@pytest.mark.parametrize("workers", [{"multiprocessing": False, "num_worker": 1},
                                     {"multiprocessing": False, "num_worker": 2},
                                     {"multiprocessing": True, "num_worker": 2}])
def test_samples_are_the_same_whatever_the_workers(widerface, ms, workers):
    expected = epochs_of(create_dataset(widerface, CFG, 2, multiprocessing=False, num_worker=1), 3)
    found = epochs_of(create_dataset(widerface, CFG, 2, **workers), 3)
    for left, right in zip(expected, found):
        assert len(left) == len(right) == 2
        for one, other in zip(left, right):
            for name in DATASET_COLUMNS:
                np.testing.assert_array_equal(one[name], other[name])
    assert (expected[0][0]["image"] != expected[1][0]["image"]).any(), "another epoch, other samples"


def test_another_seed_and_repeats(widerface, ms):
    options = {"multiprocessing": False, "num_worker": 1}
    first = epochs_of(create_dataset(widerface, CFG, 2, **options), 2)
    repeated, = epochs_of(create_dataset(widerface, CFG, 2, repeat_num=2, **options), 1)
    for one, other in zip(first[0] + first[1], repeated):
        np.testing.assert_array_equal(one["image"], other["image"])
    other = epochs_of(create_dataset(widerface, {**CFG, "seed": 7}, 2, **options), 1)
    assert (other[0][0]["image"] != first[0][0]["image"]).any()


def test_without_shuffling_it_is_the_order_of_the_file(widerface, ms):
    dataset = create_dataset(widerface, CFG, 1, shuffle=False, multiprocessing=False, num_worker=1)
    for epoch in epochs_of(dataset, 2):
        assert [bool((batch["conf"] == 1).any()) for batch in epoch] == [False, True, False, True, False]


def test_devices_share_the_images(widerface, ms, monkeypatch):
    """Each image once an epoch on one of two devices, the first twice to fill up."""
    from mindspore import communication
    monkeypatch.setattr(communication, "get_group_size", lambda: 2)
    shown = []
    for rank in (0, 1):
        monkeypatch.setattr(communication, "get_rank", lambda rank=rank: rank)
        dataset = create_dataset(widerface, {**CFG, "color_distort": False}, 1, shuffle=False, multiprocessing=False,
                                 num_worker=1, is_distribute=True)
        assert dataset.get_dataset_size() == 3
        (batches,) = epochs_of(dataset, 1)
        # The image's grey says which one it is; what is neither 255 nor the filling.
        for batch in batches:
            grey = np.rint(batch["image"][0, 0] + 104).astype(int)
            shown.append(int(np.bincount(grey[(grey != 255) & (grey != 104)]).argmax()))
    assert sorted(shown) == [40, 40, 60, 80, 100, 120]


@pytest.mark.soak
def test_the_real_training_files(shared_data, ms):
    """The published label.txt with its one bad row, and the boxes-only one of the validation set."""
    label = shared_data / "wider" / "train" / "label.txt"
    dataset = create_dataset(label, {**CFG, "min_face": 8.0}, 8, num_worker=2)
    assert dataset.get_dataset_size() == 353 // 8
    (batches,) = epochs_of(dataset, 1)
    conf = np.concatenate([batch["conf"] for batch in batches])
    assert (conf == 1).any() and (conf == -1).any() and (conf == IGNORED).any()
    assert (np.abs(conf) == 1).any(axis=1).mean() > 0.7, "most crops show a face that can be learnt"
    val = shared_data / "wider" / "val"
    records = training_records(val / "label.txt", val / "images", only_existing=True)
    samples = RetinaFaceSamples(records, val / "images", SampleOptions(image_size=320))
    labels = {value for index in range(0, 100, 10) for value in samples(index, np.random.default_rng(0))[2]}
    assert labels == {0, -1, IGNORED}
