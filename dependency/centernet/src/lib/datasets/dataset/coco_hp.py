# SPDX-License-Identifier: Apache-2.0
"""`Record`, the annotation of one image, and its COCO-keypoints file (the manual's `train.json`, `val.json`).

    records = read_coco("annotations/train.json"); write_coco("copy.json", records)

In memory boxes are xyxy pixels; in the file `bbox` is xywh pixels.
"""
from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
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
from dependency.centernet.src.lib.datasets.dataset.coco_names import (
    POINT_NAMES,
    face_categories,
    five_points,
    read_numbers,
)
from dependency.errors import InputError
from dependency.files import atomic_write

LOGGER = logging.getLogger("facedet")
FACE_CATEGORY = {"id": 1, "name": "face", "keypoints": POINT_NAMES}


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

    `bbox` is xywh pixels; `keypoints` is n x (x, y, v) and may be absent: the five points are found by the names that
    the category gives them, without names there must be five; `ignore` (ours) or `iscrowd` marks a face as neither face
    nor background. Of several categories those with "face" in their name are read, and the log counts the others. An
    image that is listed once for each of its faces is one image.

    Args:
        path: the file.
        problems: where unusable annotations are noted while they are left out (where only the keypoints are unusable,
            the box stays); without it they raise.

    Raises:
        InputError: not such a file; or, without `problems`, an annotation that cannot be used, by its id.
    """
    data = _load(Path(path))
    found: list[Problem] = []
    faces = _usable(str(path), data, found)
    orders = {_key(category.get("id")): category["keypoints"] for category in data["categories"]
              if isinstance(category.get("keypoints"), list)}
    records = [_record(str(path), image, entries, orders, found)
               for image, entries in _images(str(path), data["images"], faces, found)]
    flagged = sum(unset for _, unset in records)
    warn_unset(path, flagged)
    if problems is None:
        raise_problems(found, repair_hint(path))
    else:
        problems.extend(found)
    return [record for record, _ in records]


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
    """Read the file, and check the structure of all but its annotations."""
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
        identity = image.get("id")
        if not isinstance(identity, (int, float, str)) or not isinstance(image.get("file_name"), str):
            raise InputError(f"{path}: image {identity!r} needs an id and a file_name; see docs/formats.md")
        if _key(identity) in seen:
            raise InputError(f"{path}: two images have the id {identity!r}; give each its own")
        size = [image.get(side) or 0 for side in ("height", "width")]
        if not all(isinstance(value, (int, float)) and 0 <= value < 1e9 and value % 1 == 0 for value in size):
            raise InputError(f"{path}: image {identity!r} has height, width {size}; expected whole pixels")
        image["height"], image["width"] = map(int, size)
        seen.add(_key(identity))
        image["file_name"] = image_name(image["file_name"], f"{path}: image {identity!r}")
    return data


def _key(identity: object) -> str:
    """Return an id as text: 1, 1.0 and "1" are the same."""
    whole = isinstance(identity, float) and identity.is_integer()
    return str(int(identity)) if whole else str(identity)  # type: ignore[call-overload]


def _usable(path: str, data: dict, problems: list[Problem]) -> dict[str, list[dict]]:
    """Group the annotations of faces by image; add those without image or category to `problems`."""
    images = {_key(image["id"]) for image in data["images"]}
    names = {_key(category.get("id")): str(category.get("name")) for category in data["categories"]}
    usable = defaultdict(list)
    counts: Counter[str] = Counter()
    for annotation in data["annotations"]:
        lacking = [key for key in ("id", "image_id", "category_id", "bbox") if key not in annotation]
        ids = [annotation.get(key) for key in ("id", "image_id", "category_id")]
        category = _key(ids[2])
        text = ""
        if lacking or not all(isinstance(key, (int, float, str)) for key in ids):
            text = f"lacks {', '.join(lacking)}" if lacking else f"has the ids {ids}; expected numbers"
        elif _key(ids[1]) not in images:
            text = f"no image has the id {ids[1]!r}"
        elif names and category not in names:
            text = f"no category has the id {ids[2]!r}"
        else:
            counts[category] += 1
            usable[category].append(annotation)
        if text:
            problems.append(Problem(path, 0, "", "syntax", f"annotation {annotation.get('id')!r}: {text}"))
    by_image = defaultdict(list)
    for category in face_categories(path, names, counts):
        for annotation in usable[category]:
            by_image[_key(annotation["image_id"])].append(annotation)
    return by_image


def _images(path: str, images: list[dict], faces: dict[str, list[dict]],
            problems: list[Problem]) -> list[tuple[dict, list[dict]]]:
    """Return each image with its annotations; join entries of one image, if each has at most one face."""
    one_each = all(len(faces.get(_key(image["id"]), [])) <= 1 for image in images)
    first: dict[str, tuple[dict, list[dict]]] = {}
    found = []
    for image in images:
        entry = image, list(faces.get(_key(image["id"]), []))
        before = first.setdefault(image["file_name"], entry)
        sizes = {(each["height"], each["width"]) for each in (image, before[0])} - {(0, 0)}
        if before is entry:
            found.append(entry)
        elif one_each and len(sizes) < 2:
            before[1].extend(entry[1])
        else:
            text = f"images {before[0]['id']!r} and {image['id']!r} have the same file_name; correct it or join the two"
            problems.append(Problem(path, 0, image["file_name"], "image_twice", text))
    if len(found) < len(images):
        LOGGER.warning("%s: %d images are listed before; their faces are joined", path, len(images) - len(found))
    return found


def _record(file: str, image: dict, annotations: list[dict], orders: dict[str, list],
            problems: list[Problem]) -> tuple[Record, int]:
    """Make the Record of an image; return it with the number of its faces that have `unset_points`."""
    path = image["file_name"]
    rows, ignore, ids = [], [], []
    for annotation in annotations:
        place = f"annotation {annotation['id']!r}"
        try:
            box = read_numbers(annotation["bbox"], "bbox", 4)
            ignored = any([_flag(annotation, "ignore"), _flag(annotation, "iscrowd")])
        except InputError as error:
            problems.append(Problem(file, 0, path, "syntax", f"{place}: {error}"))
            continue
        try:
            points = five_points(annotation.get("keypoints"), orders.get(_key(annotation["category_id"])))
        except InputError as error:
            problems.append(Problem(file, 0, path, "landmark", f"{place}: {error}"))
            points = [0.0] * 15
        rows.append(box + points)
        ignore.append(ignored)
        ids.append(annotation["id"])
    table = np.array(rows, np.float64).reshape(-1, 19)
    record, dropped = make_record(path, table, ignore, image["height"], image["width"])
    for face, kind, text in dropped:
        problems.append(Problem(file, 0, path, kind, f"annotation {ids[face]!r}: {text}"))
    return record, int(unset_points(table).any(axis=1).sum())


def _flag(annotation: dict, key: str) -> bool:
    value = annotation.get(key)
    if value in (None, 0, "0", "") or value in (1, "1"):
        return value in (1, "1")
    raise InputError(f"{key} is {value!r}; expected 0 or 1")


def unset_points(rows: np.ndarray) -> np.ndarray:
    """Mark the points at 0, 0 or -1, -1 whose flag says that they are labelled: rows as in `make_record` -> [N, 5]."""
    x, y, seen = np.moveaxis(rows[:, 4:].reshape(-1, 5, 3), 2, 0)
    return (seen > 0) & (x == y) & np.isin(x, (0, -1))


def warn_unset(path: str | Path, faces: int) -> None:
    """Log the number of faces with `unset_points`, if there are any."""
    if faces:
        LOGGER.warning("%s: %d faces have landmarks at 0, 0 or -1, -1 that are flagged as labelled; they are read as "
                       "not labelled", path, faces)


def make_record(path: str, rows: np.ndarray, ignore: Sequence[bool], height: int = 0,
                width: int = 0) -> tuple[Record, list[tuple[int, str, str]]]:
    """Make a Record of the usable faces among `rows`; return it with the `face_faults` of the others.

    Args:
        path: the image.
        rows: see `face_columns`.
        ignore: N flags.
        height: pixels of the image, or 0.
        width: pixels of the image, or 0.
    """
    boxes, landmarks, visibility = face_columns(rows)
    faults = face_faults(boxes, landmarks)
    keep = np.ones(len(rows), bool)
    keep[[fault[0] for fault in faults]] = False
    ignored = np.array(ignore, bool)[keep]
    return Record(path, boxes[keep], landmarks[keep], visibility[keep], ignored, height, width), faults


def face_columns(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convert rows of a file to boxes [N, 4], landmarks [N, 5, 2] and visibility [N, 5], as a `Record` holds them.

    Args:
        rows: [N, 19] float64: x, y, w, h, then 5 x (x, y, v) with v 0 not labelled, 1 occluded, 2 visible;
            `unset_points` count as not labelled.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1).astype(np.float32)
        points = rows[:, 4:].reshape(-1, 5, 3)
        visibility = np.where(unset_points(rows), 0, points[:, :, 2]).astype(np.uint8)
        landmarks = np.where(visibility[:, :, None] > 0, points[:, :, :2], 0).astype(np.float32)
    return boxes, landmarks, visibility
