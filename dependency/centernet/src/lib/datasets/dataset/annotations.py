# SPDX-License-Identifier: Apache-2.0
"""`Annotations`: the Records of a file or a set, in a few arrays for all images.

    annotations = Annotations([record, other], "label.txt")
    record = annotations[0]                         # its boxes are a view of annotations.boxes
    faces = annotations.select([0])                 # of some images

A set of 128,800 images and 1.55 million faces takes 130 MB; data workers share the arrays (src/data/loader.py).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record


class Lines(NamedTuple):
    """Where one Record stands: the line of its image and of each face, 0 for none; `file` where it has its own."""
    image: int
    faces: list[int]
    file: str = ""


class Annotations(Sequence[Record]):
    """Records that remember where they come from.

    boxes [N, 4] float32, landmarks [N, 5, 2] float32, visibility [N, 5] uint8, ignore [N] bool: of all faces, image by
    image, as `Record` describes them; starts [M + 1]: image i has the faces from starts[i] to starts[i + 1]; sizes
    [M, 2]: height and width.
    file: the annotation file's name; problems: rows that were left out; exif: the picture that the boxes are of where
    the format decides it, see `fit_to_file`.
    """

    def __init__(self, records: Iterable[Record] = (), file: str = "", problems: Sequence[Problem] = (),
                 exif: str | None = None):
        records = list(records)
        counts = [len(record.boxes) for record in records]
        self.starts = start_of_each(counts)
        self.boxes = _joined([record.boxes for record in records], (4,), np.float32)
        self.landmarks = _joined([record.landmarks for record in records], (5, 2), np.float32)
        self.visibility = _joined([record.visibility for record in records], (5,), np.uint8)
        self.ignore = _joined([record.ignore for record in records], (), bool)
        self.sizes = np.array([(record.height, record.width) for record in records], np.int32).reshape(-1, 2)
        self.image_lines, self.face_lines = np.zeros(len(records), np.int32), np.zeros(sum(counts), np.int32)
        self._paths, self._files = _Texts([record.path for record in records]), _Texts([""] * len(records))
        self.file, self.problems, self.exif = file, list(problems), exif

    @classmethod
    def of(cls, records: Sequence[Record]) -> Annotations:
        """Return Annotations of Records, the same object if they are that already."""
        return records if isinstance(records, Annotations) else cls(records)

    @classmethod
    def of_columns(cls, paths: Sequence[str], counts: np.ndarray, files: Sequence[str],
                   **columns: Any) -> Annotations:
        """Make Annotations of arrays.

        Args:
            paths: of the images; counts: numbers of their faces; files: theirs where each has its own, else "".
            columns: the attributes boxes to exif, and image_lines [M] and face_lines [N].
        """
        made = cls.__new__(cls)
        made.__dict__.update(starts=start_of_each(counts), _paths=_Texts(paths), _files=_Texts(files), **columns)
        return made

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        index = range(len(self))[index]
        faces = slice(self.starts[index], self.starts[index + 1])
        height, width = self.sizes[index].tolist()
        return Record(self._paths[index], self.boxes[faces], self.landmarks[faces], self.visibility[faces],
                      self.ignore[faces], height, width)

    @property
    def paths(self) -> list[str]:
        """The images' paths."""
        return [self._paths[index] for index in range(len(self))]

    def lines(self, index: int) -> Lines:
        """Return where a Record stands in the file."""
        faces = self.face_lines[self.starts[index]:self.starts[index + 1]]
        return Lines(int(self.image_lines[index]), faces.tolist(), self._files[index])

    def select(self, indices: Sequence[int] | np.ndarray, paths: Sequence[str] | None = None) -> Annotations:
        """Return the Records of some images, perhaps with new paths; with all problems."""
        chosen = np.asarray(indices, np.int64)
        counts = np.diff(self.starts)[chosen]
        faces = face_indices(self.starts[chosen], counts)
        columns = {name: getattr(self, name)[faces]
                   for name in ("boxes", "landmarks", "visibility", "ignore", "face_lines")}
        return Annotations.of_columns(
            [self._paths[index] for index in chosen] if paths is None else paths, counts,
            [self._files[index] for index in chosen], sizes=self.sizes[chosen], image_lines=self.image_lines[chosen],
            file=self.file, problems=self.problems, exif=self.exif, **columns)

    def renamed(self, names: Mapping[str, str]) -> Annotations:
        """Return the Records and problems of the images in `names`, which gives each its new path."""
        paths = self.paths
        left_out = set(paths) - set(names)
        kept = [index for index, path in enumerate(paths) if path in names]
        found = self.select(kept, [names[paths[index]] for index in kept])
        found.problems = [replace(problem, image=names.get(problem.image, problem.image)) for problem in self.problems
                          if problem.image not in left_out]
        return found


class _Texts:
    """Many texts in one array of bytes."""

    def __init__(self, texts: Sequence[str]):
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.data = np.frombuffer(b"".join(parts), np.uint8)
        self.starts = start_of_each([len(part) for part in parts])

    def __getitem__(self, index: int) -> str:
        return self.data[self.starts[index]:self.starts[index + 1]].tobytes().decode("utf-8", "surrogatepass")


def start_of_each(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return where each of several runs begins, and the end of the last: counts [M] -> [M + 1]."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def face_indices(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the numbers start, start + 1, ... of each run, one run after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)


def _joined(parts: Sequence[np.ndarray], shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros((0, *shape), dtype), *parts]).astype(dtype, copy=False)
