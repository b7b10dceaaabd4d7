# SPDX-License-Identifier: Apache-2.0
"""Suspected errors of the annotation: what several runs find that is not annotated, and faces that none of them finds.

    suspects = LabelErrors(image_dir)
    suspects.add(outcomes)                          # of every run
    print(suspects.write(Path("label_errors")))     # suspects.json, suspects.jpg

suspects.json is an annotation file whose faces are all ignored. Looked through, with what is annotated rightly deleted,
it goes with the annotation into `prepare_wider --annotation label.txt suspects.json --out train.json`: there a face
with the same box becomes ignored, and a place that looks like a face is no background.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.image_file import find_named, read_header, read_image
from dependency.evaluate.matching import corners
from dependency.evaluate.overlaps import box_overlaps
from dependency.evaluate.report.failures import MIN_OVERLAP
from dependency.evaluate.report.outcomes import Outcomes
from dependency.evaluate.report.pictures import close_up
from src.annotations.read_write import write_records
from src.common.draw import contact_sheet, write_image

LIST, SHEET = "suspects.json", "suspects.jpg"
MOST = 60                           # pictures of each kind
SAME = 0.5                          # overlap from which boxes of two runs mean the same place
NOT_ANNOTATED, NOT_FOUND = "not annotated", "not found"


class Suspect(NamedTuple):
    """A place: its image, the box x y w h in pixels, the kind, its score (0 of a face that is not found)."""
    image: str
    box: tuple[float, ...]
    kind: str
    score: float


class LabelErrors:
    """Collects the suspects of several runs over the same images.

    Args:
        image_dir: folder of the images.
        records: of one's own images, in the order of the evaluation: their boxes need not be whole pixels.
    """

    def __init__(self, image_dir: Path, records: Sequence[Record] = ()):
        self.image_dir = image_dir
        self.annotated = {str(PurePosixPath(record.path).with_suffix("")): record.boxes for record in records}
        self.runs = 0
        self.unfound: dict[tuple[str, tuple[float, ...]], int] = {}
        self.alarms: dict[str, list[tuple[np.ndarray, int]]] = {}       # image -> (row, runs that have it)

    def add(self, outcomes: Outcomes) -> None:
        """Add a run: its false alarms on background that score like a face, and its faces that no box touches."""
        self.runs += 1
        touched = np.zeros(len(outcomes.boxes), bool)
        touched[outcomes.matches.face[outcomes.matches.overlap >= MIN_OVERLAP]] = True
        for face in np.flatnonzero(outcomes.counted & ~touched).tolist():
            key = outcomes.names[outcomes.face_image[face]], self._annotated_box(outcomes, face)
            self.unfound[key] = self.unfound.get(key, 0) + 1
        right = outcomes.rows[outcomes.hit & outcomes.above, 4]
        if not len(right):
            return
        sure = outcomes.wrong & (outcomes.matches.overlap < MIN_OVERLAP) & (outcomes.rows[:, 4] >= np.median(right))
        for index in np.flatnonzero(sure):
            places = self.alarms.setdefault(outcomes.names[outcomes.matches.image[index]], [])
            row = outcomes.rows[index]
            overlap = box_overlaps(corners([row[None]]), corners([place[None] for place, _ in places]))[0]
            if overlap.max(initial=0) < SAME:
                places.append((row, 1))
            else:
                known, runs = places[overlap.argmax()]
                places[overlap.argmax()] = (known if known[4] >= row[4] else row, runs + 1)

    def _annotated_box(self, outcomes: Outcomes, face: int) -> tuple[float, ...]:
        """Return the box of a face, x y w h, as its annotation has it: another one would not be the same face."""
        image = outcomes.face_image[face]
        boxes = self.annotated.get(str(PurePosixPath(outcomes.names[image])))
        if boxes is None:
            return tuple(outcomes.boxes[face].tolist())
        left, top, right, bottom = boxes[face - np.searchsorted(outcomes.face_image, image)].tolist()
        return left, top, right - left, bottom - top

    def suspects(self) -> list[Suspect]:
        """List places that most runs report, the surest first, and faces that no run finds, the largest first."""
        alarms = [Suspect(image, _inside(row), NOT_ANNOTATED, float(row[4]))
                  for image, places in self.alarms.items() for row, runs in places if 2 * runs > self.runs]
        faces = [Suspect(image, box, NOT_FOUND, 0.0) for (image, box), runs in self.unfound.items()
                 if runs == self.runs]
        return (sorted(alarms, key=lambda each: -each.score)
                + sorted(faces, key=lambda each: -each.box[2] * each.box[3]))

    def write(self, folder: Path) -> str:
        """Write the list, and the sheet of the first of each kind; return a line for the console.

        Raises:
            InputError: an image is missing or damaged.
        """
        suspects = self.suspects()
        names = {each.image for each in suspects}
        found = find_named(self.image_dir, names)
        files = {name: found.get(name, f"{name}.jpg") for name in names}
        folder.mkdir(parents=True, exist_ok=True)
        write_records(folder / LIST, self._records(suspects, files))
        (folder / SHEET).unlink(missing_ok=True)
        kinds = {kind: [each for each in suspects if each.kind == kind] for kind in (NOT_ANNOTATED, NOT_FOUND)}
        shown = [each for of_kind in kinds.values() for each in of_kind[:MOST]]
        if shown:
            pictures = [_picture(self.image_dir / files[each.image], each) for each in shown]
            captions = [f"{each.kind} {each.score:.2f}" if each.score else each.kind for each in shown]
            write_image(folder / SHEET, contact_sheet(pictures, columns=8, cell=160, captions=captions))
        counts = ", ".join(f"{len(of_kind)} {kind}" for kind, of_kind in kinds.items())
        return f"suspected label errors: {counts}; {folder / LIST}"

    def _records(self, suspects: Sequence[Suspect], files: dict[str, str]) -> list[Record]:
        """Make a Record of every image, with its faces ignored."""
        boxes: dict[str, list[tuple[float, ...]]] = {}
        for each in suspects:
            boxes.setdefault(files[each.image], []).append(each.box)
        records = []
        for path, of_image in boxes.items():
            faces, header = len(of_image), read_header(self.image_dir / path)
            records.append(Record(path, corners([np.array(of_image)]).astype(np.float32),
                                  np.zeros((faces, 5, 2), np.float32), np.zeros((faces, 5), np.uint8),
                                  np.ones(faces, bool), header.height, header.width))
        return records


def _inside(row: np.ndarray) -> tuple[float, ...]:
    """Return the box of a row in whole pixels, cut at the left and upper edge of the image."""
    left, top, right, bottom = np.maximum(corners([row[None]])[0], 0).round().tolist()
    return left, top, right - left, bottom - top


def _picture(path: Path, suspect: Suspect) -> np.ndarray:
    """Cut the close-up of a suspect, with its box as a white frame."""
    image = read_image(path)
    height, width = image.shape[:2]
    x, y, across, down = map(round, suspect.box)
    for colour, grow in (((0, 0, 0), 2), ((255, 255, 255), 1)):
        cv2.rectangle(image, (x - grow, y - grow), (x + across + grow, y + down + grow), colour, 1)
    left, top, across, down = close_up(suspect.box, width, height)
    return image[top:top + down, left:left + across]
