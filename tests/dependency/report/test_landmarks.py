# SPDX-License-Identifier: Apache-2.0
"""The normalised error of landmarks over matched faces."""
import json

import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.report.landmarks import landmark_nme

BOXES = np.array([[0, 0, 40, 90], [100, 0, 120, 20], [200, 0, 220, 20]], np.float32)     # sqrt(w h): 60, 20, 20
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


def points_in(boxes):
    sides = boxes[:, 2:] - boxes[:, :2]
    return (boxes[:, None, :2] + POINTS * sides[:, None]).astype(np.float32)


def record(visibility=2, ignore=(False, False, False), path="e/a.jpg"):
    visible = np.broadcast_to(np.array(visibility, np.uint8), (3, 5)) if np.ndim(visibility) < 2 else visibility
    landmarks = np.where(np.asarray(visible)[..., None] > 0, points_in(BOXES), 0)
    return Record(path, BOXES, landmarks, np.asarray(visible, np.uint8), np.array(ignore))


def faces(shift=(0, 0), boxes=BOXES, scores=(0.9, 0.8, 0.7)):
    return Faces(boxes, np.array(scores, np.float32), points_in(boxes) + np.array(shift, np.float32))


def test_exact_landmarks_have_no_error():
    result = landmark_nme({"e/a": faces()}, [record()])
    assert result == {"nme": 0, "faces": 3, "labelled": 3, "per_point": [0] * 5, "normaliser": "sqrt(w*h)"}


def test_error_is_the_distance_over_the_size_of_the_box():
    result = landmark_nme({"e/a": faces(shift=(3, 4))}, [record()])
    assert result["nme"] == pytest.approx((5 / 60 + 5 / 20 + 5 / 20) / 3, rel=1e-5)
    assert result["per_point"] == pytest.approx([result["nme"]] * 5, rel=1e-5)
    json.dumps(result, allow_nan=False)


def test_points_without_label_do_not_count():
    visibility = np.full((3, 5), 2, np.uint8)
    visibility[0, 1:], visibility[1:, 0], visibility[2, 1] = 0, 0, 1
    moved = faces()
    moved.landmarks[0, 0] += (6, 0)             # 0.1 of face 0, its only point
    moved.landmarks[1, 4] += (0, 4)             # 0.2 at one of four points of face 1
    moved.landmarks[2, 0] += (999, 0)           # not labelled
    result = landmark_nme({"e/a": moved}, [record(visibility)])
    assert result["nme"] == pytest.approx((0.1 + 0.05 + 0) / 3, rel=1e-5)
    assert result["per_point"] == pytest.approx([0.1, 0, 0, 0, 0.1], rel=1e-5)
    result = landmark_nme({"e/a": faces()}, [record([0, 2, 2, 2, 2])])
    assert result["per_point"] == [None, 0, 0, 0, 0]


def test_the_surest_row_takes_the_face():
    boxes = np.concatenate([BOXES, BOXES[:1]])
    doubled = faces(boxes=boxes, scores=(0.5, 0.8, 0.7, 0.6))
    doubled.landmarks[0] += 50                  # the weaker of two rows on face 0
    assert landmark_nme({"e/a": doubled}, [record()])["nme"] == 0


def test_faces_not_found_ignored_or_unlabelled_are_left_out():
    loose = BOXES + np.array([[0, 0, 0, 0], [15, 0, 15, 0], [0, 0, 0, 0]], np.float32)
    result = landmark_nme({"e/a": faces(boxes=loose)}, [record()])
    assert (result["faces"], result["labelled"]) == (2, 3)
    assert landmark_nme({"e/a": faces(boxes=loose)}, [record()], iou=0.1)["faces"] == 3
    result = landmark_nme({"e/a": faces()}, [record(ignore=(True, False, False))])
    assert (result["faces"], result["labelled"]) == (2, 2)
    assert landmark_nme({}, [record(visibility=0)]) is None, "no labelled face: the image needs no prediction"
    nothing = Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
    assert landmark_nme({"e/a": nothing}, [record()]) is None


def test_images_without_prediction_and_rows_without_landmarks_are_refused():
    with pytest.raises(InputError, match="e/b.c"):
        landmark_nme({"e/a": faces()}, [record(path="e/b.c.jpg")])
    with pytest.raises(InputError, match="e/a"):
        landmark_nme({"e/a": faces().rows()[:, :5]}, [record()])
