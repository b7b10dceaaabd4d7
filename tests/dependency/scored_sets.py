# SPDX-License-Identifier: Apache-2.0
"""Small evaluations for tests of the analysis, made from lists of images.

    report, scored = scored_set([("0--E", [[0, 0, 40, 40]], [0], [[0, 0, 40, 40, 0.9]])])

An image is (event, boxes x y w h, indices in the hard subset, rows x y w h score); its name is its number.
"""
import numpy as np

from dependency.evaluate.eval import Scored
from dependency.evaluate.ground_truth import SUBSETS, TruthImage
from dependency.evaluate.matching import average_precision, curve, face_flags, match, scale_scores
from dependency.evaluate.report.analysis import analyse
from dependency.evaluate.report.flags import FLAGS, Flags
from dependency.evaluate.results import Report

ORDINARY = [0] * len(FLAGS)
# Big enough a certain face, and a false alarm to give the range of scores its lower end.
ANCHOR = ("0--E", [[0, 0, 100, 100]], [0], [[0, 0, 100, 100, 1.0], [500, 500, 20, 20, 0.0]])


def scored_set(images):
    """Report and Scored of [(event, boxes, indices in the hard subset, rows x y w h score)]."""
    truth, table = [], []
    for number, (event, boxes, kept, rows) in enumerate(images):
        boxes = np.array(boxes, np.float64).reshape(-1, 4)
        truth.append(TruthImage(event, str(number), boxes, {subset: np.array(kept, np.int64) for subset in SUBSETS}))
        table.append(np.array(rows, np.float64).reshape(-1, 5))
    scores, _ = scale_scores([rows[:, 4] for rows in table])
    matches = match(truth, [rows[:, :4] for rows in table], scores)
    points = {subset: curve(matches, 0.5, face_flags(truth, subset)) for subset in SUBSETS}
    ap = {0.5: {subset: average_precision(points[subset]) for subset in SUBSETS}}
    protocol = {"iou_thresholds": [0.5], "only_predicted": False}
    report = Report("output/run", "gt", ap, {0.5: points}, protocol,
                    {subset: sum(len(image.kept[subset]) for image in truth) for subset in SUBSETS},
                    len(truth), len(truth), (), sum(map(len, table)), ())
    return report, Scored(truth, table, scores, matches)


def flags_for(scored, levels):
    """`levels`: per image the rows of six; ordinary faces where an image has none."""
    tables = {}
    for number, image in enumerate(scored.images):
        rows = np.array(levels.get(number, [ORDINARY] * len(image.boxes)), np.float64).reshape(-1, len(FLAGS))
        tables[f"{image.event}/{image.name}"] = np.concatenate([image.boxes, rows], axis=1)
    return Flags("flags.txt", tables)


def run_of(images, **options):
    report, scored = scored_set(images)
    return analyse(report, scored, **options)["runs"][0]


def random_images(rng):
    images = []
    for _ in range(rng.integers(2, 6)):
        n = rng.integers(0, 7)
        boxes = np.column_stack([rng.integers(0, 60, (n, 2)), rng.integers(5, 45, (n, 2))])
        source = boxes[rng.integers(n, size=rng.integers(0, 10))] if n else np.empty((0, 4))
        guesses = np.concatenate([source + rng.integers(-3, 4, source.shape),
                                  np.column_stack([rng.integers(0, 60, (3, 2)), rng.integers(5, 45, (3, 2))])])
        rows = np.column_stack([guesses, rng.integers(0, 15, len(guesses)) / 7])
        images.append((f"{rng.integers(3)}--E", boxes, np.flatnonzero(rng.random(n) < 0.7), rng.permutation(rows)))
    return images


def crowd(missed_small, missed_large, occluded):
    """Forty faces of 10 px and forty of 100 px in two events; some are not found; one occluded large face a miss."""
    images, levels = [], {}
    for event, height, missed in (("0--Small", 10, missed_small), ("1--Large", 100, missed_large)):
        boxes = [[200 * k, 0, height, height] for k in range(40)]
        images.append((event, boxes, range(40), [[*box, 1.0] for box in boxes[missed:]]))
    levels[1] = [[0, 0, 0, 0, 2, 0] if face < occluded else ORDINARY for face in range(40)]
    return [*images, ("2--Noise", [[0, 0, 50, 50]], [0], [[0, 0, 50, 50, 1.0], [200, 200, 9, 9, 0]])], levels
