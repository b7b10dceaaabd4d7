# SPDX-License-Identifier: Apache-2.0
"""The analysis as a whole: its keys, several runs, the JSON file, the published predictions."""
import json

import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.eval import score_set
from dependency.evaluate.report.analysis import analyse, flat_numbers, merge, write_analysis
from dependency.evaluate.report.flags import LEVELS, find_flags
from dependency.evaluate.results import thin_curve
from tests.dependency.scored_sets import ANCHOR, flags_for, random_images, run_of, scored_set


def test_shape_and_sums():
    report, scored = scored_set([*random_images(np.random.default_rng(1)), ANCHOR])
    analysis = analyse(report, scored, flags_for(scored, {}), name="mine", landmarks={"nme": 0.03})
    json.dumps(analysis, allow_nan=False)
    assert list(analysis) == ["version", "runs"] and analysis["version"] == 2
    run = analysis["runs"][0]
    assert list(run) == ["name", "report", "iou", "settings", "operating_point", "error_budget", "calibration",
                         "scores", "deploy", "groups", "misses", "false_alarms", "worst_images", "counts", "landmarks",
                         "summary"]
    assert (run["name"], run["landmarks"]) == ("mine", {"nme": 0.03})
    point = run["operating_point"]
    counts = run["counts"]
    assert sum(counts["misses"].values()) == point["faces"] - point["found"]
    wrong = sum(counts["false_alarms"].values())
    assert wrong == len(run["false_alarms"]) and wrong / run["report"]["images"] == point["false_alarms_per_image"]
    assert all(alarm["score"] >= point["score"] for alarm in run["false_alarms"])
    assert counts["worst_images"] == len(run["worst_images"])
    for family, groups in run["groups"].items():
        assert sum(group["faces"] for group in groups) == point["faces"], family
        assert sum(group["missed"] for group in groups) == point["faces"] - point["found"], family
        assert sum(group["share"] for group in groups) == pytest.approx(1)
    assert list(run["groups"]) == ["event", "height", *LEVELS]
    assert list(run_of([ANCHOR])["groups"]) == ["event", "height"]
    assert run_of([ANCHOR])["name"] == "run" and run_of([ANCHOR])["landmarks"] is None


def test_merge_and_write(tmp_path):
    report, scored = scored_set([ANCHOR])
    first, second = (analyse(report, scored, name=name) for name in ("a", "b"))
    merged = merge([first, second])
    assert [run["name"] for run in merged["runs"]] == ["a", "b"]
    with pytest.raises(InputError, match="'a'"):
        merge([first, first])
    write_analysis(tmp_path / "new" / "analysis.json", merged)
    assert json.loads((tmp_path / "new" / "analysis.json").read_text()) == merged


def test_what_is_wanted_is_marked_and_in_the_flat_table():
    report, scored = scored_set([ANCHOR])
    analysis = analyse(report, scored, want=("recall", 0.75), settings={"nms": "soft"})
    (run,) = analysis["runs"]
    assert [(each["want"], each["value"], each["asked"]) for each in run["deploy"]] == [
        ("precision", 0.9, False), ("precision", 0.95, False), ("precision", 0.99, False), ("recall", 0.75, True)]
    assert run["settings"] == {"nms": "soft"}
    numbers = flat_numbers(analysis)
    assert all(isinstance(value, (int, float)) for value in numbers.values())
    assert numbers["deploy/recall=0.75/score"] == 1 and numbers["deploy/recall=0.75/interval/low"] == 1
    repeated = analyse(report, scored, want=("precision", 0.95))["runs"][0]["deploy"]
    assert [each["value"] for each in repeated if each["asked"]] == [0.95] and len(repeated) == 3


def test_curves_are_thinned_and_look_the_same():
    t = np.linspace(0, 1, 1000)
    recall, precision = 0.9 * t ** 0.3, 1 - 0.8 * t ** 4 + 0.01 * np.sin(40 * t)
    points = np.column_stack([recall, precision])
    thin = thin_curve(points, 200)
    assert 150 < len(thin) <= 200 and np.array_equal(thin[[0, -1]], points[[0, -1]])
    # A plot of 500 pixels: nowhere more than a pixel beside the line.
    assert np.abs(np.interp(recall, thin[:, 0], thin[:, 1]) - precision).max() < 1 / 500
    assert thin_curve(np.ones((1000, 2)), 200).tolist() == [[1, 1]]


def test_published_predictions(published, tmp_path):
    """The released RetinaFace MobileNet-0.25 on all of WIDER val."""
    pred, gt = published
    report, scored = score_set(pred, gt)
    analysis = analyse(report, scored, find_flags(gt))
    write_analysis(tmp_path / "analysis.json", analysis)
    assert (tmp_path / "analysis.json").stat().st_size < 1 << 20
    run = analysis["runs"][0]
    point, groups = run["operating_point"], run["groups"]
    assert report.ap[0.5]["hard"] == pytest.approx(0.7382, abs=5e-4)
    assert (point["faces"], point["found"]) == (31958, 20897)
    for family in groups.values():
        assert sum(group["faces"] for group in family) == 31958
        assert sum(group["missed"] for group in family) == point["faces"] - point["found"]
    recall = [group["recall"] for group in groups["height"]]
    assert recall == sorted(recall), "larger faces are found more often"
    assert len(groups["event"]) == 61
    assert [len(run[key]) for key in ("misses", "false_alarms", "worst_images")] == [100, 100, 24]
