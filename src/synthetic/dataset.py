# SPDX-License-Identifier: Apache-2.0
"""Writes a synthetic data set as files in the layout of WIDER FACE that the CenterFace manual names.

`generate(Path("demo"), {"train": 500, "val": 150}, seed=1)`. Boxes in memory are xyxy pixels, whole numbers.

Which faces count follows WIDER's own subsets, h the box height in pixels (invalid faces never count): easy: h
>= 50, blur flag 0 or 1, occlusion 0 or 1; medium: h >= 30, blur 0 or 1; hard: h >= 10. Invalid, so ignored in
training and test: more than 65 % hidden, or h < 8. More than 85 % hidden: no box at all. Occlusion 1 is above
8 %, 2 above 35 % hidden, where a surgical mask hides 30 % and sunglasses 10 %."""
from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, write_coco
from dependency.evaluate.ground_truth import write_ground_truth
from dependency.files import atomic_write
from src.annotations.read_write import write_label_txt
from src.common.progress import progress_bar
from src.synthetic.person import Face
from src.synthetic.render import to_jpeg
from src.synthetic.scene import EVENTS, Event, draw_scene

SPLITS = ("train", "val")
FLAGS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
_ORDER = [event for turn in range(max(e.share for e in EVENTS)) for event in EVENTS if event.share > turn]


class SyntheticImage(NamedTuple):
    """The annotation of a synthetic image: its Record and the six WIDER flags uint8 [N, 6] in the order of `FLAGS`."""
    record: Record
    flags: np.ndarray


class _Task(NamedTuple):
    split: str
    number: int
    seed: int
    size: int
    folder: Path


def event_of(index: int) -> Event:
    """Return the event of a split's image number `index`: a fixed order, in which every event appears early."""
    return _ORDER[index % len(_ORDER)]


def to_record(path: str, faces: list[Face], height: int, width: int) -> SyntheticImage:
    """Turn the faces of an image into a Record.

    A hidden landmark is occluded (1); one far outside its box is not labelled (0).
    """
    count = len(faces)
    boxes = np.array([face.box for face in faces], np.float32).reshape(count, 4)
    points = np.round(np.array([face.landmarks for face in faces], np.float64).reshape(count, 5, 2), 2)
    margin = 0.1 * (boxes[:, None, 2:] - boxes[:, None, :2])
    near = ((points >= boxes[:, None, :2] - margin) & (points <= boxes[:, None, 2:] + margin)).all(-1)
    visible = np.array([face.visible for face in faces], bool).reshape(count, 5)
    visibility = np.where(near, np.where(visible, 2, 1), 0).astype(np.uint8)
    points = np.where(visibility[..., None] > 0, points, 0).astype(np.float32)
    flags = np.array([[face.flags[name] for name in FLAGS]
                     for face in faces], np.uint8).reshape(count, len(FLAGS))
    return SyntheticImage(Record(path, boxes, points, visibility,
                 flags[:, FLAGS.index("invalid")] > 0, height, width), flags)


