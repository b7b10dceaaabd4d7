# SPDX-License-Identifier: Apache-2.0
"""How sure an average precision is, and the difference of two: the bootstrap over images.

    replicates = replicate_ap(scored, [0.5], draw_weights(len(scored.images), 1000, seed=0))
    interval(replicates[0.5]["hard"])                           # (low, high), 95 %
    compare(replicates_a[0.5]["hard"], replicates_b[0.5]["hard"])

A replicate is a set of as many images, drawn with replacement: every image has a weight, 0, 1, 2, ... Its AP is the
protocol's with the rows and faces of each image counted that many times; scores keep the scale of the whole set. Runs
over the same images get the same weights, so that their difference is paired.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dependency.evaluate.ground_truth import SUBSETS, TruthImage
from dependency.evaluate.matching import THRESHOLDS, Matches, face_flags, outcomes

LEVEL = 0.95
MIN_REPLICATES = 100
BLOCK = 250                         # replicates at a time: their curves fit into the cache


class Difference(NamedTuple):
    """a - b: its 95 % interval, and the probability that a is better; a tie counts half."""
    low: float
    high: float
    probability: float


@lru_cache(maxsize=1)
def draw_weights(images: int, replicates: int, seed: int = 0) -> np.ndarray:
    """Draw [replicates, images] float32 whole numbers: how often each image stands in each replicate."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(images, size=(replicates, images)) + np.arange(replicates)[:, None] * images
    weights = np.bincount(draws.ravel(), minlength=replicates * images).astype(np.float32)
    return weights.reshape(replicates, images)


def replicate_ap(images: Sequence[TruthImage], matches: Matches, ious: Sequence[float],
                 weights: np.ndarray) -> dict[float, dict[str, np.ndarray]]:
    """Compute the AP of every replicate.

    Args:
        images: the ground truth of the scored images.
        matches: their rows.
        ious: IoU thresholds.
        weights: [R, I], see `draw_weights`.

    Returns:
        IoU -> subset -> [R] float64; NaN where a replicate has no face.
    """
    every = _histogram(matches, np.ones(len(matches.row), bool), len(images))
    proposals_of_all = weights @ every
    result: dict[float, dict[str, np.ndarray]] = {iou: {} for iou in ious}
    for subset in SUBSETS:
        counted = face_flags(images, subset)
        if not counted.any():
            for iou in ious:
                result[iou][subset] = np.full(len(weights), np.nan)
            continue
        faces = weights @ np.array([len(image.subsets[subset]) for image in images], np.float32)
        for iou in ious:
            proposal, hit = outcomes(matches, iou, counted)
            found = weights @ _histogram(matches, hit, len(images))
            proposals = proposals_of_all - weights @ _histogram(matches, ~proposal, len(images))
            result[iou][subset] = np.concatenate([
                _areas(found[start:start + BLOCK], proposals[start:start + BLOCK], faces[start:start + BLOCK])
                for start in range(0, len(weights), BLOCK)])
    return result


def interval(replicates: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an AP, NaN where no replicate has one."""
    known = replicates[np.isfinite(replicates)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def compare(a: np.ndarray, b: np.ndarray) -> Difference:
    """Compare the replicates of two runs over the same images, drawn with the same weights."""
    difference = (a - b)[np.isfinite(a - b)]
    probability = np.mean((difference > 0) + 0.5 * (difference == 0)) if len(difference) else np.nan
    return Difference(*interval(difference), float(probability))


def _histogram(matches: Matches, used: np.ndarray, images: int) -> np.ndarray:
    """Count the used rows by image and first score threshold, as [I, 1000] float32."""
    bins = len(THRESHOLDS) + 1
    cells = np.bincount(matches.image[used] * bins + matches.first_bin[used], minlength=images * bins)
    return cells.reshape(images, bins)[:, :-1].astype(np.float32)


def _areas(found: np.ndarray, proposals: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Compute the AP of replicates: [R, 1000] rows that find a face and rows at each threshold, and [R] faces."""
    hits = np.cumsum(found, axis=1, dtype=np.float64)
    rows = np.cumsum(proposals, axis=1, dtype=np.float64)
    precision = np.divide(hits, rows, out=np.zeros_like(hits), where=rows > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(invalid="ignore"):
        return np.einsum("rt,rt->r", found, envelope) / faces
