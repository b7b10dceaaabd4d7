# SPDX-License-Identifier: Apache-2.0
"""Measures the error of the five landmarks on the faces that are found.

    landmark_nme({"0--Parade/0_Parade_1": faces}, records)   # {"nme": 0.021, "faces": 812, "per_point": [...], ...}

WIDER FACE has landmarks for a part of its train faces only (RetinaFace's label.txt), so the truth is a list of
`Record`s, of images kept out of training.  Boxes are xyxy pixels.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.overlaps import best_overlaps

COLUMNS = 15
NORMALISER = "sqrt(w*h)"


def landmark_nme(pred: Mapping[str, Faces | np.ndarray], truth: Iterable[Record],
                 iou: float = 0.5) -> dict[str, Any] | None:
    """Compute the normalised mean error (NME): distance to the annotated landmark over sqrt(w * h) of its face's box.

    Faces are matched as in the WIDER evaluation: best score first, each row to the face that it overlaps most, unless
    an earlier row was. A face's error is the mean over its labelled points, `nme` the mean over faces, `per_point` the
    mean over the faces with that point labelled (None if there is none). Ignored faces and faces without landmarks
    do not count.

    Args:
        pred: "event/name" -> Faces, or rows [N, 15] as `Faces.rows` gives them.
        truth: annotated images, path "event/name.jpg".
        iou: lowest overlap at which a row finds a face.

    Returns:
        {"nme", "faces" found, "labelled" faces in all, "per_point" [5], "normaliser"}; None if no face is found.

    Raises:
        InputError: an image with landmarks has no prediction, or its rows have no landmarks.
    """
    errors, labelled = [np.empty((0, 5))], 0
    for record in truth:
        usable = (record.visibility > 0).any(axis=1) & ~record.ignore
        if not usable.any():
            continue
        labelled += int(np.count_nonzero(usable))
        rows = _rows(pred, record.path)
        row, face = _pairs(rows, record.boxes, iou)
        row, face = row[usable[face]], face[usable[face]]
        sides = record.boxes[face, 2:] - record.boxes[face, :2]
        distance = np.linalg.norm(rows[row, 5:].reshape(-1, 5, 2) - record.landmarks[face], axis=2)
        distance = distance / np.sqrt(sides.prod(axis=1))[:, None]
        errors.append(np.where(record.visibility[face] > 0, distance, np.nan))
    table = np.concatenate(errors)
    if not len(table):
        return None
    per_point = [float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else None for column in table.T]
    return {"nme": float(np.nanmean(table, axis=1).mean()), "faces": len(table), "labelled": labelled,
            "per_point": per_point, "normaliser": NORMALISER}


def _rows(pred: Mapping[str, Faces | np.ndarray], path: str) -> np.ndarray:
    """Return the rows [N, 15] float64 of one image, best score first."""
    name = str(PurePosixPath(path).with_suffix(""))
    if name not in pred:
        raise InputError(f"{name} has annotated landmarks, but no prediction; predict all images of --landmarks, or "
                         "remove this one from it")
    value = pred[name]
    rows = np.asarray(value if isinstance(value, np.ndarray) else value.rows(), np.float64)
    if rows.ndim != 2 or rows.shape[1] != COLUMNS:
        raise InputError(f"the prediction of {name} has shape {rows.shape}: expected [N, {COLUMNS}], box x1 y1 x2 y2, "
                         "score, five landmarks x y; WIDER text files hold no landmarks")
    return rows[np.argsort(-rows[:, 4], kind="stable")]


def _pairs(rows: np.ndarray, boxes: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the row and of the face of each pair, both [P]."""
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    face, overlap = best_overlaps(rows[:, :4], boxes)
    reaching = np.flatnonzero(overlap >= iou)
    faces, first = np.unique(face[reaching], return_index=True)
    return reaching[first], faces
