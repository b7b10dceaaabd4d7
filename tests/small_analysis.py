# SPDX-License-Identifier: Apache-2.0
"""A small real analysis: photographs with drawn faces, flags, and a detector that errs in every way."""
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dependency.evaluate.eval import score_set
from dependency.evaluate.ground_truth import SUBSETS, GroundTruth, TruthImage
from dependency.evaluate.report.analysis import analyse
from dependency.evaluate.report.flags import Flags

WIDTH, HEIGHT = 320, 240
FACES = 6                                               # of an image
EVENTS = [f"{number}--Event_{number}" for number in range(18)]


def make_truth(events: list[str]) -> GroundTruth:
    """One image an event, with six faces in cells of their own; the last is ignored."""
    rng = np.random.default_rng(3)
    images = []
    for number, event in enumerate(events):
        size = rng.integers(9, 90, FACES)
        corner = np.array([(100 * (k % 3) + 5, 115 * (k // 3) + 5) for k in range(FACES)])
        boxes = np.column_stack([corner, size, size]).astype(np.float64)
        kept = np.arange(FACES - 1)
        images.append(TruthImage(event, f"{number}_image", boxes, dict.fromkeys(SUBSETS, kept)))
    return GroundTruth(images, Path("made"))


def make_rows(truth: GroundTruth, shift: float = 0.0) -> dict[str, np.ndarray]:
    """event/name -> rows x1 y1 x2 y2 score: good, low, loose boxes, none, a double, one on nothing; some shifted."""
    rows = {}
    for number, image in enumerate(truth.images):
        x, y, width, height = image.boxes.T
        good = np.column_stack([x + shift * width, y, x + (1 + shift) * width, y + height, np.full(FACES, 0.9)])
        good[1, 4] = 0.01 + 0.0001 * number
        loose = good[2].copy()
        loose[[0, 2]] += 0.7 * width[2]
        nothing = [[250 + k, 200, 300 + k, 236, 0.015] for k in range(12)] + [[260, 200, 310, 236, 0.7 + 0.01 * number]]
        kept = np.array([*good[:2], loose, *good[4 + number % 2:], good[0] * [1, 1, 1, 1, 0.8], *nothing])
        rows[f"{image.event}/{image.name}"] = kept[np.argsort(-kept[:, 4], kind="stable")]
    return rows


def make_flags(truth: GroundTruth) -> Flags:
    """Faces of every level, by their place in the image."""
    levels = np.array([[k % 3, k % 2, k % 2, 0, k % 3, (k + 1) % 2] for k in range(FACES)])
    return Flags("made", {f"{image.event}/{image.name}": np.column_stack([image.boxes, levels])
                          for image in truth.images})


def make_run(events: list[str] = EVENTS, name: str = "first", shift: float = 0.0, flags: bool = True) -> dict[str, Any]:
    """One run of an analysis."""
    truth = make_truth(events)
    report, scored = score_set(make_rows(truth, shift), truth)
    return analyse(report, scored, make_flags(truth) if flags else None, name)["runs"][0]


def make_images(folder: Path, events: list[str] = EVENTS) -> Path:
    """The photographs: grey, with a face of its own colour for every place."""
    for image in make_truth(events).images:
        picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        for place, (x, y, width, height) in enumerate(image.boxes.astype(int)):
            picture[y:y + height, x:x + width] = (40 * place, 255 - 40 * place, 255)
        path = folder / image.event / f"{image.name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder
