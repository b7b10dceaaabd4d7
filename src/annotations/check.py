# SPDX-License-Identifier: Apache-2.0
"""Find problems in annotations, repair them, and merge files.

    for problem in validate("label.txt", "train/images"): print(problem)
    records, repairs = repair(read_annotations("label.txt", on_problem="collect"), "train/images")

Boxes are xyxy pixels, landmarks [N, 5, 2] pixels.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem, face_faults
from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.image_file import read_header, read_image
from dependency.errors import InputError
from src.annotations.formats import parse
from src.annotations.image_frame import WHOLE_IMAGE, Fault, fit_to_file
from src.annotations.layout import check_layout

# Profile faces have landmarks a little outside their box; further than this part of a side it is a mistake.
LANDMARK_MARGIN = 0.25
IMAGE_LEFT_OUT, DROPPED = "image left out", "dropped"
WHOLE_ACTIONS = {"image_size": "boxes scaled", "image_turned": "boxes turned"}
# What `repair` does about rows that the reader could not use; the others are dropped.
ROW_ACTIONS = {"count": "rows kept", "landmark": "landmarks cleared"}
UNUSABLE = ("image_missing", "image_unreadable", "image_shape", "image_orientation")


class Repair(NamedTuple):
    """What was done about a problem."""
    problem: Problem
    action: str

    def __str__(self) -> str:
        return f"{self.problem} -> {self.action}"


def validate(source: str | Path | Sequence[Record], image_dir: str | Path | None = None,
             check_images: bool = True, fmt: str | None = None, exif: str | None = None) -> list[Problem]:
    """List every problem of an annotation file or of Records, in the order of the file.

    Args:
        source: a file of a known format, or Records (`Annotations` keep their file and lines).
        image_dir: where the images are; None leaves out all that needs them.
        check_images: decode every image instead of reading its header only.
        fmt: the file's format, detected when None.
        exif: see `fit_to_file`.
    """
    annotations = _annotations(source, fmt, image_dir)
    problems = list(annotations.problems)
    for index, _, faults in _examine(annotations, image_dir, check_images, exif):
        problems += [_problem(annotations, index, fault) for fault in faults]
    return sorted(problems, key=lambda problem: (problem.file, problem.line))


def repair(records: Sequence[Record], image_dir: str | Path | None = None,
           check_images: bool = False, exif: str | None = None) -> tuple[Annotations, list[Repair]]:
    """Remove the problems that `validate` finds; return the Records, and what was done about each problem.

    Faces that cannot be read, have no area, lie outside the image or are there twice are dropped; boxes over
    the border are clipped; landmarks far outside their box are cleared, all five; images without usable files
    are left out. With `image_dir` heights and widths become the files' own, and boxes of a resized or turned image are
    brought to its pixels.

    Args:
        records: `Annotations` read with on_problem="collect" bring their unusable rows and lines along.
        image_dir: where the images are; None leaves them alone.
        check_images: decode every image instead of reading its header only.
        exif: see `fit_to_file`.

    Raises:
        InputError: images whose EXIF orientation leaves two ways to read their boxes; most boxes are of another layout
            (`check_layout`).
    """
    annotations = _annotations(records)
    repairs = [Repair(problem, ROW_ACTIONS.get(problem.kind, DROPPED)) for problem in annotations.problems]
    usable: list[Record] = []
    unclear: list[Problem] = []
    for index, record, faults in _examine(annotations, image_dir, check_images, exif):
        repaired, actions = _repair_record(record, faults)
        for fault, action in zip(faults, actions):
            repairs.append(Repair(_problem(annotations, index, fault), action))
            unclear += [repairs[-1].problem] * (fault.kind == "image_orientation")
        if repaired is not None:
            usable.append(repaired)
    if unclear:
        raise InputError(f"{len(unclear):,} of {len(annotations):,} images cannot be read one way only, the first: "
                         f"{unclear[0]}")
    repairs.sort(key=lambda item: (item.problem.file, item.problem.line))
    return Annotations(usable, annotations.file), repairs


def merge(sources: Iterable[Sequence[Record]]) -> Annotations:
    """Merge the Records of several files; an image that is in more than one becomes one Record.

    Faces with the same box become one face, with the landmarks of the first that has them, ignored if any is:
    so label.txt brings the landmarks and wider_face_train.mat the invalid flags. Other faces are all kept.
    """
    united: dict[str, Record] = {}
    for records in sources:
        for record in records:
            united[record.path] = _unite(united[record.path], record) if record.path in united else record
    return Annotations(united.values())


def _annotations(source: str | Path | Sequence[Record], fmt: str | None = None,
                 image_dir: str | Path | None = None) -> Annotations:
    if isinstance(source, (str, Path)):
        return parse(source, fmt, image_dir)
    return Annotations.of(source)


def _problem(annotations: Annotations, index: int, fault: Fault) -> Problem:
    lines = annotations.lines(index)
    line = lines.image if fault.face == WHOLE_IMAGE else lines.faces[fault.face]
    text = fault.text if line or fault.face == WHOLE_IMAGE else f"face {fault.face + 1}: {fault.text}"
    return Problem(lines.file or annotations.file, line, annotations[index].path, fault.kind, text)


def _examine(annotations: Annotations, image_dir: str | Path | None,
             decode: bool, exif: str | None) -> Iterator[tuple[int, Record, list[Fault]]]:
    """Yield the index of each Record, the Record in the pixels of its image file, and its faults.

    Raises:
        InputError: at the end, where most boxes are of another layout.
    """
    sized: list[Record] = []
    for index, record in enumerate(tqdm(annotations, desc="checking", unit="image", disable=None)):
        faults: list[Fault] = []
        if image_dir is not None:
            record, faults = _check_file(record, Path(image_dir) / record.path, decode, exif or annotations.exif)
        sized.append(record)
        yield index, record, faults + _check_faces(record)
    check_layout(sized, annotations.file)


def _check_file(record: Record, path: Path, decode: bool, exif: str | None) -> tuple[Record, list[Fault]]:
    if not os.path.isfile(path):
        return record, [Fault(WHOLE_IMAGE, "image_missing", f"{path} does not exist")]
    try:
        header = read_header(path)
        if decode:
            read_image(path)
    except InputError as error:
        return record, [Fault(WHOLE_IMAGE, "image_unreadable", str(error))]
    return fit_to_file(record, header, exif)


def _check_faces(record: Record) -> list[Fault]:
    faults = [Fault(*fault) for fault in face_faults(record.boxes, record.landmarks)]
    bad = {fault.face for fault in faults}
    first: dict[bytes, int] = {}
    for face, box in enumerate(record.boxes):
        if face in bad:
            continue
        x1, y1, x2, y2 = box.tolist()
        if first.setdefault(box.tobytes(), face) != face:
            text = f"box {x1:g} {y1:g} {x2 - x1:g} {y2 - y1:g} is in this image before"
            faults.append(Fault(face, "duplicate", text))
            continue
        corners = f"from {x1:g}, {y1:g} to {x2:g}, {y2:g}"
        known = record.width > 0 and record.height > 0
        if known and (min(x1, y1) < 0 or x2 > record.width or y2 > record.height):
            text = f"box {corners} in an image of {record.width} x {record.height}"
            faults.append(Fault(face, "outside", text))
        far = _far_landmarks(box, record.landmarks[face], record.visibility[face])
        if far.any():
            points = ", ".join(f"({x:g}, {y:g})" for x, y in record.landmarks[face][far])
            faults.append(Fault(face, "landmark", f"landmark {points} is far outside its box {corners}"))
    return faults


def _far_landmarks(box: np.ndarray, points: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """Mark the landmarks that are labelled and further outside the box than `LANDMARK_MARGIN` of its size: [5] bool."""
    margin = LANDMARK_MARGIN * (box[2:] - box[:2])
    return (visibility > 0) & ((points < box[:2] - margin) | (points > box[2:] + margin)).any(axis=1)


def _repair_record(record: Record, faults: Sequence[Fault]) -> tuple[Record | None, list[str]]:
    """Remove the faults of a Record.

    Returns:
        the Record, None if its image cannot be used; and one action, in words, for each fault.
    """
    boxes, landmarks, visibility = record.boxes.copy(), record.landmarks.copy(), record.visibility.copy()
    keep = np.ones(len(boxes), bool)
    actions, usable = [], True
    for face, kind, _ in faults:
        if kind in UNUSABLE:
            usable = False
            actions.append(IMAGE_LEFT_OUT)
        elif kind in WHOLE_ACTIONS:
            actions.append(WHOLE_ACTIONS[kind])
        elif kind == "landmark":
            landmarks[face], visibility[face] = 0, 0
            actions.append("landmarks cleared")
        else:
            if kind == "outside":
                boxes[face] = np.clip(boxes[face], 0, [record.width, record.height] * 2)
            # Less than a pixel of a face is no face.
            keep[face] = kind == "outside" and (boxes[face, 2:] - boxes[face, :2] >= 1).all()
            actions.append("clipped" if keep[face] else DROPPED)
    repaired = replace(record, boxes=boxes[keep], landmarks=landmarks[keep], visibility=visibility[keep],
                       ignore=record.ignore[keep])
    return (repaired if usable else None), actions


def _unite(first: Record, second: Record) -> Record:
    """Join two Records into one with the faces of both; equal boxes become one face."""
    landmarks, visibility, ignore = first.landmarks.copy(), first.visibility.copy(), first.ignore.copy()
    by_box = {box.tobytes(): face for face, box in enumerate(first.boxes)}
    extra = []
    for face, box in enumerate(second.boxes):
        same = by_box.get(box.tobytes())
        if same is None:
            extra.append(face)
            continue
        ignore[same] |= second.ignore[face]
        if not visibility[same].any():
            landmarks[same], visibility[same] = second.landmarks[face], second.visibility[face]
    return replace(first, boxes=np.concatenate([first.boxes, second.boxes[extra]]),
                   landmarks=np.concatenate([landmarks, second.landmarks[extra]]),
                   visibility=np.concatenate([visibility, second.visibility[extra]]),
                   ignore=np.concatenate([ignore, second.ignore[extra]]),
                   height=first.height or second.height, width=first.width or second.width)
