# SPDX-License-Identifier: Apache-2.0
"""Small sets in FDDB's layout, and masks painted as the official program paints them."""
import cv2
import numpy as np
from PIL import Image

from dependency.evaluate.fddb.overlap import ellipse_boxes


def painted(shape, size):
    """The whole image's mask of one box [4] or ellipse [5], drawn as the official program draws it."""
    mask = np.zeros(size, np.uint8)
    if len(shape) == 4:
        x, y, w, h = shape
        ends = np.rint(np.float32([x, y, x + w, y + h])).astype(int).tolist()
        cv2.rectangle(mask, tuple(ends[:2]), tuple(ends[2:]), 255, cv2.FILLED)
    else:
        major, minor, angle, x, y = shape
        centre = tuple(np.rint(np.float32([x, y])).astype(int).tolist())
        cv2.ellipse(mask, centre, (int(major), int(minor)), float(np.degrees(angle)), 0, 360, 255, cv2.FILLED)
    return mask > 0


def literal_overlap(one, two, size):
    a, b = painted(one, size), painted(two, size)
    return (a & b).sum() / max((a | b).sum(), 1)


def random_image(rng, size=(90, 120)):
    """Ellipses (some over the border), and boxes round about them and elsewhere, with few distinct scores."""
    count = rng.integers(1, 5)
    ellipses = np.column_stack([rng.uniform(6, 30, (count, 2)), rng.uniform(-2, 2, count),
                                rng.uniform(0, 120, count), rng.uniform(0, 90, count)])
    around = ellipse_boxes(ellipses[rng.integers(count, size=rng.integers(0, 9))]) + rng.normal(0, 5, (1, 4))
    boxes = np.concatenate([around, rng.uniform(0, 90, (2, 4))]).reshape(-1, 4)
    boxes[:, 2:] = np.abs(boxes[:, 2:] - boxes[:, :2])
    boxes += rng.normal(0, 2, boxes.shape)
    return ellipses, np.column_stack([boxes, rng.integers(0, 12, len(boxes)) / 11])


def write_rows(path, name, rows):
    """One image's entry: its name, the number of rows [N, C], the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([name, str(len(rows)), *(" ".join(map(repr, row)) for row in rows.tolist())]) + "\n")


def write_set(folder, table, size=(90, 120)):
    """FDDB-folds, originalPics and the tree pred of [(ellipses, rows)]; the images are in folds 1 and 2 in turn."""
    lists = folder / "FDDB-folds"
    lists.mkdir()
    for index, (ellipses, rows) in enumerate(table):
        name = f"2002/08/{index:02d}/big/img_{index}"
        lines = [name, str(len(ellipses)), *(" ".join(map(repr, row)) + "  1" for row in ellipses.tolist())]
        with open(lists / f"FDDB-fold-{1 + index % 2:02d}-ellipseList.txt", "a") as file:
            file.write("\n".join(lines) + "\n")
        picture = folder / "originalPics" / f"{name}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size[::-1]).save(picture)
        write_rows(folder / "pred" / f"{name}.txt", f"{name}.jpg", rows)


def write_small_set(folder):
    """Three images in two folds, one face each: found, found, missed by a false alarm of the lowest score."""
    face = np.array([[30.0, 20.0, np.pi / 2, 60, 45]])
    hit, miss = [40.0, 15, 40, 60], [0.0, 0, 20, 20]
    write_set(folder, [(face, np.array([[*hit, 0.9]])), (face, np.array([[*hit, 0.8], [*miss, 0.7]])),
                       (face, np.array([[*miss, 0.6]]))])
    return folder
