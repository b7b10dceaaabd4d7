# SPDX-License-Identifier: Apache-2.0
"""What runs share is suspected, and the list marks it as ignored when it is joined with the annotation."""
import cv2
import numpy as np
import pytest

from dependency.evaluate.eval import Scored
from dependency.evaluate.matching import match, scale_scores
from dependency.evaluate.report.outcomes import find_outcomes
from src.annotations.read_write import merge, read_annotations
from src.evaluation.evaluation_set import truth_images
from src.evaluation.label_errors import LabelErrors
from tests.dependency.scored_sets import scored_set

FACES = [[20, 20, 40, 40], [200, 20, 40, 40], [20, 200, 30, 30]]


def run(extra, found=(0,)):
    rows = [[*FACES[face], 0.9] for face in found] + [[*box, score] for *box, score in extra]
    rows = sorted(rows, key=lambda row: -row[4])
    return find_outcomes(scored_set([("0--E", FACES, [0, 1, 2], [*rows, [400, 400, 5, 5, 0.01]])])[1], 0.5)


def test_shared_false_alarms_and_faces_that_none_finds(tmp_path):
    (tmp_path / "0--E").mkdir()
    assert cv2.imwrite(str(tmp_path / "0--E/0.png"), np.full((300, 400, 3), 90, np.uint8))
    suspects = LabelErrors(tmp_path)
    suspects.add(run([[300, 200, 40, 40, 0.95], [100, 100, 30, 30, 0.95]]))
    suspects.add(run([[301, 201, 40, 40, 0.97], [100, 250, 30, 30, 0.2]], found=(0, 1)))
    suspects.add(run([[302, 200, 40, 40, 0.3]]))            # not sure of it
    found = suspects.suspects()
    assert [(each.kind, each.box) for each in found] == [
        ("not annotated", (301, 201, 40, 40)), ("not found", (20, 200, 30, 30))]
    assert found[0].score == 0.97 and found[0].image == "0--E/0"
    assert "1 not annotated, 1 not found" in suspects.write(tmp_path / "out")
    assert cv2.imread(str(tmp_path / "out/suspects.jpg")) is not None
    (listed,) = read_annotations(tmp_path / "out/suspects.json")
    assert listed.path == "0--E/0.png" and listed.ignore.all() and len(listed.boxes) == 2
    own = tmp_path / "label.txt"
    own.write_text("# 0--E/0.png\n" + "".join(f"{' '.join(map(str, face))}\n" for face in FACES))
    (joined,) = merge([read_annotations(own), [listed]])
    assert joined.ignore.tolist() == [False, False, True, True]


@pytest.mark.parametrize("boxes", [[[20.25, 20.5, 40.125, 40.75], [200.3, 20.7, 40.1, 40.9]],
                                   [[20, 20, 40, 40], [200, 20, 40, 40]]])
def test_own_boxes_that_are_no_whole_pixels_are_the_same_faces(tmp_path, boxes):
    """The list is joined with the annotation from which it was made: a face of both is one face."""
    (tmp_path / "0--E").mkdir()
    assert cv2.imwrite(str(tmp_path / "0--E/0.png"), np.full((300, 400, 3), 90, np.uint8))
    label = tmp_path / "label.txt"
    label.write_text("# 0--E/0.png\n" + "".join(f"{' '.join(map(str, box))}\n" for box in boxes))
    own = read_annotations(label)
    truth = truth_images(own)
    rows = [np.array([[20, 20, 40, 40, 0.9], [300, 200, 5, 5, 0.01]])]
    scores, _ = scale_scores([rows[0][:, 4]])
    suspects = LabelErrors(tmp_path, own)
    suspects.add(find_outcomes(Scored(truth, rows, scores, match(truth, rows, scores)), 0.5))
    suspects.write(tmp_path / "out")
    (joined,) = merge([own, read_annotations(tmp_path / "out/suspects.json")])
    assert joined.ignore.tolist() == [False, True]


def test_nothing_is_suspected(tmp_path):
    suspects = LabelErrors(tmp_path)
    suspects.add(run([], found=(0, 1, 2)))
    assert suspects.suspects() == [] and "0 not annotated" in suspects.write(tmp_path / "out")
