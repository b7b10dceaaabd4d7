# SPDX-License-Identifier: Apache-2.0
"""What a score means: how often it is right, what is found and falsely found from it on, and which one to deploy.

    calibrate(outcomes)["error"]                                # expected calibration error
    list_scores(outcomes)                                       # score -> precision, recall, false alarms an image
    find_score(outcomes, *parse_want("precision=0.95"))         # the score to deploy, and what it keeps

Scores are those of the prediction files, not scaled. As in the analysis, only faces of the hard subset count.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from dependency.centernet.src.lib.detectors.option_rules import Rule
from dependency.evaluate.bootstrap import TAILS, draw_weights
from dependency.evaluate.report.outcomes import Outcomes

BINS = 10                       # of the scores 0..1
SCORES = 100                    # of `list_scores`
REPLICATES = 1000
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
    return [_describe(outcomes, float(value)) for value in np.linspace(low, high, SCORES, endpoint=False).round(6)]


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


def find_score(outcomes: Outcomes, name: str, wanted: float) -> dict[str, Any]:
    """Find the score to deploy: the lowest one with the wanted precision, or the highest one with the wanted recall.

    Returns:
        {"want": name, "value": wanted, "score", "precision", "recall", "f1", "false_alarms_per_image", "interval":
        [low, high] of what is wanted, 95 %, by a bootstrap over the images at this score}; only `want`, `value`, `best`
        and a `score` of None where no score keeps it.
    """
    used = np.flatnonzero(outcomes.proposal)
    used = used[np.argsort(-outcomes.rows[used, 4], kind="stable")]
    score, found = outcomes.rows[used, 4], np.cumsum(outcomes.hit[used])
    last = np.flatnonzero(np.diff(score, append=-np.inf))           # equal scores: all or none
    values = found[last] / (last + 1 if name == "precision" else outcomes.point["faces"])
    kept = np.flatnonzero(values >= wanted)
    result: dict[str, Any] = {"want": name, "value": wanted}
    if not len(kept):
        return {**result, "score": None, "best": float(values.max(initial=0))}
    chosen = float(score[last[kept[-1] if name == "precision" else kept[0]]])
    return {**result, **_describe(outcomes, chosen), "interval": _interval(outcomes, name, chosen)}


def format_score(found: dict[str, Any]) -> str:
    """Format the line for the console."""
    want = f"score to deploy for {found['want']} {found['value']:g}"
    if found["score"] is None:
        return f"{want}: none; the highest {found['want']} is {found['best']:.4f}"
    low, high = found["interval"]
    return (f"{want}: {found['score']:.6g} (precision {found['precision']:.4f}, recall {found['recall']:.4f}, "
            f"{found['false_alarms_per_image']:.3f} false alarms an image; {found['want']} on other such images: "
            f"{low:.4f} to {high:.4f})")


def _describe(outcomes: Outcomes, score: float) -> dict[str, float]:
    above = outcomes.rows[:, 4] >= score
    right, wrong = (int(np.count_nonzero(above & rows)) for rows in (outcomes.hit, outcomes.wrong))
    faces = outcomes.point["faces"]
    return {"score": score, "precision": right / (right + wrong) if right else 0.0, "recall": right / faces,
            "f1": 2 * right / (right + wrong + faces), "false_alarms_per_image": wrong / len(outcomes.names)}


def _interval(outcomes: Outcomes, name: str, score: float) -> list[float]:
    """Return the 95 % interval of precision or recall at a score."""
    images, above = len(outcomes.names), outcomes.rows[:, 4] >= score
    right = np.bincount(outcomes.matches.image[above & outcomes.hit], minlength=images)
    total = (np.bincount(outcomes.matches.image[above & outcomes.proposal], minlength=images)
             if name == "precision" else np.bincount(outcomes.face_image[outcomes.counted], minlength=images))
    right, total = (draw_weights(images, REPLICATES) @ counts.astype(np.float64) for counts in (right, total))
    return [float(end) for end in np.quantile(right[total > 0] / total[total > 0], TAILS)]
