# SPDX-License-Identifier: Apache-2.0
"""What a score means: how often it is right, what is found and falsely found from it on, and which one to deploy.

    calibrate(outcomes)["error"]                                # expected calibration error
    list_scores(outcomes)                                       # score -> precision, recall, false alarms an image
    find_scores(outcomes, [parse_want("precision=0.95")])       # the score to deploy, and what it keeps

Scores are those of the prediction files, not scaled. As in the analysis, only faces of the hard subset count.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.option_rules import Rule
from dependency.evaluate.bootstrap import TAILS, draw_weights
from dependency.evaluate.report.outcomes import Outcomes

BINS = 10                       # of the scores 0..1
SCORES = 100                    # of `list_scores`
REPLICATES = 1000
GRID = 500                      # scores among which a replicate chooses
OTHERS = 10                     # replicates on which its score is tried
STRICTER = 16                   # stricter choices that are tried to be sure of what is wanted
MAX_LOSS, ROUNDINGS = 0.01, 10  # of recall, for a score with fewer digits; how many such scores are tried
WANTS = ("precision", "recall")


def calibrate(outcomes: Outcomes) -> dict[str, Any] | None:
    """Compare scores with the share of their detections that find a face; None where they are not all in 0..1.

    Returns:
        {"error": the expected calibration error, "bins": [{"low", "high", "detections", "score": mean, "right": share
        that finds a face}]}, empty bins left out.
    """
    score, right = outcomes.rows[outcomes.proposal, 4], outcomes.hit[outcomes.proposal]
    if not len(score) or score.min() < 0 or score.max() > 1:
        return None
    cell = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    total, scores, found = (np.bincount(cell, weights, BINS) for weights in (None, score, right))
    bins = [{"low": index / BINS, "high": (index + 1) / BINS, "detections": int(total[index]),
             "score": scores[index] / total[index], "right": found[index] / total[index]}
            for index in np.flatnonzero(total)]
    return {"error": float(np.abs(scores - found).sum() / len(score)), "bins": bins}


def list_scores(outcomes: Outcomes) -> list[dict[str, float]]:
    """List precision, recall, F1 and false alarms an image from 100 scores on, in even steps of their range."""
    score = outcomes.rows[:, 4]
    if not len(score):
        return []
    low, high = (0, 1) if score.min() >= 0 and score.max() <= 1 else (score.min(), score.max())
    return [keeps(outcomes, float(value)) for value in np.linspace(low, high, SCORES, endpoint=False).round(6)]


def parse_want(text: str) -> tuple[str, float]:
    """Parse `precision=0.95` or `recall=0.8`.

    Raises:
        InputError: anything else.
    """
    WANT.require("--want", text)
    name, _, value = text.partition("=")
    return name, float(value)


def is_want(text: str) -> bool:
    """Check whether `parse_want` takes a text."""
    name, _, value = text.partition("=")
    try:
        return name in WANTS and 0 < float(value) <= 1
    except ValueError:
        return False


WANT = Rule(str, test=is_want, words="precision=P or recall=R with a number above 0, up to 1, such as precision=0.95")


def find_scores(outcomes: Outcomes, wants: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Find the scores to deploy: the lowest one with a wanted precision, or the highest one with a wanted recall.

    The interval is that of the wanted value on as many other images of this kind, 95 %. A score chosen on some images
    keeps there what it should; on others it keeps less or more, since the choice followed the first and the others
    differ. So every replicate of the images chooses its own score, and the next ones say what this score keeps.

    Returns:
        for each want {"want": name, "value": wanted, "score", "precision", "recall", "f1", "false_alarms_per_image",
        "interval": [low, high], "sure"}; only `want`, `value`, `best` and a `score` of None where no score keeps it.
        `sure` has the same keys from `score` on, for the least strict of the scores tried whose interval begins at what
        is wanted or above; None where none does. Scores have three digits where these keep what is wanted.
    """
    replicates = {name: _replicate(outcomes, name) for name in {name for name, _ in wants}}
    return [_find(outcomes, replicates, *want) for want in wants]


