# SPDX-License-Identifier: Apache-2.0
"""Bring annotated boxes to the pixels of the image file: of resized images, and of photographs that viewers turn.

    record, faults = fit_to_file(record, read_header("images/e/a.jpg"))

A file's EXIF orientation tells viewers to turn or mirror the `stored` pixels into the picture that is `shown`; some
tools annotate the one, some the other. This project reads stored pixels. Boxes are xyxy pixels.
"""
from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.augment import FLIP_INDEX
from dependency.centernet.src.lib.utils.image_file import UPRIGHT, Header
from dependency.errors import InputError

STORED, SHOWN = "stored", "shown"
WHOLE_IMAGE, UNKNOWN = -1, (0, 0)
# EXIF orientations that lead back to the stored pixels by: exchanging x and y, then counting x (y) from the other side.
EXCHANGED, FROM_RIGHT, FROM_BELOW, MIRRORED = (5, 6, 7, 8), (2, 3, 7, 8), (3, 4, 6, 7), (2, 4, 5, 7)


class Fault(NamedTuple):
    """A problem of one face, or of the `WHOLE_IMAGE`."""
    face: int
    kind: str
    text: str


def fit_to_file(record: Record, header: Header, exif: str | None = None) -> tuple[Record, list[Fault]]:
    """Scale and turn boxes and landmarks to the stored pixels; the Record gets their height and width.

    Args:
        record: its height and width are those that its boxes were drawn on, 0 where not known.
        header: of the image file.
        exif: STORED or SHOWN, the picture that boxes are of where the orientation leaves a choice; None: the one that
            height and width, or else the boxes, fit; a fault where both do.

    Returns:
        The Record, and what was not as it should be, by kind: "image_size" (now scaled), "image_turned" (now turned),
        "image_shape" and "image_orientation" (not known how; the Record has no height and width).
    """
    stored, shown = (header.width, header.height), shown_size(header)
    annotated = (record.width, record.height)
    frames = {STORED: stored} if header.orientation == UPRIGHT else {STORED: stored, SHOWN: shown}
    faults = []
    if all(annotated):
        fitting = {name: size for name, size in frames.items() if _same_shape(annotated, size)}
        if not fitting:
            return _sized(record, UNKNOWN), [Fault(WHOLE_IMAGE, "image_shape", (
                f"annotated as {_text(annotated)}, the file is {_text(stored)}, which is another shape; annotate it "
                "again, or take height and width out of the annotation if the boxes fit"))]
        size = next(iter(fitting.values()))
        if annotated != size:
            faults.append(Fault(WHOLE_IMAGE, "image_size", f"annotated as {_text(annotated)}, the file is "
                                f"{_text(size)}"))
            record = _scaled(record, np.divide(size, annotated))
    else:
        fitting = frames
    if header.orientation != UPRIGHT and len(record.boxes):
        holding = {name for name, size in frames.items() if not outside(record.boxes, size).any()}
        possible = [name for name in fitting if name in holding] or list(holding) or list(fitting)
        tag = f"EXIF orientation {header.orientation}"
        if exif == SHOWN or exif is None and possible == [SHOWN]:
            faults.append(Fault(WHOLE_IMAGE, "image_turned", (
                f"{tag}, and the boxes are of the picture as shown, {_text(shown)}; stored it is {_text(stored)}")))
            record = _turned(record, header)
        elif exif is None and len(possible) > 1:
            return _sized(record, UNKNOWN), [*faults, Fault(WHOLE_IMAGE, "image_orientation", (
                f"{tag}, and nothing tells whether the boxes are of the stored pixels or of the picture as shown; "
                "give src.tools.prepare_wider --exif stored or --exif shown; in a data file, exif: stored or shown"))]
    return _sized(record, stored), faults


def shown_size(header: Header) -> tuple[int, int]:
    """Return width and height of the picture that viewers show."""
    size = (header.width, header.height)
    return size[::-1] if header.orientation in EXCHANGED else size


def check_fit(record: Record, shape: tuple[int, ...], image_dir: object) -> None:
    """Check that the boxes are of an image of this shape (height, width, ...).

    Raises:
        InputError: its size is not the annotated one; or, where that is not known, the centre of a face is outside.
    """
    size, annotated = (shape[1], shape[0]), (record.width, record.height)
    if all(annotated):
        wrong = f"is annotated as {_text(annotated)}" if annotated != size else ""
    else:
        lost = outside(record.boxes, size)
        box = record.boxes[lost.argmax()].tolist() if lost.any() else []
        wrong = f"has a face at {' '.join(f'{value:g}' for value in box)} (x1 y1 x2 y2)" if box else ""
    if wrong:
        raise InputError(f"{record.path} {wrong}, the file has {_text(size)} pixels: it was resized or turned after "
                         "it was annotated; bring the boxes to it: python -m src.tools.prepare_wider --annotation "
                         f"ANNOTATIONS --image_dir {image_dir} --out fitted.json")


def outside(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mark the boxes [N, 4] whose centre is outside an image of (width, height): [N] bool."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centres < 0) | (centres > size)).any(axis=1)


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Check whether one size is the other after resizing, but for rounding to whole pixels."""
    smallest = max((edge - 1) / side for side, edge in zip(one, other))
    largest = min((edge + 1) / side for side, edge in zip(one, other))
    return smallest < largest


def _sized(record: Record, size: tuple[int, int]) -> Record:
    return replace(record, width=size[0], height=size[1])


def _scaled(record: Record, factors: np.ndarray) -> Record:
    return replace(record, boxes=(record.boxes * np.tile(factors, 2)).astype(np.float32),
                   landmarks=(record.landmarks * factors).astype(np.float32))


def _turned(record: Record, header: Header) -> Record:
    """Take boxes and landmarks from the picture as shown back to the stored pixels."""
    def back(points: np.ndarray) -> np.ndarray:
        points = points[..., ::-1].copy() if header.orientation in EXCHANGED else points.copy()
        if header.orientation in FROM_RIGHT:
            points[..., 0] = header.width - points[..., 0]
        if header.orientation in FROM_BELOW:
            points[..., 1] = header.height - points[..., 1]
        return points

    corners = back(record.boxes.reshape(-1, 2, 2))
    landmarks, visibility = back(record.landmarks), record.visibility
    if header.orientation in MIRRORED:      # left is left in the image
        landmarks, visibility = landmarks[:, FLIP_INDEX], visibility[:, FLIP_INDEX]
    return replace(record, boxes=np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1),
                   landmarks=landmarks * (visibility > 0)[..., None], visibility=visibility)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
