# SPDX-License-Identifier: Apache-2.0
"""From CenterFace's raw maps to faces, for the two encodings there are.

    rows = decode_centerface((hm, wh, off, kps), canvas.shape[:2], top_k=1000)

Maps of one image, float32: hm [1, h, w] after the sigmoid, wh [2, h, w], off [2, h, w], kps [10, h, w]; a
cell is 4 x 4 input pixels. Rows are [M, 15] float32 in input pixels: box xyxy, score, then x y of left eye,
right eye, nose, left and right mouth corner; best score first. Boxes are not clipped.
"""
from collections.abc import Sequence
from typing import Callable

import cv2
import numpy as np

from src.inference.detection_rows import MAX_LOG_SIZE, require_finite

CELL = 4
LANDMARKS = 5
PEAK_WINDOW = np.ones((3, 3), np.uint8)

Maps = Sequence[np.ndarray]


def decode_centerface(maps: Maps, shape: tuple[int, int], top_k: int, score_threshold: float = 0.0,
                      peaks: bool = True) -> np.ndarray:
    """Decode the encoding that this project trains.

    Centre points as in CenterNet (Zhou et al. 2019, arXiv 1904.07850, section 4), sizes as logarithms and landmarks
    relative to the size as in CenterFace (Xu et al. 2019, arXiv 1911.03599, section 3.2).
    In cells: centre = (col + off[0], row + off[1]); width = 4 exp(wh[0]), height = 4 exp(wh[1]);
    landmark j = (col + kps[2j] * width, row + kps[2j + 1] * height).

    Args:
        maps: (hm, wh, off, kps) of one image.
        shape: (height, width) of the input; not used, the maps have a fixed stride.
        top_k: maximum number of rows.
        score_threshold: only cells with a higher score.
        peaks: only cells that are the maximum of their 3 x 3 neighbourhood.

    Raises:
        NonFiniteMaps: the maps hold NaN or infinity.
    """
    rows, cols, scores, wh, off, kps = _select(maps, top_k, score_threshold, peaks)
    sizes = CELL * np.exp(np.minimum(wh, MAX_LOG_SIZE))
    corner = np.stack([cols, rows], axis=1)
    centres = corner + off
    landmarks = corner[:, None] + kps.reshape(-1, LANDMARKS, 2) * sizes[:, None]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    return _rows(CELL * boxes, scores, CELL * landmarks)


def decode_release(maps: Maps, shape: tuple[int, int], top_k: int, score_threshold: float = 0.0,
                   peaks: bool = False) -> np.ndarray:
    """Decode the encoding of the authors' released network (github.com/Star-Clouds/CenterFace), y before x.

    In pixels: height = 4 exp(wh[0]), width = 4 exp(wh[1]);
    centre = 4 (row + off[0] + 0.5), 4 (col + off[1] + 0.5);
    landmark j = top-left corner + (kps[2j] * height, kps[2j + 1] * width).

    Arguments and errors as in `decode_centerface`; the authors make no peak test.
    """
    rows, cols, scores, wh, off, kps = _select(maps, top_k, score_threshold, peaks)
    sizes = CELL * np.exp(np.minimum(wh[:, ::-1], MAX_LOG_SIZE))
    centres = CELL * (np.stack([cols, rows], axis=1) + off[:, ::-1] + np.float32(0.5))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    landmarks = boxes[:, None, :2] + kps.reshape(-1, LANDMARKS, 2)[..., ::-1] * sizes[:, None]
    return _rows(boxes, scores, landmarks)


# By the name in a checkpoint's metadata.
DECODERS: dict[str, Callable[..., np.ndarray]] = {
    "centerface": decode_centerface,
    "centerface_release": decode_release,
}


def _select(maps: Maps, top_k: int, score_threshold: float, peaks: bool) -> tuple[np.ndarray, ...]:
    """Select the best cells, best first: row [M], column [M], score [M], wh [M, 2], off [M, 2], kps [M, 10].

    Equal scores come in order of the cell: the result does not depend on the sorting algorithm.
    """
    heat = maps[0][0]
    require_finite(heat, "scores")
    candidate = heat > score_threshold
    if peaks:
        candidate &= heat >= cv2.dilate(heat, PEAK_WINDOW)
    cells = np.flatnonzero(candidate)
    scores = heat.ravel()[cells]
    if len(cells) > top_k:
        enough = scores >= np.partition(scores, -top_k)[-top_k]
        cells, scores = cells[enough], scores[enough]
    best = np.argsort(-scores, kind="stable")[:top_k]
    cells, scores = cells[best], scores[best]
    rows, cols = np.divmod(cells, heat.shape[1])
    values = [each.reshape(len(each), -1)[:, cells].T for each in maps[1:]]
    for each in values:
        require_finite(each, "boxes or landmarks")
    return rows.astype(np.float32), cols.astype(np.float32), scores, *values


def _rows(boxes: np.ndarray, scores: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    rows = np.concatenate([boxes, scores[:, None], landmarks.reshape(-1, 2 * LANDMARKS)], axis=1)
    return rows.astype(np.float32, copy=False)
