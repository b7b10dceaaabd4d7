# SPDX-License-Identifier: Apache-2.0
"""Calibration, the table of scores, and the score to deploy."""
import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.report.calibration import (
    calibrate,
    find_scores,
    format_score,
    list_scores,
    parse_want,
)
from dependency.evaluate.report.outcomes import find_outcomes
from tests.dependency.scored_sets import scored_set


def simulated(images, rng, power=1.0):
    """Outcomes of scores that are the probability of a face, raised to `power`; twenty rows an image, a face each."""
    grid = np.column_stack([np.arange(20) * 100, np.zeros(20), np.full((20, 2), 40)])
    made = []
    for _ in range(images):
        probability = np.sort(rng.random(20))[::-1]
        right = rng.random(20) < probability
        rows = np.column_stack([grid + np.where(right, 0, 1000)[:, None] * [0, 1, 0, 0], probability ** power])
        made.append(("0--E", grid, range(20), rows))
    return find_outcomes(scored_set(made)[1], 0.5)


def find_score(outcomes, *want):
    return find_scores(outcomes, [want])[0]


@pytest.fixture(scope="module")
def calibrated():
    return simulated(2500, np.random.default_rng(0))


def test_calibrated_scores_have_no_error(calibrated):
    found = calibrate(calibrated)
    assert found["error"] < 0.01 and len(found["bins"]) == 10
    assert sum(each["detections"] for each in found["bins"]) == 50_000
    assert all(each["low"] <= each["score"] <= each["high"] for each in found["bins"])
    assert calibrate(simulated(100, np.random.default_rng(0), power=3))["error"] > 0.2


def test_scores_beyond_one_are_no_probabilities():
    _, scored = scored_set([("0--E", [[0, 0, 40, 40]], [0], [[0, 0, 40, 40, 90], [200, 0, 40, 40, 10]])])
    outcomes = find_outcomes(scored, 0.5)
    assert calibrate(outcomes) is None
    scores = list_scores(outcomes)
    assert len(scores) == 100 and scores[0]["precision"] == 0.5 and scores[-1]["precision"] == 1


def test_the_score_to_deploy(calibrated):
    found = find_score(calibrated, "precision", 0.9)
    # From a score s on, half of 1 + s are right.
    assert found["score"] == pytest.approx(0.8, abs=0.03) and found["precision"] >= 0.9
    assert found["interval"][0] < 0.9 < found["interval"][1] and "0.9 " in format_score(found).replace(":", " ")
    recall = find_score(calibrated, "recall", 0.25)
    assert recall["recall"] == pytest.approx(0.25, abs=0.001)
    none = find_score(calibrated, "recall", 0.9)
    assert none["score"] is None and none["best"] == pytest.approx(0.5, abs=0.02) and "none" in format_score(none)


@pytest.mark.parametrize("want", [("precision", 0.9), ("recall", 0.3)])
def test_the_promise_holds_on_the_other_half(want):
    """The score that one half gives keeps on the other half what its interval says, in 95 % of cases."""
    kept = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        one, other = simulated(50, rng), simulated(50, rng)
        found = find_score(one, *want)
        right = np.count_nonzero(other.hit & (other.rows[:, 4] >= found["score"]))
        value = right / (np.count_nonzero(other.rows[:, 4] >= found["score"]) if want[0] == "precision" else 1000)
        kept.append(found["interval"][0] <= value <= found["interval"][1])
    assert np.mean(kept) >= 0.83         # of 24; under 1 % of such tests find less than 20


def test_a_score_that_is_sure_keeps_what_is_wanted():
    """Its interval begins at what is wanted; on the other half it is kept, and its score has few digits."""
    kept = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        one, other = simulated(100, rng), simulated(100, rng)
        found = find_score(one, "precision", 0.9)
        sure = found["sure"]
        if sure is None:
            continue
        assert sure["score"] > found["score"] and sure["recall"] < found["recall"]
        assert sure["interval"][0] >= 0.9 and sure["precision"] >= 0.9 <= found["precision"]
        assert all(each["score"] == round(each["score"], 3) for each in (found, sure))
        above = other.rows[:, 4] >= sure["score"]
        kept.append(np.count_nonzero(other.hit & above) / np.count_nonzero(above) >= 0.9)
        assert "sure to keep 0.9" in format_score(found)
    assert len(kept) >= 9 and np.mean(kept) >= 0.8      # expected are 97.5 %
    found = find_score(simulated(3, np.random.default_rng(0)), "precision", 0.95)
    assert found["sure"] is None, "three images make sure of nothing"


@pytest.mark.parametrize("text", ["precision", "precision=2", "recall=x", "f1=0.5", "recall=0", "precision=nan"])
def test_a_wish_that_is_not_understood(text):
    with pytest.raises(InputError, match="--want"):
        parse_want(text)


def test_a_wish():
    assert parse_want("precision=0.95") == ("precision", 0.95) and parse_want("recall=1") == ("recall", 1)
