# SPDX-License-Identifier: Apache-2.0
"""How sure an average precision is, and the difference of two: the bootstrap over images.

    a, b = (replicate_ap(scored.images, scored.matches, [0.5], draw_weights(len(scored.images), 1000, seed=0))
            for scored in (scored_a, scored_b))
    a[0.5]["hard"].low, a[0.5]["hard"].high                     # 95 % interval
    compare(a[0.5]["hard"].ap, b[0.5]["hard"].ap)

A replicate is a set of as many images, drawn with replacement: every image has a weight, 0, 1, 2, ... Its AP is the
protocol's with the rows and faces of each image counted that many times; scores keep the scale of the whole set. Runs
over the same images get the same weights, so that their difference is paired.

The interval is the bootstrap-t (Efron and Tibshirani 1993, chapter 12): a few images hold most of the faces, and
quantiles of AP itself hold the true AP in 91 % of cases on WIDER's hard subset, quantiles of AP's distance in standard
errors in 93 %. The standard error follows from the derivative of AP by the weight of each image.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dependency.evaluate.ground_truth import SUBSETS, TruthImage
from dependency.evaluate.matching import THRESHOLDS, Matches, face_flags, outcomes

TAILS = (0.025, 0.975)              # of a 95 % interval
MIN_REPLICATES = 100
BLOCK = 250                         # replicates at a time: their curves fit into the cache


class Replicates(NamedTuple):
    """ap: [R] float64, NaN where a replicate has no face; low, high: the 95 % interval of the AP of the set."""
    ap: np.ndarray
    low: float
    high: float


class Difference(NamedTuple):
    """a - b: its 95 % interval, and the probability that a is better; a tie counts half."""
    low: float
    high: float
    probability: float


@lru_cache(maxsize=1)
def draw_weights(images: int, replicates: int, seed: int = 0) -> np.ndarray:
    """Draw [replicates, images] float32 whole numbers: how often each replicate contains each image."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(images, size=(replicates, images)) + np.arange(replicates)[:, None] * images
    weights = np.bincount(draws.ravel(), minlength=replicates * images).astype(np.float32)
    return weights.reshape(replicates, images)


def replicate_ap(images: Sequence[TruthImage], matches: Matches, ious: Sequence[float],
                 weights: np.ndarray) -> dict[float, dict[str, Replicates]]:
    """Compute the AP of every replicate, and the interval.

    Args:
        images: the ground truth of the scored images.
        matches: their rows.
        ious: IoU thresholds.
        weights: [R, I], see `draw_weights`.

    Returns:
        IoU -> subset -> replicates.
    """
    whole_set = np.ones((1, len(images)), np.float32)
    blocks = [whole_set, *(weights[start:start + BLOCK] for start in range(0, len(weights), BLOCK))]
    result: dict[float, dict[str, Replicates]] = {iou: {} for iou in ious}
    for subset in SUBSETS:
        counted = face_flags(images, subset)
        faces = np.array([len(image.subsets[subset]) for image in images], np.float32)
        for iou in ious:
            if not counted.any():
                result[iou][subset] = Replicates(np.full(len(weights), np.nan), np.nan, np.nan)
                continue
            proposals, found = (_histogram(matches, used, len(images)) for used in outcomes(matches, iou, counted))
            ap, error = np.concatenate([_areas(block, found, proposals, faces) for block in blocks], axis=1)
            result[iou][subset] = Replicates(ap[1:], *_interval(ap, error))
    return result


def compare(a: np.ndarray, b: np.ndarray) -> Difference:
    """Compare the replicates [R] of two runs over the same images, drawn with the same weights."""
    difference = (a - b)[np.isfinite(a - b)]
    if not len(difference):
        return Difference(np.nan, np.nan, np.nan)
    low, high = np.quantile(difference, TAILS)
    return Difference(float(low), float(high), float(np.mean((difference > 0) + 0.5 * (difference == 0))))


def _interval(ap: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Compute the 95 % interval from AP and standard error of the whole set, which stand first, and the replicates."""
    if error[0] == 0:
        return float(ap[0]), float(ap[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = (ap[1:] - ap[0]) / error[1:]
    # Of few images a replicate may have no error, and its distance no end.
    low, high = np.quantile(distance[~np.isnan(distance)], TAILS, method="nearest")
    return max(0.0, float(ap[0] - high * error[0])), min(1.0, float(ap[0] - low * error[0]))


def _histogram(matches: Matches, used: np.ndarray, images: int) -> np.ndarray:
    """Count the used rows by image and first score threshold, as [I, 1000] float32."""
    bins = len(THRESHOLDS) + 1
    cells = np.bincount(matches.image[used] * bins + matches.first_bin[used], minlength=images * bins)
    return cells.reshape(images, bins)[:, :-1].astype(np.float32)


def _areas(weights: np.ndarray, found: np.ndarray, proposals: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Compute AP and its standard error, [2, B] float64.

    Args:
        weights: [B, I] of the images.
        found, proposals: [I, 1000] rows that find a face, and rows that count, by image and first threshold.
        faces: [I].
    """
    hits, total = weights @ found, (weights @ faces).astype(np.float64)
    right, rows = (np.cumsum(counts, axis=1, dtype=np.float64) for counts in (hits, weights @ proposals))
    precision = np.divide(right, rows, out=np.zeros_like(right), where=rows > 0)
    envelope = _from_right(np.maximum, precision)
    # The envelope is the precision at a threshold further down, the next peak. AP's derivative by an image's weight:
    # its own hits raise recall, its hits and rows down to a peak change the precision there, its faces lower recall.
    until_peak = np.where(precision >= envelope, right, 0)
    before = np.zeros_like(right)
    np.maximum.accumulate(until_peak[:, :-1], axis=1, out=before[:, 1:])
    share = np.divide(until_peak - before, rows, out=np.zeros_like(right), where=until_peak > before)
    of_found = envelope + _from_right(np.add, share)
    of_rows = _from_right(np.add, share * envelope)
    with np.errstate(invalid="ignore", divide="ignore"):
        ap = np.einsum("rt,rt->r", hits, envelope) / total
        slope = of_found.astype(np.float32) @ found.T - of_rows.astype(np.float32) @ proposals.T
        slope = (slope - ap[:, None].astype(np.float32) * faces) / total[:, None].astype(np.float32)
    return np.stack([ap, np.sqrt(np.einsum("ri,ri->r", weights * slope, slope))])


def _from_right(add: np.ufunc, values: np.ndarray) -> np.ndarray:
    """Accumulate [B, T] from the last threshold to the first."""
    return add.accumulate(values[:, ::-1], axis=1)[:, ::-1]
