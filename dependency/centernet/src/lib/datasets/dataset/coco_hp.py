# SPDX-License-Identifier: Apache-2.0
"""`Record`, the annotation of one image, and its COCO-keypoints file (the manual's `train.json`, `val.json`).

    records = read_coco("annotations/train.json"); write_coco("copy.json", records)

In memory boxes are xyxy pixels; in the file `bbox` is xywh pixels.
"""
from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import (
    Problem,
    face_faults,
    image_name,
    raise_problems,
    repair_hint,
    short_number,
    xywh_numbers,
)
from dependency.errors import InputError
from dependency.files import atomic_write

FACE_CATEGORY = {"id": 1, "name": "face",
                 "keypoints": ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"]}


@dataclass(frozen=True)
class Record:
    """The annotated faces of one image.

    path: "<event>/<name>.jpg", relative to the image folder, forward slashes.
    boxes: [N, 4] float32, xyxy pixels, x2 = x1 + width.
    landmarks: [N, 5, 2] float32 pixels: left eye, right eye, nose, left mouth corner, right mouth corner
        (left = left in the image); 0 where not labelled.
    visibility: [N, 5] uint8 as in COCO: 0 not labelled, 1 occluded, 2 visible.
    ignore: [N] bool: neither face nor background (invalid, too small to count).
    height, width: pixels of the image, 0 when not known.
    """
    path: str
    boxes: np.ndarray
    landmarks: np.ndarray
    visibility: np.ndarray
    ignore: np.ndarray
    height: int = 0
    width: int = 0


def read_coco(path: str | Path, problems: list[Problem] | None = None) -> list[Record]:
    """Read a COCO-keypoints json file of faces, one Record for every image, also for those without faces.

    `bbox` is xywh pixels; `keypoints` is 5 x (x, y, v) and may be absent; `ignore` (ours) or `iscrowd` marks
    a face as neither face nor background. Of several categories the one named "face" is read.

    Args:
        path: the file.
        problems: where unusable annotations are noted while they are left out; without it they raise.

    Raises:
        InputError: not such a file; or, without `problems`, an annotation that cannot be used, by its id.
    """
    data = _load(Path(path))
    found: list[Problem] = []
    records = [_record(str(path), image, faces, found) for image, faces in _index(Path(path), data, found)]
    if problems is None:
        raise_problems(found, repair_hint(path))
    else:
        problems.extend(found)
    return records


def write_coco(path: str | Path, records: Sequence[Record]) -> None:
    """Write `records` as COCO-keypoints json, one entry a line; ids count from 1 in the order given.

    `num_keypoints` counts points with v > 0, `area` is width * height, an ignored face has "ignore": 1.

    Raises:
        InputError: a Record without height and width, or with a face that could not be read back.
    """
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id, record in enumerate(records, 1):
        faults = face_faults(record.boxes, record.landmarks)
        if faults or record.height < 1 or record.width < 1:
            reason = faults[0][2] if faults else f"height {record.height}, width {record.width}"
            raise InputError(f"{record.path}: {reason}; fill sizes and repair before writing {path}")
        size = {"height": int(record.height), "width": int(record.width)}
        images.append({"id": image_id, "file_name": record.path, **size})
        for face in range(len(record.boxes)):
            annotations.append(_annotation(len(annotations) + 1, image_id, record, face))
    with atomic_write(path) as file:
        file.write('{"categories": ' + json.dumps([FACE_CATEGORY]))
        for key, entries in (("images", images), ("annotations", annotations)):
            lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
            file.write(f',\n"{key}": [\n{lines}\n]')
        file.write("}\n")


def _annotation(identity: int, image_id: int, record: Record, face: int) -> dict:
    bbox = xywh_numbers(record.boxes[face])
    keypoints: list[float] = []
    for point, seen in zip(record.landmarks[face], record.visibility[face]):
        keypoints += [short_number(point[0]), short_number(point[1]), int(seen)] if seen else [0, 0, 0]
    entry = {"id": identity, "image_id": image_id, "category_id": FACE_CATEGORY["id"], "bbox": bbox,
             "keypoints": keypoints, "num_keypoints": int((record.visibility[face] > 0).sum()),
             "area": short_number(bbox[2] * bbox[3]), "iscrowd": 0, "segmentation": []}
    if record.ignore[face]:
        entry["ignore"] = 1
    return entry


def _load(path: Path) -> dict:
    """Read the file, and check its structure so far that pycocotools cannot fail on it."""
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a json file ({error}); expected COCO-keypoints json") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds a {type(data).__name__}; expected images and annotations")
    for key in ("images", "annotations", "categories"):
        entries = data.setdefault(key, []) if key == "categories" else data.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f'{path}: "{key}" must be a list of objects; see docs/formats.md')
    seen = set()
    for image in data["images"]:
        identity, size = image.get("id"), (image.get("height", 0), image.get("width", 0))
        if not isinstance(identity, (int, str)) or not isinstance(image.get("file_name"), str):
            raise InputError(f"{path}: image {identity!r} needs an id and a file_name; see docs/formats.md")
        if identity in seen:
            raise InputError(f"{path}: two images have the id {identity!r}; give each its own")
        if not all(isinstance(value, int) and value >= 0 for value in size):
            raise InputError(f"{path}: image {identity!r} has height, width {size}; expected whole pixels")
        seen.add(identity)
        image["file_name"] = image_name(image["file_name"], f"{path}: image {identity!r}")
    return data