def _find(outcomes: Outcomes, replicates: dict[str, Replicated], name: str, wanted: float) -> dict[str, Any]:
    used = np.flatnonzero(outcomes.proposal)
    used = used[np.argsort(-outcomes.rows[used, 4], kind="stable")]
    score, found = outcomes.rows[used, 4], np.cumsum(outcomes.hit[used])
    last = np.flatnonzero(np.diff(score, append=-np.inf))           # equal scores: all or none
    values = found[last] / (last + 1 if name == "precision" else outcomes.point["faces"])

    def choose(value: float) -> dict[str, Any]:
        kept = np.flatnonzero(values >= value)
        exact = float(score[last[kept[-1] if name == "precision" else kept[0]]])
        return {**_shorten(outcomes, name, wanted, exact), "interval": _interval(replicates[name], name, value)}

    result: dict[str, Any] = {"want": name, "value": wanted}
    if values.max(initial=0) < wanted:
        return {**result, "score": None, "best": float(values.max(initial=0))}
    # Where all are right, nothing says how many would be wrong elsewhere: 1 is no value to be sure of.
    stricter = np.unique(values[(values >= wanted) & (values < 1)])

    def is_sure(index: int) -> bool:
        return _interval(replicates[name], name, stricter[index])[0] >= wanted

    tried = np.unique(np.linspace(0, len(stricter) - 1, STRICTER).astype(int)) if len(stricter) else np.empty(0, int)
    first = next((place for place, index in enumerate(tried) if is_sure(index)), None)
    if first is None:
        return {**result, **choose(wanted), "sure": None}
    unsure, sure = tried[first - 1] if first else -1, tried[first]
    while sure - unsure > 1:
        middle = (sure + unsure) // 2
        unsure, sure = (unsure, middle) if is_sure(middle) else (middle, sure)
    return {**result, **choose(wanted), "sure": choose(float(stricter[sure]))}


def _shorten(outcomes: Outcomes, name: str, wanted: float, score: float) -> dict[str, float]:
    """Return what the score keeps with three digits, or as few more as keep what is wanted and cost little recall."""
    exact = keeps(outcomes, score)
    for digits in (3, 4, 5):
        scaled = round(score * 10 ** digits, 6)
        for step in range(ROUNDINGS):           # the next score may keep less, and the one after it enough
            whole = np.ceil(scaled) + step if name == "precision" else np.floor(scaled)
            short = keeps(outcomes, float(whole) / 10 ** digits)
            if short[name] >= wanted and abs(short["recall"] - exact["recall"]) <= MAX_LOSS:
                return short
    return exact


def format_score(found: dict[str, Any]) -> str:
    """Format the line for the console."""
    want = f"score to deploy for {found['want']} {found['value']:g}"
    if found["score"] is None:
        return f"{want}: none; the highest {found['want']} is {found['best']:.4f}"
    low, high = found["interval"]
    return (f"{want}: {found['score']:.6g} (precision {found['precision']:.4f}, recall {found['recall']:.4f}, "
            f"{found['false_alarms_per_image']:.3f} false alarms an image; {found['want']} on as many other images: "
            f"{low:.4f} to {high:.4f}{_format_sure(found)})")


def _format_sure(found: dict[str, Any]) -> str:
    if found["sure"] is None:
        return f"; with these images no score is sure to keep {found['value']:g}"
    return f"; sure to keep {found['value']:g}: {found['sure']['score']:.6g}, recall {found['sure']['recall']:.4f}"


def keeps(outcomes: Outcomes, score: float) -> dict[str, float]:
    """Return what a score keeps: precision, recall, F1 and false alarms an image of the rows from it on."""
    above = outcomes.rows[:, 4] >= score
    right, wrong = (int(np.count_nonzero(above & rows)) for rows in (outcomes.hit, outcomes.wrong))
    faces = outcomes.point["faces"]
    return {"score": score, "precision": right / (right + wrong) if right else 0.0, "recall": right / faces,
            "f1": 2 * right / (right + wrong + faces), "false_alarms_per_image": wrong / len(outcomes.names)}


