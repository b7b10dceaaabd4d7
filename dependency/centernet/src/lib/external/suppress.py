# SPDX-License-Identifier: Apache-2.0
"""NMS and soft-NMS on detections, by the compiled module where it is built, else in NumPy.

    rows = soft_nms(rows, Nt=0.5, method=2)         # [N, 5 + k] -> the kept rows, best first
    rows = rows[nms(rows, 0.3)]

A row is `x1 y1 x2 y2 score ...`, float32, xyxy pixels; further columns (landmarks) stay with their row.
Widths and heights count pixels inclusively (+ 1).  No input is changed.
"""
from __future__ import annotations

import importlib
import logging
from functools import cache
from types import ModuleType

import numpy as np

from dependency.errors import InputError

LOGGER = logging.getLogger("facedet")
METHODS = {0: "hard", 1: "linear", 2: "gaussian"}
# Larger boxes would have areas that float32 cannot hold.
LARGEST = 1e18


@cache
def kernels() -> ModuleType:
    """Import the module that does the work: `nms` (compiled) or, with a warning, `nms_numpy`."""
    package = __package__ or "dependency.centernet.src.lib.external"
    try:
        return importlib.import_module(f"{package}.nms")
    except ImportError as error:
        LOGGER.warning("compiled NMS not found (%s): NumPy is used, which is slower; to build it: "
                       "python dependency/centernet/src/lib/external/setup.py install", error)
        return importlib.import_module(f"{package}.nms_numpy")


def nms(dets: np.ndarray, thresh: float) -> np.ndarray:
    """Drop every box whose overlap with a better one is at least `thresh`.

    Args:
        dets: [N, 5 + k] rows, xyxy pixels and score first.
        thresh: intersection over union, above 0.

    Returns:
        [K] int64 indices of the kept rows, best score first; equal scores keep their row order.

    Raises:
        InputError: `dets` has another shape, or holds a box or score that is not finite; `thresh` is not above 0.
    """
    rows = _check(dets)
    if not thresh > 0:
        raise InputError(f"nms: thresh is {thresh}: expected a value above 0, usually 0.3 to 0.5")
    return np.array(kernels().nms(rows, float(thresh)), dtype=np.int64)


def soft_nms(dets: np.ndarray, sigma: float = 0.5, Nt: float = 0.3, threshold: float = 0.001,
             method: int = 0) -> np.ndarray:
    """Lower the scores of boxes that overlap better ones (soft-NMS, Bodla et al., ICCV 2017, algorithm 1).

    Args:
        dets: [N, 5 + k] rows, xyxy pixels and score first.
        sigma: width of the gaussian weight exp(-overlap^2 / sigma), for method 2 only.
        Nt: overlap above which methods 0 and 1 act; the gaussian does not use it.
        threshold: an overlapped row whose score falls below this is dropped.
        method: 0 hard (score becomes 0), 1 linear (score * (1 - overlap)), 2 gaussian.

    Returns:
        [K, 5 + k] float32 kept rows with their new scores, best first.

    Raises:
        InputError: `dets` has another shape, or holds a box or score that is not finite; `method` is unknown; `sigma`
            is not above 0 with method 2.
    """
    if method not in METHODS:
        raise InputError(f"soft_nms: method {method!r} is unknown: use one of {METHODS}")
    if method == 2 and not np.float32(sigma) > 0:
        raise InputError(f"soft_nms: sigma is {sigma}: expected a value above 0, usually 0.5")
    rows = _check(dets)
    kept = kernels().soft_nms(rows, sigma, Nt, threshold, method)
    return rows[:len(kept)]


def _check(dets: np.ndarray) -> np.ndarray:
    """Copy the rows as float32; raise an InputError unless they are [N, 5 or more columns] and finite."""
    rows = np.array(dets, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] < 5:
        raise InputError(f"detections have shape {rows.shape}: expected [N, 5 or more columns]")
    usable = np.abs(rows[:, :5]) < LARGEST
    if not usable.all():
        row, column = np.argwhere(~usable)[0]
        raise InputError(f"detection {row} of {len(rows)} holds {rows[row, column]}: expected finite boxes and scores, "
                         "at most 1e18; check the weights and the normalisation of the network that made it")
    return rows
