# SPDX-License-Identifier: Apache-2.0
"""What people do with detected faces: choose, crop, turn upright, write."""
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dependency.centernet.src.lib.detectors.faces import Face, Faces
from dependency.centernet.src.lib.utils.align import TEMPLATE, align_faces, similarity
from dependency.errors import InputError
from tests.conftest import read_prediction


def make(boxes, scores=None, landmarks=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else scores
    middle = np.tile((boxes[:, None, :2] + boxes[:, None, 2:]) / 2, (1, 5, 1))
    return Faces(boxes, np.array(scores, np.float32), middle if landmarks is None else landmarks.astype(np.float32))


def turned(points, angle, scale, shift):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ (scale * turn).T + shift


def test_one_face_some_faces_all_faces():
    faces = make([[0, 0, 10, 10], [5, 5, 45, 25], [0, 0, 30, 40]])
    assert len(faces) == 3 and isinstance(faces[1], Face) and faces[-1].box.tolist() == [0, 0, 30, 40]
    assert [round(score, 2) for _, score, _ in faces] == [0.9, 0.7, 0.5]
    assert faces[1:].scores.tolist() == faces.scores[1:].tolist()
    assert len(faces[[]]) == 0
    with pytest.raises(IndexError):
        faces[3]


def test_weak_and_small_faces_are_left_out():
    faces = make([[0, 0, 10, 50], [5, 5, 45, 25], [0, 0, 30, 40]])
    assert faces.filter(score=0.7).scores.tolist() == faces.scores[:2].tolist()
    assert faces.filter(size=20).boxes[:, 2].tolist() == [45, 30]       # the shorter side counts
    assert len(faces.filter(0.8, 20)) == 0 and len(make([]).filter(0.8, 20)) == 0


def test_crops_are_larger_than_the_box_and_within_the_image():
    image = np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype(np.uint8)
    crops = make([[20, 20, 40, 30], [-3, 50, 20, 70], [79.9, 0, 80, 0.1]]).crop(image, 0.1)
    np.testing.assert_array_equal(crops[0], image[19:31, 18:42])
    np.testing.assert_array_equal(crops[1], image[48:60, 0:23])
    assert crops[2].shape == (1, 1, 3)
    crops[0][:] = 0
    assert image[19:31, 18:42].any()                                    # a copy
    assert make([[2, 2, 4, 4]]).crop(image[..., 0], 0)[0].shape == (2, 2, 3)


def umeyama(source, target):
    """Umeyama 1991 by the singular value decomposition, as printed in the paper."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / (a ** 2).sum(1).mean()
    return np.column_stack([scale * rotation, target.mean(0) - scale * rotation @ source.mean(0)])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2 ** 32 - 1))
def test_the_similarity_is_umeyamas(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(0, 30, (2, 5, 2)) + rng.normal(0, 100, (2, 1, 2))
    np.testing.assert_allclose(similarity(source, target), umeyama(source, target), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [112, 224, 64])
@pytest.mark.parametrize("angle, scale", [(0, 1), (0.6, 2.1), (-2.5, 3.0), (np.pi, 1.4)])
def test_a_drawn_face_lands_on_the_template(angle, scale, size):
    points = turned(TEMPLATE - 60, angle, scale, (200, 190))
    image = np.zeros((400, 400, 3), np.uint8)
    for number, (x, y) in enumerate(points):
        sixteenths = round(x * 16), round(y * 16)
        cv2.circle(image, sixteenths, int(4 * scale * 16), (0, 40 + 50 * number, 255), cv2.FILLED, cv2.LINE_AA, 4)
    chip = make([[0, 0, 400, 400]], landmarks=points[None]).align(image, size)
    assert chip.shape == (1, size, size, 3) and chip.dtype == np.uint8
    for number, wanted in enumerate(TEMPLATE * size / 112):
        x, y = np.round(wanted).astype(int)
        assert abs(int(chip[0, y, x, 1]) - (40 + 50 * number)) <= 3     # its own landmark, not its mirror image
        area = np.zeros((size, size))
        reach = int(5 * size / 112) + 1
        near = slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1)
        area[near] = chip[0][near][..., 2]
        rows, columns = np.indices(area.shape)
        found = np.array([(area * columns).sum(), (area * rows).sum()]) / area.sum()
        assert np.abs(found - wanted).max() < 0.5 * max(1, size / 112)


def test_faces_without_landmarks_cannot_be_aligned():
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(InputError, match="one point"):
        make([[0, 0, 10, 10]]).align(image)
    with pytest.raises(InputError, match="not finite"):
        align_faces(image, np.full((1, 5, 2), np.nan))
    with pytest.raises(InputError, match="at least 1"):
        align_faces(image, TEMPLATE[None], 0)
    assert make([]).align(image).shape == (0, 112, 112, 3)


def test_text_and_json_of_the_same_faces(tmp_path):
    faces = make([[1, 2, 11, 22], [3, 4, 5, 6]])
    faces.save(tmp_path / "new" / "a.txt", "event/photo.jpg")
    assert (tmp_path / "new" / "a.txt").read_text().splitlines()[:2] == ["event/photo.jpg", "2"]
    np.testing.assert_allclose(read_prediction(tmp_path / "new" / "a.txt"), [[1, 2, 10, 20, .9], [3, 4, 2, 2, .5]])
    faces.save(tmp_path / "a.json", "photo.jpg", (100, 200))
    content = json.loads((tmp_path / "a.json").read_text())
    assert content == {"image": "photo.jpg", "height": 100, "width": 200, **faces.to_dict()}
    assert content["faces"][0] == {"score": 0.9, "box_xyxy": [1, 2, 11, 22], "landmarks": [[6, 12]] * 5}
    faces.save(tmp_path / "b.JSON")
    assert list(json.loads((tmp_path / "b.JSON").read_text())) == ["image", "faces"]
    with pytest.raises(InputError, match=".txt or .json"):
        faces.save(tmp_path / "a.xml")
