# SPDX-License-Identifier: Apache-2.0
"""Predictions from wherever they are, brought to the images of the ground truth.

    predictions = gather("output/centerface/999", truth.images)        # a tree of WIDER text files
    predictions = gather("predict_2026_11_22.json", truth.images)      # RetinaFace's file
    predictions = gather({"0--Parade/0_Parade_1": faces}, truth.images)

What belongs to no image of the ground truth is reported and takes no part, not even in the range of scores.
The path, the JSON keys or the mapping's keys decide which image rows belong to; first lines of text files and
`img_path` are not compared with them, and the count line is reported when wrong and not obeyed.  Rows are
sorted by score, and it is said where they were not.  A negative width or height is reported and stays: the
protocol adds 1 to each side, and what is then not above 0 overlaps nothing, so the row is a false alarm.
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Union

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.ground_truth import TruthImage
from dependency.evaluate.layouts import Layout
from dependency.evaluate.prediction_io import (
    BOX_COLUMNS,
    Prediction,
    best_first,
    parse_prediction,
    read_predictions_json,
    rows_of,
)

Source = Union[str, Path, Mapping[str, Any]]


class Predictions(NamedTuple):
    """Predictions by image of the ground truth.

    name: the folder or file, for messages and reports.
    rows: per image [N, 5] float64 x y w h score, best score first; None where there are none.
    missing: the `event/image` of the images without predictions (an image with an empty list is not missing).
    remarks: what was odd, one sentence each.
    """
    name: str
    rows: list[np.ndarray | None]
    missing: list[str]
    remarks: list[str]


def gather(source: Source, images: Sequence[TruthImage], layout: Layout | None = None,
           sizes: np.ndarray | None = None) -> Predictions:
    """Read the predictions of every image.

    Args:
        source: a folder of `<event>/<image>.txt`; a `.json` file (see `read_predictions_json`); or a mapping
            "event/image" (no suffix) -> `Faces`, or rows [N, 5 or more] x1 y1 x2 y2 score in pixels.
        images: the ground truth.
        layout: of the rows of files, where it is not `x y w h score` in pixels; sizes: [I, 2] of the images, for it.

    Raises:
        InputError: there is no such source, nothing in it belongs to an image, or a row is damaged (with file
            and line, or event, image and row).
    """
    name, expected, found, stray = _read(source, images, layout.columns if layout else BOX_COLUMNS)
    if layout:
        found = [prediction and prediction._replace(rows=layout.read(prediction.rows, size))
                 for prediction, size in zip(found, [None] * len(images) if sizes is None else sizes)]
    missing = [image.path for image, prediction in zip(images, found) if prediction is None]
    if len(missing) == len(images):
        raise InputError(f"{name} holds no prediction: expected {expected}, such as {missing[0]}, found "
                         f"{', '.join(stray[:3]) or 'nothing'}; give the folder that holds the event folders, or "
                         "the .json file")
    rows = [None if prediction is None else prediction.rows for prediction in found]
    unsorted = []
    for index, of_image in enumerate(rows):
        if of_image is not None and (of_image[1:, 4] > of_image[:-1, 4]).any():
            unsorted.append(index)
            rows[index] = best_first(of_image)
    return Predictions(name, rows, missing, _remarks(images, found, unsorted, stray))


def read_raw(source: Source, images: Sequence[TruthImage]) -> list[np.ndarray]:
    """Read rows as they stand, per image [N, 6], or [N, 5] where a row has no sixth number."""
    try:
        found = _read(source, images, BOX_COLUMNS + 1)[2]
    except InputError:
        found = _read(source, images, BOX_COLUMNS)[2]
    return [np.empty((0, BOX_COLUMNS)) if prediction is None else prediction.rows for prediction in found]


def _read(source: Source, images: Sequence[TruthImage],
          columns: int) -> tuple[str, str, list[Prediction | None], list[str]]:
    """Return the source's name, what it should hold, the prediction of every image, and what belongs to none."""
    if isinstance(source, Mapping):
        rows = {key: rows_of(faces, key) for key, faces in source.items()}
        return ("predictions in memory", "keys <event>/<image> without suffix", *_from_mapping(rows, images))
    if Path(source).suffix == ".json" and not Path(source).is_dir():
        return (str(source), "{event: {image: {\"bboxes\": ...}}} without suffix",
                *_from_mapping(read_predictions_json(source, columns), images))
    return (str(source), "<event>/<image>.txt", *_from_tree(Path(source), images, columns))


def _from_tree(folder: Path, images: Sequence[TruthImage], columns: int) -> tuple[
        list[Prediction | None], list[str]]:
    """Read the file of every image; the second list names what else may be meant as predictions: .txt, folders."""
    if not folder.is_dir():
        raise InputError(f"predictions {folder}: no such folder; give the --save_dir of the test "
                         "(with the epoch's folder)")
    files = {event: set(os.listdir(folder / event)) if (folder / event).is_dir() else set()
             for event in {image.event for image in images}}
    found: list[Prediction | None] = []
    for image in images:
        file = f"{image.name}.txt"
        if file not in files[image.event]:
            found.append(None)
            continue
        files[image.event].remove(file)
        path = f"{folder}/{image.event}/{file}"
        with open(path, "rb", 0) as opened:         # unbuffered: half the time for thousands of small files
            found.append(parse_prediction(opened.read(), path, columns))
    files.setdefault(".", set(os.listdir(folder)))
    events = {event.split("/")[0] for event in files}
    stray = sorted(os.path.normpath(f"{event}/{name}") for event, names in files.items() for name in names - events)
    if any(found):                  # else every name may tell what is wrong
        stray = [name for name in stray if name.endswith(".txt") or "/" not in name and (folder / name).is_dir()]
    return found, stray


def _from_mapping(rows: dict[str, np.ndarray],
                  images: Sequence[TruthImage]) -> tuple[list[Prediction | None], list[str]]:
    names = [image.path for image in images]
    found = [Prediction(rows[name], len(rows[name])) if name in rows else None for name in names]
    return found, sorted(rows.keys() - set(names))


def _remarks(images: Sequence[TruthImage], found: Sequence[Prediction | None], unsorted: list[int],
             stray: list[str]) -> list[str]:
    """Write one sentence for each kind of oddity."""
    def those(odd: Callable[[Prediction], bool]) -> list[str]:
        return [f"{image.event}/{image.name}" for image, prediction in zip(images, found)
                if prediction is not None and odd(prediction)]

    kinds = [("images: the count line disagrees with the rows; all rows are used",
              those(lambda prediction: prediction.header_count not in (None, len(prediction.rows)))),
             ("images: the rows are not sorted by score; they were sorted for scoring",
              [f"{images[index].event}/{images[index].name}" for index in unsorted]),
             ("images: a width or height is negative; from -1 down the row is a false alarm",
              those(lambda prediction: bool((prediction.rows[:, 2:4] < 0).any()))),
             ("images: the file holds neither count nor rows; it counts as no detections",
              those(lambda prediction: prediction.header_count is None and not len(prediction.rows))),
             ("files, folders or entries belong to no image of the ground truth; they are ignored", stray)]
    return [f"{len(names)} {text}, first: {', '.join(names[:3])}" for text, names in kinds if names]