def draw(split: str, index: int, seed: int, size: int = 640) -> tuple[bytes, SyntheticImage]:
    """Draw image number `index` of a split: (JPEG bytes, annotation), the same for the same arguments."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    event = event_of(index)
    picture, faces = draw_scene(event, rng, size)
    name = f"{event.name}/{event.name.replace('--', '_')}_{index:05d}.jpg"
    return to_jpeg(picture, rng), to_record(name, faces, *picture.shape[:2])


def _draw_file(task: _Task) -> SyntheticImage:
    data, image = draw(task.split, task.number, task.seed, task.size)
    with atomic_write(task.folder / task.split / "images" / image.record.path, "wb") as file:
        file.write(data)
    return image


def subsets(image: SyntheticImage) -> dict[str, np.ndarray]:
    """Return the indices of the faces that count as easy, medium and hard (each holds the one before)."""
    height = image.record.boxes[:, 3] - image.record.boxes[:, 1]
    flags = {name: image.flags[:, column] for column, name in enumerate(FLAGS)}
    valid = flags["invalid"] == 0
    easy = valid & (height >= 50) & (flags["blur"] < 2) & (flags["occlusion"] < 2)
    medium = easy | valid & (height >= 30) & (flags["blur"] < 2)
    hard = medium | valid & (height >= 10)
    return {name: np.flatnonzero(kept) for name, kept in (("easy", easy), ("medium", medium), ("hard", hard))}


def _xywh(record: Record) -> np.ndarray:
    boxes = record.boxes.astype(np.int64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def write_bbx_gt(path: Path, images: Iterable[SyntheticImage]) -> None:
    """Write `wider_face_*_bbx_gt.txt`: x y w h and the six flags; no faces are one row of zeros."""
    lines = []
    for record, flags in images:
        rows = np.concatenate([_xywh(record), flags], 1)
        lines += [record.path, str(len(rows))]
        rows = rows if len(rows) else np.zeros((1, 10), int)
        lines += [" ".join(str(value) for value in row) for row in rows]
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines))


def write_annotations(folder: Path, split: str, images: list[SyntheticImage]) -> None:
    """Write the split's json, label.txt (without the faces to ignore, which it cannot express) and bbx_gt.txt."""
    records = [image.record for image in images]
    write_coco(folder / f"{split}.json", records)
    # An image all of whose faces are ignored would look like one without a face.
    write_label_txt(folder / f"{split}_label.txt",
                    [_counted(record) for record in records if not (len(record.ignore) and record.ignore.all())])
    write_bbx_gt(folder / f"wider_face_{split}_bbx_gt.txt", images)


def _counted(record: Record) -> Record:
    kept = ~record.ignore
    return Record(record.path, record.boxes[kept], record.landmarks[kept], record.visibility[kept],
                  record.ignore[kept], record.height, record.width)


def write_mat(folder: Path, images: list[SyntheticImage]) -> None:
    """Write the evaluation's ground truth of all images, by event."""
    events: dict[str, list] = {event.name: [] for event in EVENTS}
    for image in images:
        event, name = image.record.path.split("/")
        kept = subsets(image)
        events[event].append((name[:-len(".jpg")], _xywh(image.record),
                             kept["easy"], kept["medium"], kept["hard"]))
    write_ground_truth(folder, [(event, images) for event, images in events.items() if images])
    whole = (folder / "wider_face_val.mat").read_bytes()
    with atomic_write(folder / "val.mat", "wb") as file:  # the manual's name for the same file
        file.write(whole)


def _results(tasks: list[_Task], workers: int) -> Iterator[SyntheticImage]:
    if workers <= 1:
        yield from map(_draw_file, tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of whatever is loaded
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(_draw_file, tasks, chunksize=4)


def generate(folder: Path, counts: dict[str, int], seed: int, size: int = 640,
             workers: int | None = None) -> dict[str, list[SyntheticImage]]:
    """Draw a data set.

    Args:
        folder: receives `images/{train,val}/images/<event>/<name>.jpg`, `annotations/` and `ground_truth/`.
        counts: images by split, of "train" and "val".
        seed: the same seed gives the same files, whatever the number of workers.
        size: pixels of a image's longer side.
        workers: processes; None takes one for every processor, up to 16.

    Returns:
        The annotations by split, in the order of the files.
    """
    workers = min(multiprocessing.cpu_count(), 16) if workers is None else workers
    tasks = [_Task(split, number, seed, size, folder / "images") for split in SPLITS
             for number in range(counts.get(split, 0))]
    by_split: dict[str, list[SyntheticImage]] = {split: [] for split in SPLITS}
    with progress_bar(len(tasks), "images", "synthetic images") as bar:
        for task, result in zip(tasks, _results(tasks, workers)):
            by_split[task.split].append(result)
            bar.update()
    for split, images in by_split.items():
        if images:
            write_annotations(folder / "annotations", split, images)
    if by_split["val"]:
        write_mat(folder / "ground_truth", by_split["val"])
    return by_split