def _index(path: Path, data: dict, problems: list[Problem]) -> Iterator[tuple[dict, list[dict]]]:
    """Yield each image with its face annotations; add annotations that belong to no image to `problems`."""
    from pycocotools.coco import COCO
    face_id = _face_category(path, data["categories"])
    images = {image["id"]: image for image in data["images"]}
    usable = []
    for annotation in data["annotations"]:
        lacking = [key for key in ("id", "image_id", "category_id", "bbox") if key not in annotation]
        keys = [annotation.get(key) for key in ("id", "image_id", "category_id")]
        if lacking or not all(isinstance(key, (int, str)) for key in keys):
            what = f"lacks {', '.join(lacking)}" if lacking else f"has the ids {keys}; expected numbers"
            text = f"annotation {annotation.get('id')!r} {what}"
            problems.append(Problem(str(path), 0, "", "syntax", text))
        elif annotation["image_id"] not in images:
            text = f"annotation {annotation['id']!r}: no image has the id {annotation['image_id']!r}"
            problems.append(Problem(str(path), 0, "", "syntax", text))
        elif face_id is None or annotation["category_id"] == face_id:
            usable.append(annotation)
    coco = COCO()
    coco.dataset = {"images": data["images"], "annotations": usable}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    for identity, image in coco.imgs.items():
        yield image, coco.imgToAnns.get(identity, [])


def _face_category(path: Path, categories: list[dict]) -> int | str | None:
    """Return the id of the category of faces; None if the file has no more than one category."""
    if len(categories) < 2:
        return None
    for category in categories:
        if category.get("name") == FACE_CATEGORY["name"]:
            return category.get("id")
    names = [category.get("name") for category in categories]
    raise InputError(f'{path}: categories {names}: none is named "face"; rename the one to be read')


def _record(file: str, image: dict, annotations: list[dict], problems: list[Problem]) -> Record:
    path = image["file_name"]
    rows, ignore, ids = [], [], []
    for annotation in annotations:
        try:
            rows.append(_row(annotation))
        except InputError as error:
            problems.append(Problem(file, 0, path, "syntax", f"annotation {annotation['id']!r}: {error}"))
            continue
        ignore.append(bool(annotation.get("ignore") or annotation.get("iscrowd")))
        ids.append(annotation["id"])
    table = np.array(rows, np.float64).reshape(-1, 19)
    record, dropped = make_record(path, table, ignore, image.get("height", 0), image.get("width", 0))
    for face, kind, text in dropped:
        problems.append(Problem(file, 0, path, kind, f"annotation {ids[face]!r}: {text}"))
    return record


def _row(annotation: dict) -> list[float]:
    """Read x, y, w, h and 5 x (x, y, v) of one annotation."""
    row: list[float] = []
    for key, length in (("bbox", 4), ("keypoints", 15)):
        values = annotation.get(key)
        if not values and key == "keypoints":
            values = [0] * 15
        if not isinstance(values, list) or len(values) != length:
            found = f"{len(values)} values" if isinstance(values, list) else repr(values)
            raise InputError(f"{key} has {found}; expected {length} numbers")
        if not all(isinstance(value, (int, float)) for value in values):
            raise InputError(f"{key} {values} holds something that is not a number")
        # json has no limit on integers, float has.
        row += [float(value) if abs(value) < 1e300 else math.nan for value in values]
    if not all(seen in (0, 1, 2) for seen in row[6::3]):
        raise InputError(f"keypoint flags {row[6::3]}: expected 0 (not labelled), 1 (occluded), 2 (visible)")
    return row


def make_record(path: str, rows: np.ndarray, ignore: Sequence[bool], height: int = 0,
                width: int = 0) -> tuple[Record, list[tuple[int, str, str]]]:
    """Make a Record of the usable faces among `rows`; return it with the `face_faults` of the others.

    Args:
        path: the image.
        rows: [N, 19] float64: x, y, w, h, then 5 x (x, y, v) with v 0 not labelled, 1 occluded, 2 visible.
        ignore: N flags.
        height: pixels of the image, or 0.
        width: pixels of the image, or 0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1).astype(np.float32)
        points = rows[:, 4:].reshape(-1, 5, 3)
        visibility = points[:, :, 2].astype(np.uint8)
        landmarks = np.where(visibility[:, :, None] > 0, points[:, :, :2], 0).astype(np.float32)
    faults = face_faults(boxes, landmarks)
    keep = np.ones(len(rows), bool)
    keep[[fault[0] for fault in faults]] = False
    ignored = np.array(ignore, bool)[keep]
    return Record(path, boxes[keep], landmarks[keep], visibility[keep], ignored, height, width), faults
