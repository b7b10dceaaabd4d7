# SPDX-License-Identifier: Apache-2.0
"""`Faces`, what a detector finds in one image."""
from dataclasses import dataclass

import numpy as np


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
