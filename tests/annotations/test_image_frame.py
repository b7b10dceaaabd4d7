# SPDX-License-Identifier: Apache-2.0
"""Boxes come to the stored pixels of turned and resized images, or the image is refused: conversion and training."""
import numpy as np
import pytest
from PIL import Image, ImageOps

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, write_coco
from dependency.centernet.src.lib.utils.image_file import Header, read_header
from dependency.errors import InputError
from src.annotations.image_frame import fit_to_file
from src.annotations.read_write import read_annotations, repair, validate
from src.centerface.dataset import Augmentation, CenterFaceSamples
from src.retinaface.dataset import RetinaFaceSamples, SampleOptions

WIDTH, HEIGHT = 80, 60
BOX = [10, 22, 30, 48]          # in the stored pixels, x1 y1 x2 y2
EYES = [[14, 26], [24, 27]]     # left and right in the stored pixels


def record(box, size, eyes=()):
    landmarks, visibility = np.zeros((1, 5, 2), np.float32), np.zeros((1, 5), np.uint8)
    landmarks[0, :len(eyes)], visibility[0, :len(eyes)] = np.reshape(eyes, (-1, 2)), range(1, 1 + len(eyes))
    return Record("e/a.png", np.array([box], np.float32), landmarks, visibility, np.zeros(1, bool), size[1], size[0])


