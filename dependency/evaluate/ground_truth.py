# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE evaluation ground truth: four MATLAB files, read and written.

    truth = load_ground_truth("dataset/centerface/ground_truth")
    for image in truth.images: image.event, image.name, image.boxes, image.subsets["easy"]

`wider_face_val.mat` (or `val.mat`, the same file under the CenterFace manual's name) lists events, images and
boxes; `wider_{easy,medium,hard}_val.mat` list which boxes of every image count in that subset.  Boxes are
xywh pixels here, as in the files.  Any set of events and images works, not only the 61 events and 3,226
images of WIDER FACE val.
"""
from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.mat_file import read_mat
from dependency.files import atomic_write

SUBSETS = ("easy", "medium", "hard")
MAIN_FILES = ("wider_face_val.mat", "val.mat")
SOURCE = ("the files come with the official evaluation code, eval_tools.zip (folder ground_truth), at "
          "http://shuoyang1213.me/WIDERFACE")
LAYOUTS = {"event_list": "one text per event", "file_list": "one text per image",
           "face_bbx_list": "one matrix per image", "gt_list": "one matrix per image"}
HEADER = b"MATLAB 5.0 MAT-file, WIDER FACE ground truth".ljust(116)


class TruthImage(NamedTuple):
    """One image of the ground truth.

    event, name: folder ("." for none) and file name without suffix.
    boxes: [N, 4] float64 xywh pixels.
    subsets: subset -> 0-based indices of the boxes that count in it; the others are ignored.
    """
    event: str
    name: str
    boxes: np.ndarray
    subsets: dict[str, np.ndarray]

    @property
    def path(self) -> str:
        """Where the image is, without suffix: event/name."""
        return self.name if self.event == "." else f"{self.event}/{self.name}"


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
    path = Path(gt_dir)
    if path.suffix != ".mat":
        path = next((path / name for name in MAIN_FILES if (path / name).is_file()), path / MAIN_FILES[0])
    folder = path.parent
    events, names, box_lists = _read(path, ("event_list", "file_list", "face_bbx_list"))
    images = [(event, name) for event, event_names in zip(events, names) for name in event_names]
    if len(set(images)) < len(images):
        double = next(image for image in images if images.count(image) > 1)
        raise InputError(f"{path}: lists {'/'.join(double)} twice; {SOURCE}")
    index_lists = {subset: _read(folder / f"wider_{subset}_val.mat", ("gt_list",))[0] for subset in SUBSETS}
    for lists in (box_lists, *index_lists.values()):
        if list(map(len, lists)) != list(map(len, names)):
            raise InputError(f"{folder}: the files do not list the same images: take all four from one "
                             f"place; {SOURCE}")
    boxes = _boxes(path, images, box_lists)
    indices = [_indices(folder / f"wider_{subset}_val.mat", images, lists, boxes)
               for subset, lists in index_lists.items()]
    subsets = [dict(zip(SUBSETS, of_image)) for of_image in zip(*indices)]
    return GroundTruth([TruthImage(event, name, image_boxes, of_image)
                        for (event, name), image_boxes, of_image in zip(images, boxes, subsets)], folder)


def load_image_list(path: str | Path) -> list[tuple[str, list[str]]]:
    """Read events and their image names (no suffix) from one file such as `val.mat`, without the subsets.

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
    _write(Path(folder) / MAIN_FILES[0], shared)
    for column, subset in enumerate(SUBSETS, start=2):
        lists = _cells([_cells([_one_based(event, image, column) for image in images])
                        for event, images in events])
        _write(Path(folder) / f"wider_{subset}_val.mat", {**shared, "gt_list": lists})


def _read(path: Path, keys: Sequence[str]) -> list[list]:
    """Read cell arrays of equal length: `event_list` holds one text per event, the others one list per event."""
    if not path.is_file():
        raise InputError(f"no {path.name} in {path.parent}: expected {MAIN_FILES[0]} (or {MAIN_FILES[1]}), "
                         f"{', '.join(f'wider_{subset}_val.mat' for subset in SUBSETS)}; {SOURCE}")
    try:
        content = read_mat(path, keys)
    except InputError as error:
        raise InputError(f"{error}; {SOURCE}") from error
    for key in keys:
        values = content.get(key)
        if not isinstance(values, list):
            raise InputError(f"{path}: has no cell array `{key}`, so it is not a WIDER FACE ground truth; {SOURCE}")
        if len(values) != len(content[keys[0]]):
            raise InputError(f"{path}: {keys[0]} and {key} differ in length; {SOURCE}")
        if not _has_layout(key, values):
            raise InputError(f"{path}: `{key}` does not hold {LAYOUTS[key]}; {SOURCE}")
    return [content[key] for key in keys]


def _boxes(path: Path, images: list[tuple[str, str]], lists: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Check the boxes of every image; each [N, 4] float64, all parts of one array."""
    matrices = [matrix for event in lists for matrix in event]
    for image, matrix in zip(images, matrices):
        if matrix.size and matrix.shape[1:] != (4,):
            raise InputError(f"{path}: the boxes of {'/'.join(image)} have shape {matrix.shape}, expected [N, 4]; "
                             f"{SOURCE}")
    boxes = np.concatenate([np.empty((0, 4)), *(matrix.reshape(-1, 4) for matrix in matrices)])
    if not np.isfinite(boxes).all():
        raise InputError(f"{path}: a box is not finite; {SOURCE}")
    return _split(boxes, [len(matrix) if matrix.size else 0 for matrix in matrices])


def _indices(path: Path, images: list[tuple[str, str]], lists: list[list[np.ndarray]],
             boxes: list[np.ndarray]) -> list[np.ndarray]:
    """Check which boxes count in a subset; per image their 0-based indices, which are 1-based in the file."""
    matrices = [matrix.ravel() for event in lists for matrix in event]
    sizes = [len(matrix) for matrix in matrices]
    indices = np.concatenate([np.empty(0, np.int64), *matrices], dtype=np.int64, casting="unsafe") - 1
    outside = (indices < 0) | (indices >= np.repeat([len(image_boxes) for image_boxes in boxes], sizes))
    if outside.any():
        number = np.searchsorted(np.cumsum(sizes), outside.argmax(), side="right")
        raise InputError(f"{path}: {'/'.join(images[number])} counts a box that is not among its "
                         f"{len(boxes[number])}; {SOURCE}")
    return _split(indices, sizes)


def _split(values: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    return [values[end - size:end] for size, end in zip(sizes, accumulate(sizes))]


def _has_layout(key: str, values: list) -> bool:
    """Check whether a variable holds what `LAYOUTS` says."""
    if key == "event_list":
        return all(map(_is_text, values))
    is_valid = _is_text if key == "file_list" else _is_matrix
    return all(isinstance(event, list) and all(map(is_valid, event)) for event in values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "iuf"


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
