# SPDX-License-Identifier: Apache-2.0
"""Pictures of detections."""
import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import LANDMARK_COLOURS, STRONG, WEAK, draw_faces, draw_targets
from dependency.errors import InputError
from src.common.draw import BACKGROUND, JPEG_SIDE, contact_sheet, write_image


def faces(score=0.9, box=(20, 30, 80, 110)):
    points = np.array([[35, 60], [65, 60], [50, 75], [38, 95], [62, 95]], np.float32)
    return Faces(np.array([box], np.float32), np.array([score], np.float32), points[None])


@pytest.mark.parametrize("score, colour", [(0.9, STRONG), (0.3, WEAK)])
def test_boxes_and_landmarks_are_where_they_belong(score, colour):
    image = np.zeros((140, 100, 3), np.uint8)
    drawn = draw_faces(image, faces(score), scores=False)
    assert not image.any()                                          # the input is left alone
    assert tuple(drawn[70, 20]) == colour == tuple(drawn[70, 79])   # both borders; pixel 80 is outside
    assert not drawn[70, 80].any() and not drawn[70, 30].any()
    for (x, y), dot in zip(faces().landmarks[0].astype(int), LANDMARK_COLOURS):
        assert tuple(drawn[y, x]) == dot


@pytest.mark.parametrize("value", [3e38, -3e38, 2.0 ** 31, -2.0 ** 40, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 3, 5, 14])
def test_numbers_beyond_all_integers_are_drawn_without_harm(value, place):
    rows = faces().rows()
    rows[0, place] = value
    image = np.zeros((140, 100, 3), np.uint8)
    drawn = draw_faces(image, Faces.from_rows(rows))
    assert drawn.any() == (place > 3 or not np.isnan(value))
    if place > 3:                       # all but this one dot
        (x, y), colour = faces().landmarks[0, 1].astype(int), LANDMARK_COLOURS[1]
        assert tuple(drawn[70, 20]) == STRONG and tuple(drawn[y, x]) == colour


def test_a_box_beyond_the_image_is_drawn_where_it_crosses_it():
    drawn = draw_faces(np.zeros((140, 100, 3), np.uint8), faces(box=(-1e12, 30, 1e12, 110)), scores=False)
    assert (drawn[30] == STRONG).all() and (drawn[109, [0, 10, 99]] == STRONG).all() and not drawn[20].any()


@pytest.mark.parametrize("name, width", [("strip.JPG", JPEG_SIDE + 1), ("strip.webp", 20000), ("strip.nonsense", 4),
                                         ("strip", 4)])
def test_what_an_image_file_cannot_hold(tmp_path, name, width):
    with pytest.raises(InputError, match=name):
        write_image(tmp_path / name, np.zeros((1, width, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, width", [("strip.jpg", JPEG_SIDE), ("strip.png", JPEG_SIDE + 1)])
def test_the_largest_image_files(tmp_path, name, width):
    write_image(tmp_path / name, np.zeros((1, width, 3), np.uint8))
    assert cv2.imread(str(tmp_path / name)).shape == (1, width, 3)


def test_a_sheet_holds_every_image_unenlarged():
    images = [np.full((20, 30, 3), 200, np.uint8), np.full((400, 100, 3), 250, np.uint8),
              np.full((9, 9, 3), 90, np.uint8)]
    sheet = contact_sheet(images, columns=2, cell=100)
    assert sheet.shape == (200, 200, 3)
    assert (sheet == 200).sum() == 20 * 30 * 3 and (sheet == 90).sum() == 9 * 9 * 3
    assert (sheet[:100, 100:] == 250).sum() == 96 * 24 * 3
    assert (sheet[100:, 100:] == BACKGROUND).all()
    assert contact_sheet(images, columns=9, cell=100, captions="abc").shape == (122, 300, 3)
    with pytest.raises(ValueError):
        contact_sheet([])


def test_boxes_to_train_on_stay_visible_where_the_picture_is_shrunk():
    drawn = draw_targets(np.zeros((640, 640, 3), np.uint8), faces(box=(100, 100, 300, 300)))
    assert (drawn[200] == STRONG).all(axis=1).sum() >= 4        # two lines, each two pixels wide
