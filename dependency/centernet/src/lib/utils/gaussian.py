# SPDX-License-Identifier: Apache-2.0
"""Gaussian peaks on a heatmap (Law and Deng 2018, CornerNet; Zhou et al. 2019, Objects as Points)."""
import math

import numpy as np


def gaussian_radius(height: float, width: float, min_overlap: float = 0.7) -> float:
    """Compute the radius in which a corner may move so that the box keeps an IoU of `min_overlap` with the true one.

    Keeps CornerNet's published arithmetic, whose roots are divided by 2 instead of 2a, because all centre-point
    detectors were trained with it: (10, 10) -> 2.733, (32, 24) -> 7.509.
    """
    total, area = height + width, height * width
    roots = []
    for a, b, c in (
            (1.0, total, area * (1 - min_overlap) / (1 + min_overlap)),
            (4.0, 2 * total, (1 - min_overlap) * area),
            (4 * min_overlap, -2 * min_overlap * total, (min_overlap - 1) * area)):
        roots.append((b + math.sqrt(b * b - 4 * a * c)) / 2)
    return min(roots)


def draw_umich_gaussian(heatmap: np.ndarray, centre: tuple[int, int], radius: int) -> None:
    """Blend a Gaussian with peak 1 at the cell `centre` (x, y) into `heatmap` [h, w] by maximum, in place.

    Sigma is a sixth of the diameter 2 * radius + 1; values below float32's epsilon times the peak are cut to 0.
    """
    x, y = centre
    height, width = heatmap.shape
    sigma = (2 * radius + 1) / 6
    axis = np.arange(-radius, radius + 1)
    bell = np.exp(-axis * axis / (2 * sigma * sigma))
    peak = np.outer(bell, bell).astype(np.float32)
    peak[peak < np.finfo(np.float32).eps] = 0
    left, right = min(x, radius), min(width - x, radius + 1)
    top, bottom = min(y, radius), min(height - y, radius + 1)
    window = heatmap[y - top:y + bottom, x - left:x + right]
    np.maximum(window, peak[radius - top:radius + bottom, radius - left:radius + right], out=window)
