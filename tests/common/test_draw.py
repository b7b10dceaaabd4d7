# SPDX-License-Identifier: Apache-2.0
"""Pictures of detections."""
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.base_detector import Faces
from dependency.centernet.src.lib.utils.draw import LANDMARK_COLOURS, STRONG, WEAK
from src.common.draw import BACKGROUND, contact_sheet, draw_faces


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


def test_scores_are_written_only_where_there_is_room():
    wide, narrow = (faces(box=(20, 30, 20 + width, 60)) for width in (60, 4))
    image = np.zeros((140, 100, 3), np.uint8)
    for found, differs in ((wide, True), (narrow, False)):
        assert (draw_faces(image, found) != draw_faces(image, found, scores=False)).any() == differs


@pytest.mark.parametrize("box", [(-30, -30, 500, 500), (0, 0, 1, 1), (50, 0, 60, 4)])
def test_odd_boxes_can_be_drawn(box):
    assert draw_faces(np.zeros((100, 100, 3), np.uint8), faces(box=box)).any()


def test_a_sheet_holds_every_image_unenlarged():
    images = [np.full((20, 30, 3), 200, np.uint8), np.full((400, 100, 3), 250, np.uint8), np.full((9, 9, 3), 90, np.uint8)]
    sheet = contact_sheet(images, columns=2, cell=100)
    assert sheet.shape == (200, 200, 3)
    assert (sheet == 200).sum() == 20 * 30 * 3 and (sheet == 90).sum() == 9 * 9 * 3
    assert (sheet[:100, 100:] == 250).sum() == 96 * 24 * 3
    assert (sheet[100:, 100:] == BACKGROUND).all()
    assert contact_sheet(images, columns=9, cell=100, captions="abc").shape == (122, 300, 3)
    with pytest.raises(ValueError):
        contact_sheet([])
