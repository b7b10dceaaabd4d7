# SPDX-License-Identifier: Apache-2.0
"""Whether the score of `eval.py --want` keeps on other images what it promises, on a large set of predictions.

    python -m benchmarks.score_to_deploy --pred TREE --gt GROUND_TRUTH

The images are split into halves SPLITS times. One half gives the score for a wanted precision or recall, with the 95 %
interval of what it keeps on as many other images; the other half says what it keeps. The table gives the share of the
splits in which this lies within the interval, and in which the score that is `sure` keeps what is wanted (97.5 % are
expected). The exit status is 1 where a share lies outside of 90 to 97 %: a
few images hold many of the false alarms with high scores, and a half without them cannot know of them.
"""
from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"        # before NumPy

import argparse
import sys

import numpy as np

from dependency.evaluate.eval import Scored, score_set
from dependency.evaluate.matching import match, scale_scores
from dependency.evaluate.report.calibration import find_scores, keeps
from dependency.evaluate.report.outcomes import Outcomes, find_outcomes
from src.cli.program import run

COVERAGE = (0.90, 0.97)
WANTS = tuple(("precision", value) for value in (0.8, 0.9, 0.95, 0.99)) + tuple(
    ("recall", value) for value in (0.5, 0.6, 0.7))


def outcomes_of(scored: Scored, chosen: np.ndarray) -> Outcomes:
    """Score the chosen images by themselves."""
    images, rows = ([parts[index] for index in chosen] for parts in (scored.images, scored.rows))
    scores, _ = scale_scores([of_image[:, 4] for of_image in rows])
    return find_outcomes(Scored(images, rows, scores, match(images, rows, scores)), 0.5)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score_to_deploy", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred", required=True, help="Folder of predictions, <event>/<image>.txt.")
    parser.add_argument("--gt", required=True, help="Folder of the four .mat files.")
    parser.add_argument("--splits", type=int, default=300, help="Number of splits (300).")
    args = parser.parse_args(argv)
    scored = score_set(args.pred, args.gt, [0.5])[1]
    rng = np.random.default_rng(1)
    total = len(scored.images)
    found = []                                  # [splits, wants, (low, high, kept, kept where sure)]
    for _ in range(args.splits):
        order = rng.permutation(total)
        one, other = (outcomes_of(scored, np.sort(half)) for half in (order[:total // 2], order[total // 2:]))
        found.append([(*each["interval"], keeps(other, each["score"])[each["want"]],
                       keeps(other, each["sure"]["score"])[each["want"]] if each["sure"] else np.nan)
                      for each in find_scores(one, WANTS)])
    print(f"{args.splits} splits of {total} images, 95 % interval of what the score of one half keeps on the other:")
    missed = []
    for (name, wanted), (low, high, kept, sure) in zip(WANTS, np.array(found).transpose(1, 2, 0)):
        share = np.mean((low <= kept) & (kept <= high))
        print(f"{name} {wanted:<5g} kept {kept.mean():.4f} on average, {share:.1%} within the interval "
              f"({np.mean(kept < low):.1%} below, {np.mean(kept > high):.1%} above), mean width "
              f"{np.mean(high - low):.4f}; in {np.isfinite(sure).mean():.0%} there is a sure "
              f"score, which keeps it in {np.mean(sure[np.isfinite(sure)] >= wanted):.1%}")
        if not COVERAGE[0] <= share <= COVERAGE[1]:
            missed.append(f"{name} {wanted:g}: {share:.1%}, the bar is {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}")
    print("\n".join(f"missed: {line}" for line in missed), end="\n" if missed else "")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(run(main))
