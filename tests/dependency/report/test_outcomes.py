# SPDX-License-Identifier: Apache-2.0
"""The operating point, and what is found at it."""
import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.report.outcomes import find_outcomes
from dependency.evaluate.report.text import format_analysis
from tests.dependency.scored_sets import random_images, run_of, scored_set


def test_operating_point_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(6)
    for _ in range(30):
        images = random_images(rng)
        report, scored = scored_set(images)
        if not report.faces["hard"]:
            continue
        recall, precision = report.curves[0.5]["hard"].T
        point = find_outcomes(scored, 0.5).point
        best = max(2 * r * p / (r + p) if r + p else 0 for r, p in zip(recall, precision))
        assert point["f1"] == pytest.approx(best)
        assert point["recall"] == point["found"] / point["faces"]
        if point["found"]:
            assert 2 / (1 / point["recall"] + 1 / point["precision"]) == pytest.approx(best)


def test_score_of_the_operating_point_gives_the_same_rows():
    rows = [[[0, 0, 30, 30, 7.5], [50, 0, 30, 30, 3.25], [300, 300, 9, 9, 3.125]], [[400, 0, 9, 9, -2]]]
    images = [("0--E", [[0, 0, 30, 30], [50, 0, 30, 30]], [0, 1], rows[0]), ("0--E", [[0, 0, 9, 9]], [0], rows[1])]
    outcomes = find_outcomes(scored_set(images)[1], 0.5)
    assert outcomes.point == {"score": 3.25, "precision": 1, "recall": 2 / 3, "f1": pytest.approx(0.8),
                           "false_alarms_per_image": 0, "found": 2, "faces": 3}
    assert (outcomes.rows[:, 4] >= outcomes.point["score"]).tolist() == outcomes.above.tolist()


def test_no_detection_and_no_hit():
    run = run_of([("0--E", [[0, 0, 40, 40]], [0], [])])
    assert run["operating_point"] == {"score": None, "precision": 0, "recall": 0, "f1": 0, "false_alarms_per_image": 0,
                                      "found": 0, "faces": 1}
    assert run["misses"][0]["why"] == "no box"
    assert run["groups"]["height"] == [{"name": "32-64 px", "faces": 1, "share": 1, "ap": 0, "recall": 0, "missed": 1,
                                         "interval": [0, 0], "least": False}]
    run = run_of([("0--E", [[0, 0, 40, 40]], [0], [[90, 90, 5, 5, 0.5], [20, 0, 40, 40, 0.25]])])
    assert run["operating_point"]["score"] == 0.25 and run["operating_point"]["false_alarms_per_image"] == 2
    assert run["misses"][0]["why"] == "box too loose"
    format_analysis({"version": 2, "runs": [run]})


def test_no_face_counts():
    with pytest.raises(InputError):
        run_of([("0--E", [[0, 0, 40, 40]], [], [])])
