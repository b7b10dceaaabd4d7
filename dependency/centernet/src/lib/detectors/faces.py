# SPDX-License-Identifier: Apache-2.0
"""`Faces`, what a detector finds in one image, and what people do with it.

    for box, score, landmarks in faces: ...
    faces.filter(score=0.6, size=40).align(image)          # uint8 [N, 112, 112, 3], for face recognisers
    faces.save("photo.json", "photo.jpg")

Boxes are float32 xyxy pixels (x2 - x1 is the width), landmarks [N, 5, 2]: left eye, right eye, nose, left mouth
corner, right mouth corner, left in the image. Images are arrays as `as_bgr` takes them, in the pixels that were
searched: read a file by `read_photo`, which turns it as the detector does.
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from dependency.centernet.src.lib.utils.align import TEMPLATE_SIDE, align_faces
from dependency.centernet.src.lib.utils.draw import draw_faces
from dependency.centernet.src.lib.utils.hide import GROW, Hide
from dependency.centernet.src.lib.utils.image_file import as_bgr
from dependency.errors import InputError
from dependency.evaluate.prediction_io import write_prediction
from dependency.files import atomic_write, plain_text

COLUMNS = 15


class Face(NamedTuple):
    """One face: box [4] xyxy pixels, score, landmarks [5, 2] pixels."""
    box: np.ndarray
    score: float
    landmarks: np.ndarray


@dataclass(frozen=True)
class Faces:
    """Detected faces, best score first.

    boxes: [N, 4] float32 xyxy pixels of the original image (x2 - x1 is the width).
    scores: [N] float32.
    landmarks: [N, 5, 2] float32 pixels: left eye, right eye, nose, left mouth corner, right mouth corner.
    """
    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @overload
    def __getitem__(self, index: int) -> Face: ...

    @overload
    def __getitem__(self, index: slice | list | np.ndarray) -> Faces: ...

    def __getitem__(self, index: Any) -> Face | Faces:
        """Return one `Face` for a number, and `Faces` for a slice, a mask or a list of numbers."""
        if isinstance(index, (int, np.integer)):
            return Face(self.boxes[index], float(self.scores[index]), self.landmarks[index])
        return Faces(self.boxes[index], self.scores[index], self.landmarks[index])

    def __iter__(self) -> Iterator[Face]:
        return (self[index] for index in range(len(self)))

    def rows(self) -> np.ndarray:
        """Return all faces as [N, 15] float32: box xyxy, score, landmarks x0 y0 .. x4 y4."""
        parts = self.boxes, self.scores[:, None], self.landmarks.reshape(-1, 10)
        return np.concatenate(parts, axis=1, dtype=np.float32)

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> Faces:
        """Make Faces from rows [N, 15] (see `rows`), highest score first; equal scores keep their order."""
        rows = np.asarray(rows, np.float32).reshape(-1, COLUMNS)
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return cls(rows[:, :4], rows[:, 4], rows[:, 5:].reshape(-1, 5, 2))

    def scaled(self, factor: float | Sequence[float] | np.ndarray) -> Faces:
        """Return the same faces as they lie in an image `factor` times as large; two factors are those of x and y."""
        factors = np.broadcast_to(np.asarray(factor, np.float32), 2)
        return Faces(self.boxes * np.tile(factors, 2), self.scores, self.landmarks * factors)

    def filter(self, score: float = 0.0, size: float = 0.0) -> Faces:
        """Select those with at least this score whose box is at least `size` pixels wide and high."""
        sides = (self.boxes[:, 2:] - self.boxes[:, :2]).min(axis=1, initial=np.inf)
        return self[(self.scores >= score) & (sides >= size)]

    def crop(self, image: np.ndarray, margin: float = 0.2) -> list[np.ndarray]:
        """Copy each face's part of the image: its box, larger by `margin` of its sides all around, within the image.

        Returns:
            uint8 [h, w, 3] each, at least one pixel.
        """
        image = as_bgr(image)
        limit = np.array(image.shape[1::-1])
        border = margin * (self.boxes[:, 2:] - self.boxes[:, :2])
        starts = np.floor(self.boxes[:, :2] - border).clip(0, limit - 1).astype(int)
        ends = np.maximum(np.ceil(self.boxes[:, 2:] + border).clip(0, limit).astype(int), starts + 1)
        return [image[y1:y2, x1:x2].copy() for (x1, y1), (x2, y2) in zip(starts.tolist(), ends.tolist())]

    def align(self, image: np.ndarray, size: int = TEMPLATE_SIDE) -> np.ndarray:
        """Turn each face upright, its landmarks on ArcFace's template: uint8 [N, size, size, 3]; see `align_faces`."""
        return align_faces(as_bgr(image), self.landmarks, size)

    def draw(self, image: np.ndarray, scores: bool = True) -> np.ndarray:
        """Draw boxes, scores and landmarks on a copy of the image uint8 [H, W, 3]; see `draw_faces`."""
        return draw_faces(as_bgr(image), self, scores)

    def hide(self, image: np.ndarray, style: str | np.ndarray = "blur", mask: str = "ellipse",
             grow: float = GROW) -> np.ndarray:
        """Make the faces unrecognisable in a copy of the image uint8 [H, W, 3]; see `Hide`."""
        return Hide(style, mask, grow).apply(as_bgr(image), self.boxes)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON file holds, with pixels rounded to a tenth.

        It is {"faces": [{"score", "box_xyxy" [4], "landmarks" [5][2]}, ...]}.
        """
        return {"faces": [{"score": round(score, 4), "box_xyxy": _tenths(box), "landmarks": _tenths(landmarks)}
                          for box, score, landmarks in self]}

    def save(self, path: str | Path, image: str | Path = "",
             shape: tuple[int, int] | None = None) -> None:
        """Write a file by its suffix: .txt in WIDER's layout (x y w h score; no landmarks), .json with everything.

        Args:
            path: its folder is created; the file is written whole or not at all.
            image: the image's name that the file states; without one the file's own.
            shape: (height, width) of the image, for the JSON.

        Raises:
            InputError: another suffix.
        """
        path = Path(path)
        name = str(image) or path.stem
        if path.suffix.lower() == ".txt":
            write_prediction(path, plain_text(name), self)
        elif path.suffix.lower() == ".json":
            size = {"height": shape[0], "width": shape[1]} if shape else {}
            with atomic_write(path) as file:
                json.dump({"image": name, **size, **self.to_dict()}, file, indent=1)
        else:
            raise InputError(f"{plain_text(path)}: faces are written as .txt or .json")


def _tenths(values: np.ndarray) -> list:
    return np.round(values.astype(float), 1).tolist()
