# SPDX-License-Identifier: Apache-2.0
"""`Record`, the annotation of one image, and its COCO-keypoints file (the manual's `train.json`, `val.json`)."""
from dataclasses import dataclass

import numpy as np


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