class Replicated(NamedTuple):
    """Precision or recall from every one of K scores on, the strictest first, [1 + R, K] each.

    The first row is that of the set itself, the others those of its replicates. value: NaN where nothing counts;
    logit: its log odds; error: the standard error of these.
    """
    value: np.ndarray
    logit: np.ndarray
    error: np.ndarray


def _replicate(outcomes: Outcomes, name: str) -> Replicated:
    """Compute "precision" or "recall" of set and replicates; the scores are even parts of those of right rows."""
    images = len(outcomes.names)
    scores = outcomes.rows[outcomes.hit, 4]
    grid = np.unique(-np.quantile(scores, np.linspace(0, 1, GRID), method="nearest")) if len(scores) else np.zeros(1)
    cell = np.searchsorted(grid, -outcomes.rows[:, 4])              # the first score that takes the row
    weights = np.concatenate([np.ones((1, images), np.float32), draw_weights(images, REPLICATES)])

    def count(rows: np.ndarray) -> np.ndarray:
        cells = np.bincount(outcomes.matches.image[rows] * (len(grid) + 1) + cell[rows],
                            minlength=images * (len(grid) + 1)).reshape(images, -1)[:, :-1]
        return np.cumsum(cells, axis=1, dtype=np.float32)

    if name == "precision":
        return _ratio(weights, count(outcomes.hit), count(outcomes.proposal))
    faces = np.bincount(outcomes.face_image[outcomes.counted], minlength=images).astype(np.float32)[:, None]
    return _ratio(weights, count(outcomes.hit), faces)


def _ratio(weights: np.ndarray, part: np.ndarray, whole: np.ndarray) -> Replicated:
    """Divide the sums of part [I, K] by those of whole [I, K or 1], weighted [1 + R, I].

    The standard error is that of a ratio of sums over images: of `part - ratio * whole`.
    """
    parts, wholes, squares, products, others = (
        (weights @ counts).astype(np.float64) for counts in (part, whole, part * part, part * whole, whole * whole))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = parts / wholes
    variance = np.maximum(squares - 2 * value * products + value * value * others, 0)
    inner = (parts + 0.5) / (wholes + 1)            # never 0 nor 1, whose log odds are infinite
    return Replicated(value, np.log(inner / (1 - inner)), np.sqrt(variance) / (wholes + 1) / (inner * (1 - inner)))


def _interval(values: Replicated, name: str, wanted: float) -> list[float]:
    """Return the 95 % interval of what the score chosen on the set keeps on as many other images.

    It is the bootstrap-t of a prediction: how far, in standard errors of the replicate that chose the score, the
    log odds on the next replicates lie from those on the one that chose.
    """
    rows, scores = values.value.shape
    kept = values.value >= wanted
    if name == "precision":         # the lowest score; where none keeps it, the best one
        chosen = np.where(kept.any(axis=1), scores - 1 - kept[:, ::-1].argmax(axis=1),
                          np.where(np.isnan(values.value), -1, values.value).argmax(axis=1))
    else:
        chosen = np.where(kept.any(axis=1), kept.argmax(axis=1), scores - 1)
    logit, error = (table[np.arange(rows), chosen] for table in (values.logit, values.error))
    others = (np.arange(rows - 1) + np.arange(1, OTHERS + 1)[:, None]) % (rows - 1) + 1
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        distance = (values.logit[others, chosen[1:]] - logit[1:]) / error[1:]
        distance = distance[~np.isnan(distance)]    # of few images a replicate may have no error
        ends = np.quantile(distance, TAILS, method="nearest") * error[0] if len(distance) and error[0] else np.zeros(2)
        moved = 1 / (1 + np.exp(-(logit[0] + ends))) - 1 / (1 + np.exp(-logit[0]))
    return np.clip(values.value[0, chosen[0]] + moved, 0, 1).tolist()
