# SPDX-License-Identifier: Apache-2.0
"""Overlap (IoU) of boxes as WIDER FACE counts it, by the compiled module where it is built, else in NumPy.

    iou = box_overlaps(boxes, faces)                 # [N, K]
    index, iou = best_overlaps(boxes, faces)         # only the best face of every box

Boxes are xyxy pixels, computed in float64.  `offset` is added to every width and height: 1 (the WIDER FACE
toolbox and all its ports) counts pixels inclusively, 0 is the plain geometric overlap.  Both ways give the
same bits.
"""
import importlib
import logging
from functools import lru_cache
from types import ModuleType
from typing import Optional

import numpy as np

from dependency.errors import InputError

LOGGER = logging.getLogger("facedet")
BLOCK = 1 << 16                     # overlaps in flight: their dozen float64 temporaries stay in the cache


def box_overlaps(boxes: np.ndarray, query: np.ndarray, offset: float = 1.0) -> np.ndarray:
    """Overlap of every box with every query box.

    Args:
        boxes: [N, 4] xyxy pixels.
        query: [K, 4] xyxy pixels.
        offset: added to widths and heights; 1 counts pixels inclusively.

    Returns:
        [N, K] float64 intersection over union; 0 where the boxes do not touch.

    Raises:
        InputError: an array of another shape.
    """
    boxes, query = _boxes(boxes, "boxes"), _boxes(query, "query")
    compiled = kernels()
    return compiled.box_overlaps(boxes, query, offset) if compiled else numpy_overlaps(boxes, query, offset)


def best_overlaps(boxes: np.ndarray, query: np.ndarray, offset: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """For every box the query box that it overlaps most, the first one on ties.

    Args:
        boxes: [N, 4] xyxy pixels.
        query: [K, 4] xyxy pixels, K >= 1.
        offset: added to widths and heights; 1 counts pixels inclusively.

    Returns:
        [N] intp index of the query box (0 when none is touched) and [N] float64 overlap.

    Raises:
        InputError: an array of another shape, or no query box.
    """
    boxes, query = _boxes(boxes, "boxes"), _boxes(query, "query")
    if not len(query):
        raise InputError("best_overlaps needs at least one query box, got none: leave out images "
                         "without faces")
    compiled = kernels()
    if compiled:
        return compiled.best_overlaps(boxes, query, offset)
    return numpy_best_overlaps(boxes, query, offset)


@lru_cache(maxsize=None)
def kernels() -> Optional[ModuleType]:
    """The compiled module, or None, which is logged once."""
    try:
        return importlib.import_module("dependency.evaluate.box_overlaps")
    except ImportError as error:
        LOGGER.warning("compiled box overlaps not found (%s): NumPy is used, with equal results; to build "
                       "them: python dependency/evaluate/setup.py install", error)
        return None


def numpy_overlaps(boxes: np.ndarray, query: np.ndarray, offset: float) -> np.ndarray:
    """The NumPy twin of `box_overlaps`; float64 arrays."""
    x1, y1, x2, y2 = query.T
    left, top, right, bottom = boxes.T[:, :, None]
    width = np.minimum(right, x2) - np.maximum(left, x1) + offset
    height = np.minimum(bottom, y2) - np.maximum(top, y1) + offset
    inter = width * height
    areas = (right - left + offset) * (bottom - top + offset) + (x2 - x1 + offset) * (y2 - y1 + offset)
    result = np.zeros_like(inter)
    np.divide(inter, areas - inter, out=result, where=(width > 0) & (height > 0))
    return result


def numpy_best_overlaps(boxes: np.ndarray, query: np.ndarray, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """The NumPy twin of `best_overlaps`; float64 arrays, block by block."""
    index, best = np.zeros(len(boxes), np.intp), np.zeros(len(boxes))
    rows = max(1, BLOCK // len(query))
    for start in range(0, len(boxes), rows):
        overlaps = numpy_overlaps(boxes[start:start + rows], query, offset)
        index[start:start + rows] = overlaps.argmax(axis=1)
        best[start:start + rows] = overlaps.max(axis=1)
    return index, best


def _boxes(boxes: np.ndarray, name: str) -> np.ndarray:
    boxes = np.ascontiguousarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"{name} have shape {boxes.shape}: expected [N, 4], rows of x1 y1 x2 y2")
    return boxes
