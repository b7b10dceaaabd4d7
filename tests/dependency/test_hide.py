# SPDX-License-Identifier: Apache-2.0
"""Hidden faces: nothing of them is left, whatever their size and place, and nothing else changes."""
import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.utils.hide import CELLS, MASKS, STYLES, Hide, read_cover
from dependency.errors import InputError

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("style", [*STYLES, np.full((5, 9, 3), 200, np.uint8)], ids=[*STYLES, "picture"])
def test_what_is_covered_changes_and_the_rest_stays(style, mask):
    image = RNG.integers(0, 256, (90, 120, 3), np.uint8)
    hide, boxes = Hide(style, mask), np.array([[30.5, 20, 70, 66], [100, 70, 130, 95]])
    before = image.copy()
    hidden, covered = hide.apply(image, boxes), hide.covered(image.shape[:2], boxes)
    assert (image == before).all() and hidden.shape == image.shape
    outside = cv2.dilate(covered.astype(np.uint8), np.ones((3, 3))) == 0        # its edge is soft
    assert (hidden[outside] == image[outside]).all() and outside.mean() > 0.5
    assert (hidden[covered] != image[covered]).any(axis=1).mean() > 0.97
    assert covered[22:64, 40:60].all() and covered[75:, 105:].all()


@pytest.mark.parametrize("side", [3, 16, 60, 400])
@pytest.mark.parametrize("style", ["blur", "mosaic"])
def test_few_colours_are_left_of_a_face_of_any_size(style, side):
    image = RNG.integers(0, 256, (500, 500, 3), np.uint8)
    hidden = Hide(style, "box").apply(image, np.array([[20, 20, 20 + side, 20 + side]]))
    face = hidden[20:20 + side, 20:20 + side].reshape(-1, 3)
    if style == "mosaic":
        assert len(np.unique(face, axis=0)) <= CELLS ** 2
    # Noise that is averaged over many pixels has little left of its deviation, which was 74.
    assert face.astype(float).std(axis=0).max() < 40


def test_a_face_that_the_border_cuts_off_is_covered_to_the_border():
    assert Hide("solid", grow=1.0).covered((100, 100), np.array([[0, 30, 40, 70]]))[36:64, 0].all()
    assert Hide("solid", grow=1.0).covered((100, 100), np.array([[60, 30, 100, 70]]))[36:64, -1].all()


def test_the_border_of_an_ellipse_is_smooth_and_of_a_box_sharp():
    image = np.full((100, 100, 3), 200, np.uint8)
    boxes = np.array([[30, 30, 70, 70]])
    assert len(np.unique(Hide("solid").apply(image, boxes))) > 10
    assert set(np.unique(Hide("solid", "box").apply(image, boxes))) == {0, 200}


@pytest.mark.parametrize("wrong", [{"style": "blurr"}, {"mask": "circle"}, {"grow": 0}])
def test_what_is_not_known_is_refused(wrong):
    with pytest.raises(InputError, match=str(*wrong.values())):
        Hide(**wrong)


def test_boxes_outside_or_without_size_change_nothing():
    image = RNG.integers(0, 256, (20, 20, 3), np.uint8)
    for boxes in (np.empty((0, 4)), [[-30, -30, -10, -10]], [[40, 5, 60, 9]]):
        assert (Hide().apply(image, np.array(boxes)) == image).all()


def test_a_picture_with_alpha_lies_over_a_blurred_face(tmp_path):
    cover = np.zeros((8, 8, 4), np.uint8)
    cover[2:6, 2:6] = 255, 0, 0, 255
    cv2.imwrite(str(tmp_path / "cover.png"), cover)
    read = read_cover(tmp_path / "cover.png")
    assert (read == cover).all()
    image = RNG.integers(0, 256, (100, 100, 3), np.uint8)
    hidden = Hide(read, grow=1.0).apply(image, np.array([[20, 20, 80, 80]]))
    assert (hidden[50, 50] == (255, 0, 0)).all() and (hidden[30, 50] != image[30, 50]).any()
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "none.png", "blurr"):
        with pytest.raises(InputError, match=name):
            read_cover(tmp_path / name)
