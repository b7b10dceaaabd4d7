# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.sample.multi_pose import AREA_WEIGHTS, IGNORED, centre_targets

GRID = 32


def targets_of(boxes, landmarks=None, visibility=None, ignore=None, **options):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    landmarks = np.zeros((count, 5, 2), np.float32) if landmarks is None else np.array(landmarks, np.float32)
    visibility = np.zeros((count, 5), np.uint8) if visibility is None else np.array(visibility, np.uint8)
    ignore = np.zeros(count, bool) if ignore is None else np.array(ignore)
    return centre_targets(boxes, landmarks, visibility, ignore, GRID, **options)


def test_targets_give_back_the_faces():
    rng = np.random.default_rng(0)
    corner = np.array([[0, 0], [60, 0], [0, 60], [64, 64]]) + rng.uniform(0, 8, (4, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 50, (4, 2))], axis=1).astype(np.float32)
    landmarks = corner[:, None] + rng.uniform(0, 20, (4, 5, 2)).astype(np.float32)
    found = targets_of(boxes, landmarks, np.full((4, 5), 2))
    used = found.weights[:, 0] > 0
    assert used.sum() == 4 and (found.heatmap == 1).sum() == 4
    cell = np.stack([found.cells[used] % GRID, found.cells[used] // GRID], axis=1)
    assert (found.heatmap[cell[:, 1], cell[:, 0]] == 1).all()
    size = np.exp(found.values[used, :2]) * 4
    centre = cell + found.values[used, 2:4]
    again = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * 4
    order = np.argsort(again[:, 0] + 1000 * again[:, 1])
    expected = np.argsort(boxes[:, 0] + 1000 * boxes[:, 1])
    np.testing.assert_allclose(again[order], boxes[expected], atol=1e-3)
    points = (found.values[used, 4:].reshape(-1, 5, 2) * size[:, None] + cell[:, None]) * 4
    np.testing.assert_allclose(points[order], landmarks[expected], atol=1e-3)


@pytest.mark.parametrize("cells, weight", [(2, .1), (3, 15), (4, 10), (6, 5), (10, 1)])
def test_small_faces_weigh_as_specified(cells, weight):
    side = cells * 4
    found = targets_of([[40, 40, 40 + side, 40 + side]])
    assert found.weights[0, :4] == pytest.approx(weight)
    assert next(w for limit, w in AREA_WEIGHTS["reference"] if cells * cells <= limit) == weight
    assert targets_of([[40, 40, 40 + side, 40 + side]], area_weights="uniform").weights[0, :4] == pytest.approx(1)


def test_ignored_and_tiny_faces_are_neither_face_nor_background():
    found = targets_of([[10, 10, 50, 50], [80, 80, 84, 84]], ignore=[True, False], min_face=6)
    assert (found.weights == 0).all()
    assert (found.heatmap[3:12, 3:12] == IGNORED).all()
    assert found.heatmap[20, 20] == IGNORED
    assert (found.heatmap == 0).sum() == GRID * GRID - (found.heatmap == IGNORED).sum() > 0


def test_an_ignored_face_does_not_erase_a_neighbour():
    alone = targets_of([[40, 40, 80, 80]]).heatmap
    both = targets_of([[40, 40, 80, 80], [30, 30, 90, 90]], ignore=[False, True]).heatmap
    np.testing.assert_array_equal(both[alone > 0], alone[alone > 0])
    assert (both[8:20, 8:20] != 0).all()


def test_of_more_faces_than_places_the_largest_stay_and_the_others_are_ignored():
    boxes = [[x, 40, x + 8 + x / 8, 60] for x in range(0, 120, 12)]
    found = targets_of(boxes, max_objs=3)
    assert (found.weights[:, 0] > 0).sum() == 3 and found.cells.shape == (3,)
    assert min(found.cells % GRID) > 16
    assert found.heatmap[12, 1] == IGNORED


def test_of_two_faces_in_one_cell_the_larger_is_kept():
    found = targets_of([[38, 38, 46, 46], [20, 20, 64, 64]])
    assert (found.weights[:, 0] > 0).sum() == 1
    assert np.exp(found.values[0, 0]) * 16 == pytest.approx(44, rel=1e-5)


def test_unlabelled_outside_and_tiny_landmarks_do_not_count():
    points = np.tile(np.array([50.0, 50.0]), (1, 5, 1))
    points[0, 1] = (-3, 50)
    found = targets_of([[40, 40, 80, 80]], points, [[2, 2, 0, 1, 2]])
    np.testing.assert_array_equal(found.weights[0, 4:], [1, 1, 0, 0, 0, 0, 1, 1, 1, 1])
    tiny = targets_of([[40, 40, 50, 50]], np.tile([45.0, 45.0], (1, 5, 1)), [[2] * 5])
    assert (tiny.weights[0, 4:] == 0).all() and tiny.weights[0, 0] > 0


@pytest.mark.parametrize("box", [[-50, -50, -10, -10], [200, 0, 220, 30], [120, 120, 500, 500], [128, 0, 130, 20]])
def test_boxes_at_and_beyond_the_border(box):
    found = targets_of([box])
    assert np.isfinite(found.values).all() and (found.cells < GRID * GRID).all() and (found.cells >= 0).all()
