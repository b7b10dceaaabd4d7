# SPDX-License-Identifier: Apache-2.0
"""A training batch as a picture: what the network was shown and what it was told to find."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.sample.multi_pose import IGNORED, STRIDE
from dependency.centernet.src.lib.detectors.faces import Faces
from src.common.draw import contact_sheet, draw_faces, write_image


def batch_picture(batch: Sequence[np.ndarray], path: Path) -> None:
    """Draw image, heatmap (red), ignored cells (dark) and target boxes with landmarks of every sample into a PNG.

    Args:
        batch: image [B, S, S, 3] uint8 BGR, heatmap, cells, values and weights as in `CentreTargets`, stacked.
    """
    shown = [draw_faces(_overlay(image, heatmap), target_faces(cells, values, weights, heatmap.shape[1]), scores=False)
             for image, heatmap, cells, values, weights in zip(*batch[:5])]
    write_image(path, contact_sheet(shown, columns=4, cell=320))


def target_faces(cells: np.ndarray, values: np.ndarray, weights: np.ndarray, grid: int) -> Faces:
    """The faces that a sample's targets describe, in input pixels; landmarks that do not count become NaN-free zeros.

    Args:
        cells [M], values [M, 14], weights [M, 14]: see `CentreTargets`; grid: cells in a row.
    """
    used = weights[:, 0] > 0
    cell = np.stack([cells[used] % grid, cells[used] // grid], axis=1).astype(np.float32)
    size = np.exp(values[used, :2]) * STRIDE
    centre = cell + values[used, 2:4]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * STRIDE
    landmarks = (values[used, 4:].reshape(-1, 5, 2) * size[:, None] + cell[:, None]) * STRIDE
    landmarks *= weights[used, 4:].reshape(-1, 5, 2) > 0
    return Faces(boxes.astype(np.float32), np.ones(len(boxes), np.float32), landmarks.astype(np.float32))


def _overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    large = cv2.resize(heatmap, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    red = np.array([0, 0, 255], np.float32)
    blend = image * (1 - 0.6 * large.clip(0, 1)) + red * 0.6 * large.clip(0, 1)
    return np.where(large == IGNORED, blend * 0.4, blend).astype(np.uint8)
