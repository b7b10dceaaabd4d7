# SPDX-License-Identifier: Apache-2.0
"""What val_batch_*.jpg shows."""
import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.evaluate.ground_truth import TruthImage
from src.run_folder.pictures import ANNOTATED, IGNORED, MISSED, RIGHT, WRONG, draw_pair


def count(picture, colour):
    return int((picture == np.array(colour)).all(axis=2).sum())


def test_found_missed_and_false_faces_have_their_colours():
    boxes = np.array([[10, 10, 40, 40], [100, 10, 40, 40], [10, 100, 40, 40]], np.float64)
    truth = TruthImage("a", "b", boxes, {"easy": np.array([0]), "medium": np.array([0, 1]), "hard": np.array([0, 1])})
    rows = np.zeros((2, 15), np.float32)
    rows[:, :5] = [[11, 11, 50, 50, 0.9], [150, 150, 190, 190, 0.8]]
    annotated, found, *counts = draw_pair(np.zeros((200, 200, 3), np.uint8), truth, Faces.from_rows(rows))
    assert counts == [1, 1, 1]
    assert count(annotated, ANNOTATED) == 2 * count(annotated, IGNORED) > 0
    assert count(found, MISSED) > 0 and count(found, RIGHT) > 0 and count(found, WRONG) > 0


def test_images_without_faces_are_drawn():
    truth = TruthImage(".", "b", np.zeros((0, 4)), {name: np.zeros(0, int) for name in ("easy", "medium", "hard")})
    annotated, found, *counts = draw_pair(np.zeros((900, 50, 3), np.uint8), truth,
                                              Faces.from_rows(np.zeros((0, 15))))
    assert annotated.shape == found.shape and max(found.shape) <= 480 and counts == [0, 0, 0]