def save(folder, orientation):
    """A picture that is white where the face and its eyes are; the same picture as viewers show it."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[BOX[1]:BOX[3], BOX[0]:BOX[2]] = 100
    for blue, (x, y) in zip((200, 250), EYES):
        pixels[y, x, 0] = blue
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "e").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / "e/a.png", exif=exif)
    with Image.open(folder / "e/a.png") as image:
        return np.array(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_drawn_on_the_picture_as_shown(tmp_path, orientation):
    shown = save(tmp_path, orientation)
    rows, columns = np.nonzero(shown[..., 1])
    eyes = [np.argwhere(shown[..., 0] == value)[0][::-1] + 0.5 for value in (200, 250)]
    mirrored = orientation in (2, 4, 5, 7)      # there the right eye is left in the picture
    source = record([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], shown.shape[1::-1],
                    eyes[::-1] if mirrored else eyes)
    fitted, faults = fit_to_file(source, read_header(tmp_path / "e/a.png"), "shown")
    assert [fault.kind for fault in faults] == ["image_turned"] * (orientation != 1)
    assert (fitted.width, fitted.height) == (WIDTH, HEIGHT) and fitted.boxes.tolist() == [BOX]
    np.testing.assert_allclose(fitted.landmarks[0, :2], np.add(EYES, 0.5))
    assert fitted.landmarks.dtype == fitted.boxes.dtype == np.float32 and not fitted.landmarks[0, 2:].any()
    assert fitted.visibility[0].tolist() == ([2, 1, 0, 0, 0] if mirrored else [1, 2, 0, 0, 0])


STORED, SHOWN = (WIDTH, HEIGHT), (HEIGHT, WIDTH)


@pytest.mark.parametrize("orientation, annotated, box, exif, kinds, expected", [
    (1, STORED, [1, 2, 9, 8], None, [], [1, 2, 9, 8]),
    (1, (160, 120), [2, 4, 18, 16], None, ["image_size"], [1, 2, 9, 8]),
    (1, (27, 20), [2.7, 4, 5.4, 8], None, ["image_size"], [8, 12, 16, 24]),       # 26.7 pixels, rounded
    (1, SHOWN, [1, 2, 9, 8], None, ["image_shape"], [1, 2, 9, 8]),
    (1, (80, 80), [1, 2, 9, 8], None, ["image_shape"], [1, 2, 9, 8]),
    (6, STORED, [1, 2, 9, 8], None, [], [1, 2, 9, 8]),
    (6, SHOWN, [1, 2, 9, 8], None, ["image_turned"], [2, 51, 8, 59]),
    (8, SHOWN, [1, 2, 9, 8], None, ["image_turned"], [72, 1, 78, 9]),
    (6, (120, 160), [2, 4, 18, 16], None, ["image_size", "image_turned"], [2, 51, 8, 59]),
    (6, STORED, [40, 62, 50, 72], None, ["image_turned"], [62, 10, 72, 20]),      # only there it is inside
    (6, (0, 0), [1, 2, 9, 8], None, ["image_orientation"], [1, 2, 9, 8]),
    (6, (0, 0), [65, 2, 75, 8], None, [], [65, 2, 75, 8]),
    (6, (0, 0), [2, 65, 8, 75], None, ["image_turned"], [65, 52, 75, 58]),
    (3, STORED, [1, 2, 9, 8], None, ["image_orientation"], [1, 2, 9, 8]),
    (3, STORED, [1, 2, 9, 8], "shown", ["image_turned"], [71, 52, 79, 58]),
    (3, STORED, [1, 2, 9, 8], "stored", [], [1, 2, 9, 8])])
def test_the_size_or_the_boxes_tell_the_picture(orientation, annotated, box, exif, kinds, expected):
    fitted, faults = fit_to_file(record(box, annotated), Header(HEIGHT, WIDTH, orientation), exif)
    assert [fault.kind for fault in faults] == kinds
    np.testing.assert_allclose(fitted.boxes[0], expected, rtol=1e-6)
    known = not {"image_shape", "image_orientation"} & set(kinds)
    assert (fitted.width, fitted.height) == (STORED if known else (0, 0))


def test_files_are_converted_or_refused(tmp_path):
    save(tmp_path, 6)
    turned = record([1, 2, 9, 8], SHOWN)
    assert [problem.kind for problem in validate([turned], tmp_path)] == ["image_turned"]
    records, repairs = repair([turned], tmp_path)
    assert records[0].boxes.tolist() == [[2, 51, 8, 59]] and repairs[0].action == "boxes turned"
    assert validate(records, tmp_path) == []
    other = record([1, 2, 9, 8], (80, 80))
    assert [problem.kind for problem in validate([other], tmp_path)] == ["image_shape"]
    records, repairs = repair([other], tmp_path)
    assert not records and repairs[0].action == "image left out"
    unclear = record([1, 2, 9, 8], (0, 0))
    assert [problem.kind for problem in validate([unclear], tmp_path)] == ["image_orientation"]
    with pytest.raises(InputError, match="e/a.png.*--exif"):
        repair([unclear], tmp_path)
    assert validate([unclear], tmp_path, exif="stored") == []
    write_coco(tmp_path / "shown.json", [turned])
    assert read_annotations(tmp_path / "shown.json", image_dir=tmp_path)[0].boxes.tolist() == [[2, 51, 8, 59]]
    write_coco(tmp_path / "other.json", [other])
    with pytest.raises(InputError, match="e/a.png.*80 x 80"):
        read_annotations(tmp_path / "other.json", image_dir=tmp_path)


def test_training_takes_only_images_of_the_annotated_size(tmp_path):
    save(tmp_path, 6)
    cases = [(record(BOX, STORED), True), (record(BOX, (0, 0)), True), (record(BOX, SHOWN), False),
             (record(BOX, (160, 120)), False), (record([2, 65, 8, 75], (0, 0)), False)]
    for each, right in cases:
        for samples in (CenterFaceSamples([each], tmp_path, Augmentation(input_size=64)),
                        RetinaFaceSamples([each], tmp_path, SampleOptions(image_size=64))):
            if right:
                assert samples(0, np.random.default_rng(0))[0].shape == (64, 64, 3)
                continue
            with pytest.raises(InputError, match=f"e/a.png.*80 x 60.*prepare_wider.*--image_dir {tmp_path}"):
                samples(0, np.random.default_rng(0))
