# SPDX-License-Identifier: Apache-2.0
"""A few images with one bright ellipse each, and their label.txt, for tests of the data and the training."""
from pathlib import Path

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from src.annotations.read_write import write_label_txt


def write_small_faces(folder: Path, images: int = 5) -> list[Record]:
    """`folder`/label.txt and images/0--Ellipse/<n>.jpg; every second face has landmarks."""
    rng = np.random.default_rng(0)
    (folder / "images/0--Ellipse").mkdir(parents=True)
    records = []
    for number in range(images):
        image = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
        x, y = int(rng.integers(40, 90)), int(rng.integers(35, 60))
        cv2.ellipse(image, (x, y), (14, 18), 0, 0, 360, (200, 210, 240), cv2.FILLED)
        name = f"0--Ellipse/{number}.jpg"
        cv2.imwrite(str(folder / "images" / name), image)
        points = np.array([[[x - 6, y - 5], [x + 6, y - 5], [x, y], [x - 5, y + 8], [x + 5, y + 8]]], np.float32)
        known = number % 2 == 0
        records.append(Record(name, np.array([[x - 14, y - 18, x + 14, y + 18]], np.float32), points * known,
                              np.full((1, 5), 2 * known, np.uint8), np.zeros(1, bool), 96, 128))
    write_label_txt(folder / "label.txt", records)
    return records
