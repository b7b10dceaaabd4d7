# SPDX-License-Identifier: Apache-2.0
"""Intervals of AP: replicates are the protocol's AP of repeated images, and what is said of two runs is right."""
from statistics import NormalDist

import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.bootstrap import _areas, _histogram, compare, draw_weights, replicate_ap
from dependency.evaluate.eval import evaluate
from dependency.evaluate.ground_truth import SUBSETS, GroundTruth, TruthImage
from dependency.evaluate.matching import Matches, average_precision, curve, face_flags, match, outcomes
from dependency.evaluate.results import format_report, report_to_dict
from tests.dependency.scored_sets import random_images, scored_set


def test_a_replicate_is_the_protocol_on_repeated_images():
    rng = np.random.default_rng(0)
    for _ in range(20):
        _, scored = scored_set(random_images(rng))
        weights = draw_weights(len(scored.images), 5, seed=int(rng.integers(1000)))
        assert weights.sum(axis=1).tolist() == [len(scored.images)] * 5
        replicates = replicate_ap(scored.images, scored.matches, [0.5, 0.4], weights)
        for number, counts in enumerate(weights.astype(int)):
            images, rows, scores = ([part for part, count in zip(parts, counts) for _ in range(count)]
                                    for parts in (scored.images, scored.rows, scored.scores))
            matches = match(images, rows, scores)
            for iou, of_iou in replicates.items():
                for subset, values in of_iou.items():
                    expected = average_precision(curve(matches, iou, face_flags(images, subset)))
                    assert values.ap[number] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_the_standard_error_is_that_of_the_derivative():
    """AP of images with weights 1 + h and 1 - h gives the derivative, of which the interval is made."""
    rng = np.random.default_rng(3)
    images, (matches, _) = simulate(rng, 40, (0.7, 0.7))
    proposals, found = (_histogram(matches, used, 40) for used in outcomes(matches, 0.5, face_flags(images, "hard")))
    faces, step = np.full(40, 10, np.float32), 1e-3
    both = [_areas(np.float32(1 + sign * step * np.eye(40)), found, proposals, faces)[0] for sign in (1, -1)]
    slope = (both[0] - both[1]) / (2 * step)
    error = _areas(np.ones((1, 40), np.float32), found, proposals, faces)[1, 0]
    assert error == pytest.approx(np.sqrt(np.sum(slope ** 2)), rel=0.03)


def test_comparison():
    assert np.isnan(compare(np.full(9, np.nan), np.zeros(9))).all()
    values = np.random.default_rng(0).random(500)
    assert compare(values, values.copy()) == (0, 0, 0.5)
    assert compare(values + 1, values) == pytest.approx((1, 1, 1))
    assert compare(values, values[::-1]).probability == pytest.approx(0.5)


def test_a_report_with_intervals():
    report, scored = scored_set(random_images(np.random.default_rng(5)))
    truth = GroundTruth(scored.images, "gt")
    rows = {image.path: np.column_stack([of_image[:, :2], of_image[:, :2] + of_image[:, 2:4], of_image[:, 4]])
            for image, of_image in zip(scored.images, scored.rows)}
    plain, first, again, other = (evaluate(rows, truth, [0.5], bootstrap=number, seed=seed, check_layout=False)
                                  for number, seed in ((0, 0), (200, 1), (200, 1), (200, 2)))
    assert plain.ap == first.ap == report.ap and plain.intervals() == {} and "interval" not in report_to_dict(plain)
    low, high = first.intervals()[0.5]["hard"]
    assert 0 <= low < report.ap[0.5]["hard"] < high <= 1 and first.intervals() == again.intervals() != other.intervals()
    assert report_to_dict(first)["interval"]["0.5"]["hard"] == [low, high]
    assert report_to_dict(first)["protocol"]["bootstrap"] == 200
    assert "interval" in format_report(first) and "interval" not in format_report(plain)
    with pytest.raises(InputError, match="100"):
        evaluate(rows, truth, bootstrap=10)


def simulate(rng, images, recall):
    """Ten faces an image, as hard as the image is; two runs find a share of them, and have some false alarms."""
    hardness = rng.uniform(-0.2, 0.2, images)
    of_run = []
    for share in recall:
        hit = rng.random((images, 10)) < np.clip(share + hardness[:, None], 0, 1)
        image, face = np.nonzero(hit)
        false = np.flatnonzero(rng.random(images) < 0.5)
        score = np.concatenate([rng.beta(4, 2, len(image)), rng.beta(2, 4, len(false))])
        image, face = np.concatenate([image, false]), np.concatenate([image * 10 + face, false * 10])
        overlap = np.where(np.arange(len(image)) < hit.sum(), 1.0, 0.0)
        of_run.append(Matches(np.arange(len(image)), image, face, overlap, (1000 * (1 - score)).astype(int)))
    kept = {"easy": np.empty(0, int), "medium": np.empty(0, int), "hard": np.arange(10)}
    return [TruthImage("e", str(number), np.zeros((10, 4)), kept) for number in range(images)], of_run


@pytest.mark.parametrize("recall", [(0.70, 0.70), (0.73, 0.70)])
def test_stated_probabilities_are_right(recall):
    rng = np.random.default_rng(4)

    def ap(images, matches):
        return average_precision(curve(matches, 0.5, face_flags(images, "hard")))

    images, runs = simulate(rng, 20_000, recall)
    known = ap(images, runs[0]) - ap(images, runs[1]) if recall[0] > recall[1] else 0.0
    estimates, stated, holds = [], [], []
    for seed in range(50):
        images, runs = simulate(rng, 60, recall)
        weights = draw_weights(60, 200, seed)
        samples = [replicate_ap(images, matches, [0.5], weights)[0.5]["hard"].ap for matches in runs]
        difference = compare(*samples)
        estimates.append(ap(images, runs[0]) - ap(images, runs[1]))
        stated.append(difference.probability)
        holds.append(difference.low <= known <= difference.high)
    assert np.mean(holds) > 0.85                    # 95 %, of 50 samples
    # A normal estimate around a known difference: the probability that is stated has this mean.
    expected = NormalDist().cdf(known / (np.std(estimates) * 2 ** 0.5))
    assert np.mean(stated) == pytest.approx(expected, abs=0.1)
    if not known:                                   # then it is uniform
        assert np.mean(np.array(stated) < 0.25) == pytest.approx(0.25, abs=0.15)


def test_subsets_without_a_face_are_not_a_number():
    images, runs = simulate(np.random.default_rng(0), 5, (0.5, 0.5))
    replicates = replicate_ap(images, runs[0], [0.5], draw_weights(5, 100))[0.5]
    assert list(replicates) == list(SUBSETS) and np.isnan(replicates["easy"].ap).all()
    assert np.isnan(replicates["easy"].low) and np.isfinite(replicates["hard"].ap).all()
