# SPDX-License-Identifier: Apache-2.0
"""Whether the intervals of `eval.py --bootstrap` are right, and what they cost, on a large set of predictions.

    python -m benchmarks.bootstrap --pred TREE --gt GROUND_TRUTH

The whole set is the population. SAMPLES random samples of IMAGES images are scored, each with its own 95 % interval;
the table gives the share of the intervals that contain the population's AP. The time is the CPU time of one
thread for 1,000 replicates of the whole set, all subsets, at IoU 0.5 and 0.4. The exit status is 1 where a share lies
outside of 92 to 97 %, or the time is above 5 s.
"""
from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"        # before NumPy: the bar is that of one core

import argparse
import sys
import time

import numpy as np

from dependency.evaluate.bootstrap import draw_weights, replicate_ap
from dependency.evaluate.eval import IOU_THRESHOLDS, Scored, score_set
from dependency.evaluate.ground_truth import SUBSETS
from dependency.evaluate.matching import match, scale_scores
from src.cli.program import run

REPLICATES = 1000
COVERAGE = (0.92, 0.97)
SECONDS = 5.0


def measure_time(scored: Scored) -> float:
    """Return the CPU seconds of 1,000 replicates of the whole set."""
    start = time.process_time()
    weights = draw_weights(len(scored.images), REPLICATES)
    replicate_ap(scored.images, scored.matches, IOU_THRESHOLDS, weights)
    return time.process_time() - start


def sample_interval(scored: Scored, chosen: np.ndarray, seed: int) -> dict[str, tuple[float, float]]:
    """Score the chosen images by themselves, and return the 95 % interval of the AP of each subset at IoU 0.5."""
    images, rows = ([parts[index] for index in chosen] for parts in (scored.images, scored.rows))
    scores, _ = scale_scores([of_image[:, 4] for of_image in rows])
    weights = draw_weights(len(chosen), REPLICATES, seed)
    replicates = replicate_ap(images, match(images, rows, scores), [0.5], weights)[0.5]
    return {subset: (replicates[subset].low, replicates[subset].high) for subset in SUBSETS}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bootstrap", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred", required=True, help="Folder of predictions, <event>/<image>.txt.")
    parser.add_argument("--gt", required=True, help="Folder of the four .mat files.")
    parser.add_argument("--samples", type=int, default=500, help="Number of samples (500).")
    parser.add_argument("--images", type=int, default=300, help="Images of a sample (300).")
    args = parser.parse_args(argv)
    report, scored = score_set(args.pred, args.gt, [0.5])
    seconds = measure_time(scored)
    print(f"{REPLICATES} replicates of {len(scored.images)} images: {seconds:.2f} CPU seconds")
    rng = np.random.default_rng(1)
    intervals = [sample_interval(scored, rng.choice(len(scored.images), args.images, replace=False), seed)
                 for seed in range(args.samples)]
    print(f"{args.samples} samples of {args.images} images, 95 % interval at IoU 0.5:")
    missed = [f"{seconds:.2f} s, the bar is {SECONDS:g} s"] if seconds > SECONDS else []
    for subset in SUBSETS:
        ap = report.ap[0.5][subset]
        low, high = np.array([each[subset] for each in intervals]).T
        share = np.mean((low <= ap) & (ap <= high))
        print(f"{subset:<8} AP {ap:.4f}, {share:.1%} of the intervals hold it ({np.mean(high < ap):.1%} lie below, "
              f"{np.mean(low > ap):.1%} above), mean width {np.mean(high - low):.4f}")
        if not COVERAGE[0] <= share <= COVERAGE[1]:
            missed.append(f"{subset}: {share:.1%}, the bar is {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}")
    print("\n".join(f"missed: {line}" for line in missed), end="\n" if missed else "")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(run(main))
