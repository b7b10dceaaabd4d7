# SPDX-License-Identifier: Apache-2.0
"""Photographs and close-ups: what they show, and how large they are stored."""
import base64

import cv2
import numpy as np
import pytest

from dependency.evaluate.report.pictures import CROP_SIDE, close_up, cut_pictures
from tests.dependency.scored_sets import EVENTS, faulty_run, write_images


def decode(picture):
    return cv2.imdecode(np.frombuffer(base64.b64decode(picture.content), np.uint8), cv2.IMREAD_COLOR)


def test_a_close_up_shows_its_face_in_its_place(tmp_path):
    pictures = cut_pictures([faulty_run()], write_images(tmp_path))
    assert len(pictures.crops) > 60 and not pictures.absent
    assert len({picture.id for picture in [*pictures.crops.values(), *pictures.photos.values()]}) == (
        len(pictures.crops) + len(pictures.photos))
    photos = {name: cv2.imread(str(tmp_path / f"{name}.jpg")) for name, _ in pictures.crops}
    for (name, _), picture in pictures.crops.items():
        x, y, width, height = picture.view
        crop = decode(picture)
        expected = photos[name][y:y + height, x:x + width]
        if max(width, height) <= CROP_SIDE:
            assert crop.shape == expected.shape, "small enough to be stored as it is"
            assert np.abs(crop.astype(int) - expected).mean() < 6
        else:
            assert max(crop.shape) == CROP_SIDE


@pytest.mark.parametrize("box, view", [
    ((150, 110, 20, 20), (128, 88, 64, 64)), ((100, 60, 30, 50), (55, 25, 120, 120)),
    ((5, 110, 20, 20), (0, 88, 64, 64)), ((300, 220, 20, 20), (256, 176, 64, 64)),
    ((100, 20, 150, 190), (0, 0, 320, 240)), ((-10, -10, 1000, 1000), (0, 0, 320, 240)),
    ((-50, -50, 60, 60), (0, 0, 144, 144)), ((500, 500, 20, 20), (256, 176, 64, 64))])
def test_a_close_up_is_centred_and_moved_inside(box, view):
    assert close_up(box, 320, 240) == view


def test_both_boxes_are_in_the_picture_and_a_page_has_so_many(tmp_path, monkeypatch):
    runs = [faulty_run(), faulty_run(name="second", shift=0.4)]
    folder = write_images(tmp_path)
    everything = cut_pictures(runs, folder)
    for face in runs[0]["misses"]:
        x, y, width, height = everything.crops[face["image"], tuple(face["box"])].view
        for left, top, across, down in filter(None, (face["box"], face["best_box"])):
            assert x <= max(left, 0) and min(left + across, 320) <= x + width
            assert y <= max(top, 0) and min(top + down, 240) <= y + height
    monkeypatch.setattr("dependency.evaluate.report.pictures.MAX_CROPS", 10)
    monkeypatch.setattr("dependency.evaluate.report.pictures.MAX_PHOTOS", 3)
    few = cut_pictures(runs, folder)
    assert len(few.crops) == 10 and len(few.photos) == 3
    for run in runs:                    # the first of each list of each run
        for entries in (run["misses"], run["false_alarms"]):
            assert (entries[0]["image"], tuple(entries[0]["box"])) in few.crops


def test_large_pictures_are_scaled_down(tmp_path):
    run = faulty_run(EVENTS[:1])
    path = tmp_path / f"{run['worst_images'][0]['image']}.jpg"
    path.parent.mkdir()
    cv2.imwrite(str(path), np.zeros((40, 3000, 3), np.uint8))
    (photo,) = cut_pictures([run], tmp_path).photos.values()
    assert photo.view == (0, 0, 3000, 40) and decode(photo).shape == (11, 800, 3)
