# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE evaluation ground truth: four MATLAB files, read and written.

    truth = load_ground_truth("dataset/centerface/ground_truth")
    for image in truth.images: image.event, image.name, image.boxes, image.kept["easy"]

`wider_face_val.mat` (or `val.mat`, the same file under the CenterFace manual's name) lists events, images and
boxes; `wider_{easy,medium,hard}_val.mat` list which boxes of every image count in that subset.  Boxes are
xywh pixels here, as in the files.  Any set of events and images works, not only the 61 events and 3,226
images of WIDER FACE val.
"""
from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.mat_file import Matrices, read_mat
from dependency.files import atomic_write

SUBSETS = ("easy", "medium", "hard")
WHOLE = ("wider_face_val.mat", "val.mat")
SOURCE = ("the files come with the official evaluation code, eval_tools.zip (folder ground_truth), at "
          "http://shuoyang1213.me/WIDERFACE")
KINDS = {"event_list": "one text per event", "file_list": "one text per image"}
HEADER = b"MATLAB 5.0 MAT-file, WIDER FACE ground truth".ljust(116)


class TruthImage(NamedTuple):
    """One image of the ground truth.

    event, name: folder and file name without suffix.
    boxes: [N, 4] float64 xywh pixels.
    kept: subset -> 0-based indices of the boxes that count in it; the others are ignored.
    """
    event: str
    name: str
    boxes: np.ndarray
    kept: dict[str, np.ndarray]


@dataclass(frozen=True)
class GroundTruth:
    """All images, in the files' order, and the folder that they come from."""
    images: list[TruthImage]
    folder: Path


def load_ground_truth(gt_dir: str | Path) -> GroundTruth:
    """Read the four files.

    Args:
        gt_dir: their folder, or the path of the `wider_face_val.mat` or `val.mat` in it.

    Raises:
        InputError: a file is missing, is not such a MATLAB file, or disagrees with the others.
    """
    folder = Path(gt_dir)
    whole = folder
    if folder.suffix != ".mat":
        whole = next((folder / name for name in WHOLE if (folder / name).is_file()), folder / WHOLE[0])
    folder = whole.parent
    events, names, matrices = _read(whole, ("event_list", "file_list", "face_bbx_list"))
    places = [(event, name) for event, of_event in zip(events, names) for name in of_event]
    if len(set(places)) < len(places):
        double = next(place for place in places if places.count(place) > 1)
        raise InputError(f"{whole}: lists {'/'.join(double)} twice; {SOURCE}")
    counted = {subset: _read(folder / f"wider_{subset}_val.mat", ("gt_list",))[0] for subset in SUBSETS}
    for table in (matrices, *counted.values()):
        if table.groups != list(map(len, names)):
            raise InputError(f"{folder}: the files do not list the same images: take all four from one "
                             f"place; {SOURCE}")
    boxes = _boxes(places, matrices, folder)
    kept = [_indices(places, counted[subset], boxes, folder / f"wider_{subset}_val.mat") for subset in SUBSETS]
    return GroundTruth([TruthImage(*place, rows, dict(zip(SUBSETS, lists)))
                        for place, rows, *lists in zip(places, boxes, *kept)], folder)


def load_image_list(path: str | Path) -> list[tuple[str, list[str]]]:
    """Events and their image names (no suffix) from one file such as `val.mat`, without the subsets.

    Raises:
        InputError: the file is missing or is not such a MATLAB file.
    """
    return list(zip(*_read(Path(path), ("event_list", "file_list"))))


def write_ground_truth(folder: str | Path, events: list) -> None:
    """Write `wider_face_val.mat` and `wider_{easy,medium,hard}_val.mat` in the official structure.

    Args:
        folder: created when absent.
        events: `(event, [(name, boxes, easy, medium, hard), ...])` per event: name without suffix, boxes int
            [N, 4] xywh pixels, then the 0-based indices of the boxes that count in each subset.

    Equal input gives equal bytes: the files carry no date.

    Raises:
        InputError: an index is outside its image's boxes, or boxes are not [N, 4].
    """
    shared = {"event_list": _cells([event for event, _ in events]),
              "file_list": _cells([_cells([image[0] for image in images]) for _, images in events]),
              "face_bbx_list": _cells([_cells([_int_boxes(event, image) for image in images])
                                       for event, images in events])}
    _write(Path(folder) / WHOLE[0], shared)
    for column, subset in enumerate(SUBSETS, start=2):
        lists = _cells([_cells([_one_based(event, image, column) for image in images])
                        for event, images in events])
        _write(Path(folder) / f"wider_{subset}_val.mat", {**shared, "gt_list": lists})


def _boxes(places: list[tuple[str, str]], matrices: Matrices, folder: Path) -> list[np.ndarray]:
    """Per image [N, 4] float64, all parts of one array."""
    counts = np.where(matrices.columns > 0, matrices.rows, 0)
    wrong = (counts > 0) & (matrices.columns != 4)
    if wrong.any():
        image = wrong.argmax()
        raise InputError(f"{folder}: the boxes of {'/'.join(places[image])} have shape ({matrices.rows[image]}, "
                         f"{matrices.columns[image]}), expected [N, 4]; {SOURCE}")
    if not np.isfinite(matrices.values).all():
        raise InputError(f"{folder}: a box is not finite; {SOURCE}")
    # The file holds the columns one after the other: x of all boxes of an image, then y, ...
    row = np.arange(counts.sum()) + np.repeat(3 * (np.cumsum(counts) - counts), counts)
    boxes = matrices.values[row[:, None] + np.repeat(counts, counts)[:, None] * np.arange(4)]
    return _split(boxes, counts)


def _indices(places: list[tuple[str, str]], matrices: Matrices, boxes: list[np.ndarray],
             path: Path) -> list[np.ndarray]:
    """Per image the 0-based indices of the boxes that count; 1-based in the file."""
    counts = matrices.rows * matrices.columns
    index = matrices.values.astype(np.int64) - 1
    wrong = (index < 0) | (index >= np.repeat(list(map(len, boxes)), counts))
    if wrong.any():
        image = np.searchsorted(np.cumsum(counts), wrong.argmax(), side="right")
        raise InputError(f"{path}: {'/'.join(places[image])} counts a box that is not among its "
                         f"{len(boxes[image])}; {SOURCE}")
    return _split(index, counts)


def _split(values: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum(sizes).tolist()
    return [values[start:end] for start, end in zip([0, *ends], ends)]


def _read(path: Path, keys: Sequence[str]) -> list:
    """The cell arrays of a file; `event_list` holds a text for each event, the others a cell for each image."""
    if not path.is_file():
        raise InputError(f"no {path.name} in {path.parent}: expected {WHOLE[0]} (or {WHOLE[1]}), "
                         f"{', '.join(f'wider_{subset}_val.mat' for subset in SUBSETS)}; {SOURCE}")
    try:
        content = read_mat(path, keys)
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as a MATLAB file of WIDER FACE ({error}); {SOURCE}") from error
    for key in keys:
        if key not in content:
            raise InputError(f"{path}: has no cell array `{key}`, so it is not a WIDER FACE ground truth; "
                             f"{SOURCE}")
        texts, numbers = key in ("event_list", "file_list"), isinstance(content[key], Matrices)
        if texts == numbers or texts and any(isinstance(cell, str) != (key == "event_list") for cell in content[key]):
            raise InputError(f"{path}: `{key}` does not hold {KINDS.get(key, 'one matrix per image')}; {SOURCE}")
        if len(content[key]) != len(content[keys[0]]):
            raise InputError(f"{path}: {keys[0]} and {key} differ in length; {SOURCE}")
    return [content[key] for key in keys]


def _cells(values: list) -> np.ndarray:
    cells = np.empty((len(values), 1), object)
    for row, value in enumerate(values):
        cells[row, 0] = value
    return cells


def _int_boxes(event: str, image: tuple) -> np.ndarray:
    boxes = np.asarray(image[1], np.int32)
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise InputError(f"{event}/{image[0]}: boxes have shape {boxes.shape}: expected [N, 4] xywh")
    return boxes.reshape(-1, 4)


def _one_based(event: str, image: tuple, column: int) -> np.ndarray:
    index = np.asarray(image[column], np.int64).reshape(-1, 1)
    if index.size and not 0 <= index.min() <= index.max() < len(image[1]):
        raise InputError(f"{event}/{image[0]}: a counted index is outside its {len(image[1])} boxes: "
                         "use 0-based ones")
    return (index + 1).astype(np.uint16)


def _write(path: Path, content: dict[str, np.ndarray]) -> None:
    from scipy.io import savemat  # slow to import, and reading does without

    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    data = buffer.getvalue()
    with atomic_write(path, "wb") as file:
        file.write(HEADER + data[len(HEADER):])     # scipy puts the date into the header's text
