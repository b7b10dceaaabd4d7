# SPDX-License-Identifier: Apache-2.0
"""The protocol on arrays: against the loops of the public ports, and what each row becomes."""
import numpy as np
import pytest

from benchmarks import reference_evaluation
from dependency.errors import InputError
from dependency.evaluate import matching
from dependency.evaluate.ground_truth import SUBSETS, TruthImage
from tests.dependency.scored_sets import random_set


def truth_of(images):
    return [TruthImage("e", str(number), boxes.astype(float), kept) for number, (boxes, kept) in enumerate(images)]


def matched(images, rows):
    """Matches of a random set, and the remark on its scores."""
    scores, remark = matching.scale_scores([of_image[:, 4] for of_image in rows])
    return matching.match(truth_of(images), rows, scores), remark


def ap_of(matches, images, subset, iou):
    return matching.average_precision(
        matching.curve(matches, iou, matching.face_flags(truth_of(images), subset)))


@pytest.mark.parametrize("seed", range(2))
def test_equals_the_literal_port(seed, monkeypatch):
    """The loops of the public ports (benchmarks/reference_evaluation.py), with 40 thresholds of 1000 to be quick."""
    monkeypatch.setattr(reference_evaluation, "STEPS", 40)
    monkeypatch.setattr(matching, "THRESHOLDS", 1 - (np.arange(40) + 1) / 40)
    rng, compared = np.random.default_rng(100 + seed), 0
    for _ in range(300):
        images, rows = random_set(rng)
        matches, remark = matched(images, rows)
        subset, iou = SUBSETS[rng.integers(3)], float(rng.choice([0.3, 0.5, 0.7]))
        faces = sum(len(kept[subset]) for _, kept in images)
        if remark or not faces:
            continue
        tree = {"e": {str(number): of_image.copy() for number, of_image in enumerate(rows)}}
        # The port begins its search for the ends at 1 and 0: scores must reach below and above.
        tree["e"]["ends"] = np.array([[0, 0, 0, 0, min(of_image[:, 4].min() for of_image in rows)],
                                      [0, 0, 0, 0, max(of_image[:, 4].max() for of_image in rows)]])
        reference_evaluation.scale(tree)
        totals = np.zeros((40, 2))
        for number, (boxes, kept) in enumerate(images):
            counts = np.isin(np.arange(len(boxes)), kept[subset]).astype(int)
            of_image = tree["e"][str(number)]
            if len(boxes):
                totals += reference_evaluation.count_image(
                    of_image, *reference_evaluation.match_rows(of_image, boxes.astype(float), counts, iou))
        with np.errstate(invalid="ignore"):
            expected = reference_evaluation.area(totals[:, 1] / faces, totals[:, 1] / totals[:, 0])
        assert ap_of(matches, images, subset, iou) == pytest.approx(expected, abs=1e-9)
        compared += 1
    assert compared > 200


def test_what_each_row_becomes():
    images = [(np.array([[0, 0, 20, 20], [50, 50, 20, 20]]), {subset: np.array([0]) for subset in SUBSETS}),
              (np.empty((0, 4)), {subset: np.array([], int) for subset in SUBSETS}),
              (np.array([[0, 0, 20, 20]]), {subset: np.array([0]) for subset in SUBSETS})]
    rows = [np.array([[0, 0, 20, 20, 1.0], [1, 0, 20, 20, 0.9], [50, 50, 20, 20, 0.8], [90, 90, 9, 9, 0.7]]),
            np.array([[0, 0, 20, 20, 0.95]]), np.array([[0, 0, 20, 20, 0.0]])]
    matches, _ = matched(images, rows)
    assert matches.row.tolist() == [0, 1, 2, 3, 5], "an image without faces adds no proposal"
    assert matches.image.tolist() == [0, 0, 0, 0, 2] and matches.face.tolist() == [0, 0, 1, 0, 2]
    assert matches.overlap[[0, 2, 3, 4]].tolist() == [1, 1, 0, 1] and 0.5 < matches.overlap[1] < 1
    assert matches.first_bin.tolist() == [0, 99, 199, 299, 999]
    assert all(column.dtype == (np.float64 if name == "overlap" else np.int64)
               for name, column in matches._asdict().items())
    kept = matching.face_flags(truth_of(images), "hard")
    assert kept.tolist() == [True, False, True]
    proposal, hit = matching.outcomes(matches, 0.5, kept)
    # found, found before, on an ignored face, on nothing, found
    assert proposal.tolist() == [True, True, False, True, True] and hit.tolist() == [True, False, False, False, True]
    points = matching.curve(matches, 0.5, kept)
    assert points[0].tolist() == [0.5, 1.0] and points[99].tolist() == [0.5, 0.5]
    assert points[998].tolist() == [0.5, 1 / 3] and points[999].tolist() == [1.0, 0.5]


def test_scores_are_scaled_by_their_true_ends():
    scaled, remark = matching.scale_scores([np.array([3.0, 2.0]), np.empty(0), np.array([5.0])])
    assert [part.tolist() for part in scaled] == [[1 / 3, 0.0], [], [1.0]] and remark is None
    scaled, remark = matching.scale_scores([np.array([2.0]), np.array([2.0])])
    assert [part.tolist() for part in scaled] == [[1.0], [1.0]] and remark == "all scores are 2, so all count as 1"
    with pytest.raises(InputError, match="from -1e[+]308 to 1e[+]308 cannot be scaled"):
        matching.scale_scores([np.array([-1e308, 1e308])])


def test_thresholds_are_compared_as_floats():
    """A score that equals a threshold reaches it, the float just below does not."""
    thresholds = matching.THRESHOLDS
    assert len(thresholds) == 1000 and thresholds[-1] == 0 and thresholds[0] == 1 - 1 / 1000
    images = [(np.array([[0, 0, 9, 9]]), {subset: np.array([0]) for subset in SUBSETS})]
    for scores, expected in ((thresholds, np.arange(1000)), (np.nextafter(thresholds, -1), np.arange(1, 1001))):
        for step in range(1000):
            matches = matching.match(truth_of(images), [np.array([[0, 0, 9, 9, 0]])], [scores[step:step + 1]])
            assert matches.first_bin[0] == expected[step]
