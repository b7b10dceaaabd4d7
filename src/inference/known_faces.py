# SPDX-License-Identifier: Apache-2.0
"""Read the faces that predict.py wrote, perhaps corrected by hand, to hide them without searching again.

    frames = read_film("party.jsonl")               # a list of faces for each frame
    detector = KnownFaces("photo.json")             # in place of a `FaceDetector`, for one photograph

A face is {"box_xyxy": [x1, y1, x2, y2]} in pixels; "face", its number, "score" and "landmarks" may be there.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.image_file import MAX_PIXELS, read_photo
from dependency.errors import InputError
from dependency.files import existing_file, plain_text
from src.weights.metadata import parse_table

LARGEST = 1e6       # pixels; no image is as large
_NAMES = {"face", "score", "box_xyxy", "landmarks"}
_ADVICE = 'expected an object with "faces"'
_FACE = '{"box_xyxy": [x1, y1, x2, y2]} in pixels, x1 < x2 and y1 < y2'


def read_film(path: str | Path) -> list[list[dict[str, Any]]]:
    """Read the faces of each frame of a film from lines {"frame": 12, "faces": [...]}.

    Raises:
        InputError: no such file; a line that is malformed, or not of the frame that follows, by its number.
    """
    frames: list[list[dict[str, Any]]] = []
    for number, line in enumerate(_read(path).splitlines(), start=1):
        place = f"{plain_text(path)}, line {number}"
        content = parse_table(line, place, _ADVICE)
        if content.get("frame") != len(frames):
            raise InputError(f'{place}: "frame" is {content.get("frame")!r}, expected {len(frames)}; there must be a '
                             'line for every frame, with "faces": [] where nothing is to be hidden')
        frames.append(_faces(content, place))
    return frames


class KnownFaces:
    """Knows the faces of one photograph, and offers what `hide_photos` needs of a detector.

    Raises:
        InputError: no such file, or one that is malformed.
    """
    batch_size = 1

    def __init__(self, path: str | Path, max_pixels: int | None = None):
        self._name, self._max_pixels = plain_text(path), max_pixels or MAX_PIXELS
        content = parse_table(_read(path), self._name, _ADVICE)
        self._size = content.get("height"), content.get("width")
        self._faces = _faces(content, self._name)

    def read(self, path: str | Path) -> np.ndarray:
        """Read the photograph: uint8 [H, W, 3] BGR."""
        image = read_photo(path, self._max_pixels)
        if self._size != (None, None) and self._size != image.shape[:2]:
            raise InputError(f"{self._name}: faces of an image of {self._size[1]} x {self._size[0]} pixels, but "
                             f"{plain_text(path)} has {image.shape[1]} x {image.shape[0]}; search it again")
        return image

    def detect(self, images: list[np.ndarray]) -> list[Faces]:
        """Return the faces for each image: their boxes, scores (1 where there is none), and no landmarks (zeros)."""
        rows = [[*face["box_xyxy"], face.get("score", 1.0), *np.zeros(10)] for face in self._faces]
        return [Faces.from_rows(np.array(rows)) for _ in images]


def _read(path: str | Path) -> str:
    try:
        return existing_file(path, "a file of faces that predict.py wrote").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{plain_text(path)}: not text (UTF-8); expected the .json or .jsonl of predict.py") from error


def _faces(content: dict[str, Any], place: str) -> list[dict[str, Any]]:
    faces = content.get("faces")
    if not isinstance(faces, list):
        raise InputError(f'{place}: "faces" is {faces!r:.60}, expected a list of {_FACE}')
    for count, face in enumerate(faces, start=1):
        if not _is_face(face):
            raise InputError(f"{place}: face {count} is {face!r:.120}, expected {_FACE}")
    return faces


def _is_face(face: Any) -> bool:
    if not isinstance(face, dict) or set(face) - _NAMES or type(face.get("score", 1)) not in (int, float):
        return False
    box = face.get("box_xyxy")
    return (isinstance(box, list) and len(box) == 4 and all(type(each) in (int, float) for each in box)
            and max(map(abs, box)) <= LARGEST and box[0] < box[2] and box[1] < box[3])
