# SPDX-License-Identifier: Apache-2.0
"""Small evaluations for tests of the report, made from lists of images.

    report, scored = scored_set([("0--E", [[0, 0, 40, 40]], [0], [[0, 0, 40, 40, 0.9]])])

An image is (event, boxes x y w h, indices in the hard subset, rows x y w h score, best first); its name is its number.
"""
import cv2
import numpy as np

from dependency.evaluate.eval import Scored
from dependency.evaluate.ground_truth import SUBSETS, TruthImage
from dependency.evaluate.matching import average_precision, curve, face_flags, match, scale_scores
from dependency.evaluate.prediction_io import best_first
from dependency.evaluate.report.analysis import analyse
from dependency.evaluate.report.flags import FLAGS, Flags
from dependency.evaluate.results import Report

ORDINARY = [0] * len(FLAGS)
# Big enough a certain face, and a false alarm to give the range of scores its lower end.
ANCHOR = ("0--E", [[0, 0, 100, 100]], [0], [[0, 0, 100, 100, 1.0], [500, 500, 20, 20, 0.0]])
EVENTS = [f"{number}--Event_{number}" for number in range(18)]


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
                    {subset: sum(len(image.subsets[subset]) for image in truth) for subset in SUBSETS},
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
        images.append((f"{rng.integers(3)}--E", boxes, np.flatnonzero(rng.random(n) < 0.7),
                       best_first(rng.permutation(rows))))
    return images


def random_set(rng):
    """[(boxes, subset -> indices)] and rows of `random_images`, each subset with indices of its own."""
    images = random_images(rng)
    kept = [{subset: np.flatnonzero(rng.random(len(boxes)) < 0.7) for subset in SUBSETS} for _, boxes, _, _ in images]
    return [(image[1], indices) for image, indices in zip(images, kept)], [image[3] for image in images]


def crowd(missed_small, missed_large, occluded):
    """Forty faces of 10 px and forty of 100 px in two events; some are not found; one occluded large face a miss."""
    images, levels = [], {}
    for event, height, missed in (("0--Small", 10, missed_small), ("1--Large", 100, missed_large)):
        boxes = [[200 * k, 0, height, height] for k in range(40)]
        images.append((event, boxes, range(40), [[*box, 1.0] for box in boxes[missed:]]))
    levels[1] = [[0, 0, 0, 0, 2, 0] if face < occluded else ORDINARY for face in range(40)]
    return [*images, ("2--Noise", [[0, 0, 50, 50]], [0], [[0, 0, 50, 50, 1.0], [200, 200, 9, 9, 0]])], levels


def faulty_images(events, shift=0.0):
    """One image an event, with six faces and errors of every kind; `shift` moves boxes by a part of their width."""
    rng = np.random.default_rng(3)
    images = []
    for number, event in enumerate(events):
        size = rng.integers(9, 90, 6)
        boxes = np.column_stack([[5, 105, 205] * 2, np.repeat([5, 120], 3), size, size]).astype(float)
        found = np.column_stack([boxes, np.full(6, 0.9)]) + shift * boxes[:, 2:3] * [1, 0, 0, 0, 0]
        found[1, 4] = 0.01 + 0.0001 * number            # a score that is too low
        found[2, 0] += 0.7 * boxes[2, 2]                # a loose box; the fourth face, and often the fifth, have none
        double = found[0] * [1, 1, 1, 1, 0.8]
        nothing = [[250 + k, 200, 50, 36, 0.015] for k in range(12)] + [[260, 200, 50, 36, 0.7 + 0.01 * number]]
        rows = np.array([*found[:3], *found[4 + number % 2:], double, *nothing])
        images.append((event, boxes, range(5), rows[np.argsort(-rows[:, 4], kind="stable")]))
    return images


def faulty_run(events=EVENTS, name="first", shift=0.0, flags=True):
    report, scored = scored_set(faulty_images(events, shift))
    levels = [[k % 3, k % 2, k % 2, 0, k % 3, (k + 1) % 2] for k in range(6)]
    tables = flags_for(scored, dict.fromkeys(range(len(events)), levels)) if flags else None
    return analyse(report, scored, tables, name)["runs"][0]


def write_images(folder, events=EVENTS):
    """The photographs of `faulty_images`, 320 x 240: grey, each face with a colour of its own."""
    for number, (event, boxes, _, _) in enumerate(faulty_images(events)):
        picture = np.full((240, 320, 3), 128, np.uint8)
        for face, (x, y, width, height) in enumerate(boxes.astype(int)):
            picture[y:y + height, x:x + width] = (40 * face, 255 - 40 * face, 255)
        path = folder / event / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder
