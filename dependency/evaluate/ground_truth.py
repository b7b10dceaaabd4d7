# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE evaluation ground truth: four MATLAB files, read and written.

    truth = load_ground_truth("dataset/centerface/ground_truth")
    for image in truth.images: image.event, image.name, image.boxes, image.kept["easy"]

`wider_face_val.mat` (or `val.mat`, the same file under the CenterFace manual's name) lists events, images and
boxes; `wider_{easy,medium,hard}_val.mat` list which boxes of every image count in that subset.  Boxes are
xywh pixels here, as in the files.  Any set of events and images works, not only the 61 events and 3,226
images of WIDER FACE val.
"""
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Union

import numpy as np
from scipy.io import loadmat, savemat

from dependency.errors import InputError
from dependency.files import atomic_write

SUBSETS = ("easy", "medium", "hard")
WHOLE = ("wider_face_val.mat", "val.mat")
SOURCE = ("the files come with the official evaluation code, eval_tools.zip (folder ground_truth), at "
          "http://shuoyang1213.me/WIDERFACE")
HEADER = b"MATLAB 5.0 MAT-file, WIDER FACE ground truth".ljust(116)


@dataclass(frozen=True)
class TruthImage:
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


def load_ground_truth(gt_dir: Union[str, Path]) -> GroundTruth:
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
    names, boxes = _read(whole, "file_list"), _read(whole, "face_bbx_list")
    events = _events(whole)
    kept = {subset: _read(folder / f"wider_{subset}_val.mat", "gt_list") for subset in SUBSETS}
    for table in (boxes, *kept.values()):
        if len(events) != len(names) or list(map(len, table)) != list(map(len, names)):
            raise InputError(f"{folder}: the files do not list the same images: take all four from one "
                             f"place; {SOURCE}")
    images = []
    for e, event in enumerate(events):
        for i, name in enumerate(names[e]):
            lists = {subset: table[e][i] for subset, table in kept.items()}
            images.append(_image(event, _string(name), boxes[e][i], lists, folder))
    if not images:
        raise InputError(f"{whole}: lists no image; {SOURCE}")
    return GroundTruth(images, folder)


def load_image_list(path: Union[str, Path]) -> list[tuple[str, list[str]]]:
    """Events and their image names (no suffix) from one file such as `val.mat`, without the subsets.

    Raises:
        InputError: the file is missing or is not such a MATLAB file.
    """
    path = Path(path)
    return [(event, [_string(name) for name in names])
            for event, names in zip(_events(path), _read(path, "file_list"))]


def write_ground_truth(folder: Union[str, Path], events: list) -> None:
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


def _image(event: str, name: str, boxes: np.ndarray, lists: dict[str, np.ndarray],
           folder: Path) -> TruthImage:
    """One checked image; `lists` are 1-based as in the files."""
    if boxes.size and boxes.shape[1:] != (4,):
        raise InputError(f"{folder}: the boxes of {event}/{name} have shape {boxes.shape}, expected [N, 4]; "
                         f"{SOURCE}")
    boxes = boxes.astype(np.float64).reshape(-1, 4)
    kept = {subset: index.astype(np.int64).ravel() - 1 for subset, index in lists.items()}
    for subset, index in kept.items():
        if index.size and not 0 <= index.min() <= index.max() < len(boxes):
            raise InputError(f"{folder}/wider_{subset}_val.mat: {event}/{name} counts a box that is not "
                             f"among its {len(boxes)}; {SOURCE}")
    return TruthImage(event, name, boxes, kept)


def _read(path: Path, key: str) -> list[list[np.ndarray]]:
    """The cell array of cell arrays `key`: per event a list of one array per image."""
    events = _matlab(path, key).ravel()
    if any(event.dtype != object for event in events if event.size):
        raise InputError(f"{path}: `{key}` does not hold one cell per image; {SOURCE}")
    return [list(event.ravel()) for event in events]


def _events(path: Path) -> list[str]:
    return [_string(event) for event in _matlab(path, "event_list").ravel()]


def _matlab(path: Path, key: str) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"no {path.name} in {path.parent}: expected {WHOLE[0]} (or {WHOLE[1]}), "
                         f"{', '.join(f'wider_{subset}_val.mat' for subset in SUBSETS)}; {SOURCE}")
    try:
        content = loadmat(path, variable_names=[key])
    except Exception as error:      # damaged files: ValueError, TypeError, zlib.error, struct.error, ...
        raise InputError(f"{path}: cannot be read as a MATLAB file ({error}); {SOURCE}") from error
    if key not in content or content[key].dtype != object:
        raise InputError(f"{path}: has no cell array `{key}`, so it is not a WIDER FACE ground truth; "
                         f"{SOURCE}")
    return content[key]


def _string(cell: np.ndarray) -> str:
    return str(cell.ravel()[0]) if cell.size else ""


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
    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=True)
    data = buffer.getvalue()
    with atomic_write(path, "wb") as file:
        file.write(HEADER + data[len(HEADER):])     # scipy puts the date into the header's text
