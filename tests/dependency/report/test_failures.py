# SPDX-License-Identifier: Apache-2.0
"""Missed faces, false alarms and worst images of hand-made sets."""
import pytest

from dependency.evaluate.report.analysis import analyse
from tests.dependency.scored_sets import ANCHOR, ORDINARY, flags_for, run_of, scored_set


@pytest.mark.parametrize("boxes, rows, why, overlap, score", [
    ([[0, 0, 40, 40]], [], "no box", 0, None),
    ([[0, 0, 40, 40]], [[90, 90, 40, 40, 0.9]], "no box", 0, None),
    ([[0, 0, 40, 40]], [[38, 0, 40, 40, 0.9]], "no box", 0.038, 0.9),
    ([[0, 0, 40, 40]], [[20, 0, 40, 40, 0.9], [25, 0, 40, 40, 0.8]], "box too loose", 0.344, 0.9),
    ([[0, 0, 40, 40]], [[25, 0, 40, 40, 0.9], [20, 0, 40, 40, 0.8]], "box too loose", 0.344, 0.8),
    ([[0, 0, 40, 40]], [[20, 0, 40, 40, 0.9], [0, 0, 40, 40, 0.001]], "score too low", 1, 0.001),
    ([[0, 0, 40, 40]], [[4, 0, 40, 40, 0.002], [0, 0, 40, 40, 0.001]], "score too low", 0.822, 0.002),
    ([[0, 0, 40, 40], [4, 0, 40, 40]], [[4, 0, 40, 40, 0.9]], "box on a neighbour", 0.822, 0.9),
    ([[0, 0, 40, 40], [30, 0, 40, 40]], [[30, 0, 40, 40, 0.9]], "no box", 0, None),
])
def test_why_a_face_is_missed(boxes, rows, why, overlap, score):
    # Many false alarms under 0.5 keep the operating point above them.
    noise = [[600 + 30 * k, 600, 20, 20, 0.4] for k in range(20)]
    run = run_of([ANCHOR, ("1--E", boxes, range(len(boxes)), rows + noise)])
    assert run["operating_point"]["score"] > 0.4
    missed = [miss for miss in run["misses"] if miss["image"] == "1--E/1"]
    assert len(missed) == 1 and missed[0]["box"] == [0, 0, 40, 40] and missed[0]["height"] == 40
    assert (missed[0]["why"], missed[0]["best_overlap"], missed[0]["best_score"]) == (why, overlap, score)
    assert missed[0]["flags"] is None
    assert missed[0]["best_box"] == next((row[:4] for row in rows if row[4] == score), None)


def test_kinds_of_false_alarms():
    rows = [[0, 0, 40, 40, 0.9], [1, 0, 40, 40, 0.8], [20, 0, 40, 40, 0.85], [39, 39, 40, 40, 0.95],
            [100, 0, 40, 40, 0.99], [200, 200, 20, 20, 0.1], [300, 0, 40, 40, 0.15], [400, 0, 40, 40, 0.15],
            [200, 200, 20, 20, 0.01]]
    run = run_of([("0--E", [[0, 0, 40, 40], [100, 0, 40, 40], [300, 0, 40, 40], [400, 0, 40, 40]], [0, 2, 3],
                   sorted(rows, key=lambda row: -row[4]))])
    alarms = [(alarm["kind"], alarm["score"]) for alarm in run["false_alarms"]]
    # Those under the operating score are none.
    assert alarms == [("background", 0.95), ("loose box", 0.85), ("duplicate", 0.8)]
    assert run["counts"]["false_alarms"] == {"background": 1, "loose box": 1, "duplicate": 1}
    assert [(alarm["face_is"], alarm["face_box"]) for alarm in run["false_alarms"]] == [
        ("found", [0, 0, 40, 40])] * 3
    assert run["false_alarms"][1]["overlap"] == 0.344 and run["false_alarms"][1]["box"] == [20, 0, 40, 40]


def test_misses_are_ranked_by_height_and_clearness():
    heights = [20, 100, 30, 200]
    boxes = [[300 * k, 0, height, height] for k, height in enumerate(heights)]
    images = [("0--E", boxes, range(4), []), ANCHOR]
    run = run_of(images)
    assert [miss["height"] for miss in run["misses"]] == [200, 100, 30, 20]
    report, scored = scored_set(images)
    levels = [ORDINARY, [1, 0, 0, 0, 1, 0], ORDINARY, [2, 0, 0, 0, 2, 1]]
    run = analyse(report, scored, flags_for(scored, {0: levels}))["runs"][0]
    assert [miss["height"] for miss in run["misses"]] == [30, 100, 20, 200]
    assert run["misses"][3]["flags"] == {"blur": "heavy blur", "occlusion": "heavy occlusion", "pose": "atypical pose"}
    assert run["misses"][0]["flags"] == {}
