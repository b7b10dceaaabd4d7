# SPDX-License-Identifier: Apache-2.0
"""The pictures of a run: what the network sees in training, and what it finds on the val set.

    write_sheet(Path("train_batch_0.jpg"), draw_batch(batch), names)
    write_validation(files, evaluation_set, validation)           # val_batch_0.jpg, ...
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import draw_boxes, draw_faces
from dependency.centernet.src.lib.utils.image import shrink
from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.errors import InputError
from dependency.evaluate.ground_truth import TruthImage
from dependency.evaluate.overlaps import box_overlaps
from src.common.draw import contact_sheet, write_image
from src.common.log import LOGGER
from src.evaluation.evaluation_set import EvaluationSet
from src.run_folder.files import RunFiles
from src.run_folder.validation import IOU, Validation

# Pictures of a training batch; the rest of a larger one is left out.
MOST = 16
CELL = 400
# Pictures of the val set: sheets, and images on each, as (annotated, found) side by side.
SHEETS, PER_SHEET = 3, 6
VAL_CELL = 480
# Found faces that are drawn even where fewer are annotated.
FEWEST = 4
# BGR.
ANNOTATED, IGNORED, RIGHT, WRONG, MISSED = (255, 200, 60), (150, 150, 150), (60, 220, 60), (60, 60, 255), (0, 165, 255)


@contextmanager
def optional(name: str) -> Iterator[None]:
    """Turn an error in drawing `name` into a warning: the training goes on without a picture."""
    try:
        yield
    except (OSError, ValueError, ArithmeticError, InputError, cv2.error) as error:
        LOGGER.warning("%s is not drawn: %s", name, error)


def write_sheet(path: Path, pictures: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """Write the first pictures of a batch as one image file, a caption below each."""
    cell = min(CELL, max(map(max, (picture.shape for picture in pictures))) + 4)
    ends = [_end(caption, cell // 9) for caption in captions[:MOST]]
    write_image(path, contact_sheet(pictures[:MOST], cell=cell, captions=ends))


def write_validation(files: RunFiles, evaluation_set: EvaluationSet, validation: Validation) -> None:
    """Write val_batch_<number>.jpg: images evenly spread over the val set, annotated (left) and found (right)."""
    truth = {image.path: image for image in evaluation_set.truth.images}
    names = _spread([name for name in evaluation_set.images if name in validation.faces], SHEETS * PER_SHEET)
    for number in range(SHEETS):
        pictures, captions = [], []
        for name in names[number * PER_SHEET:(number + 1) * PER_SHEET]:
            try:
                image = read_image(evaluation_set.image_dir / name)
            except (InputError, OSError):       # it went since it was tested
                continue
            faces = validation.faces[name].filter(score=validation.score)
            left, right, found, missed, false = draw_pair(image, truth[str(PurePosixPath(name).with_suffix(""))], faces)
            pictures += [left, right]
            captions += [f"{_end(PurePosixPath(name).name, 28)}: {found + missed} annotated (blue)",
                         (f"from {validation.score:.2f}: {found} found (green), {missed} missed (orange), "
                          f"{false} false (red)")]
        if pictures:
            write_image(files.path(f"val_batch_{number}.jpg"),
                        contact_sheet(pictures, cell=VAL_CELL, captions=captions))


def draw_pair(image: np.ndarray, truth: TruthImage, faces: Faces) -> tuple[np.ndarray, np.ndarray, int, int, int]:
    """Draw what is annotated and what was found on two copies of an image.

    Annotated faces are blue, ignored ones grey. Found ones are green, with landmarks, where they overlap an annotated
    face, else red; missed faces are orange. Of the found ones the best are drawn, twice as many as are annotated.

    Returns:
        (annotated, found, number of annotated faces that were found, of those that were missed, of false ones)
    """
    small, scales = shrink(image, VAL_CELL)
    scale = np.tile(np.array(scales, np.float32), 2)
    boxes = np.concatenate([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]], axis=1)
    counts = np.zeros(len(boxes), bool)
    counts[truth.subsets["hard"]] = True
    overlap = box_overlaps(faces.boxes, boxes) >= IOU
    hits, is_found = overlap.max(axis=1, initial=False), overlap.max(axis=0, initial=False)
    annotated = draw_boxes(small, boxes[~counts] * scale, IGNORED)
    annotated = draw_boxes(annotated, boxes[counts] * scale, ANNOTATED)
    found = draw_boxes(small, boxes[counts & ~is_found] * scale, MISSED)
    scaled = faces.scaled(scales)
    shown = np.arange(len(faces)) < max(FEWEST, 2 * len(boxes))
    for those, colour in ((scaled[shown & hits], RIGHT), (scaled[shown & ~hits], WRONG)):
        found = draw_faces(draw_boxes(found, those.boxes, colour), those, colour=colour)
    return annotated, found, int((counts & is_found).sum()), int((counts & ~is_found).sum()), int((~hits).sum())


def _end(text: str, length: int) -> str:
    """Cut a text that is longer than `length` letters at its beginning."""
    return text if len(text) <= length else "..." + text[3 - length:]


def _spread(names: Sequence[str], count: int) -> list[str]:
    """Choose at most `count` of the names, evenly spread."""
    return [names[index] for index in np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)]
