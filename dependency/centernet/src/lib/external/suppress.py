# SPDX-License-Identifier: Apache-2.0
"""NMS and soft-NMS on detections, by the compiled module where it is built, else by its NumPy twin.

    rows = soft_nms(rows, Nt=0.5, method=2)         # [N, 5 + k] -> the kept rows, best first
    rows = rows[nms(rows, 0.3)]

A row is `x1 y1 x2 y2 score ...`, float32, xyxy pixels; further columns (landmarks) travel with their row.
Overlaps count pixels inclusively (+ 1).  Both kernels give the same bits; no input is changed.
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


@cache
def kernels() -> ModuleType:
    """The module that does the work: `nms` (compiled) or `nms_numpy`, which is logged once."""
    package = __package__ or "dependency.centernet.src.lib.external"
    try:
        return importlib.import_module(f"{package}.nms")
    except ImportError as error:
        LOGGER.warning("compiled NMS not found (%s): the slower NumPy twin is used, with equal results; to "
                       "build it: python dependency/centernet/src/lib/external/setup.py install", error)
        return importlib.import_module(f"{package}.nms_numpy")


def nms(dets: np.ndarray, thresh: float) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        dets: [N, 5 + k] rows, xyxy pixels and score first.
        thresh: a box is dropped when its overlap with a better one is at least this.

    Returns:
        [K] int64 indices of the kept rows, best score first; equal scores keep their row order.

    Raises:
        InputError: `dets` has another shape or a box or score that is not finite; thresh not positive.
    """
    return np.array(_call("nms", dets, float(thresh)), dtype=np.int64)


def soft_nms(dets: np.ndarray, sigma: float = 0.5, Nt: float = 0.3, threshold: float = 0.001,
             method: int = 0) -> np.ndarray:
    """Soft-NMS (Bodla et al., ICCV 2017, algorithm 1): overlapping boxes lose score instead of vanishing.

    Args:
        dets: [N, 5 + k] rows, xyxy pixels and score first.
        sigma: width of the gaussian weight exp(-overlap^2 / sigma), method 2 only.
        Nt: overlap above which methods 0 and 1 act; the gaussian does not use it.
        threshold: an overlapped row whose score falls below this is dropped.
        method: 0 hard (score becomes 0), 1 linear (score * (1 - overlap)), 2 gaussian.

    Returns:
        [K, 5 + k] float32 kept rows with their new scores, best first.

    Raises:
        InputError: `dets` has another shape or a box or score that is not finite; unknown method;
            sigma not positive with method 2.
    """
    if method not in METHODS:
        raise InputError(f"soft-NMS method {method!r} is unknown: use one of {METHODS}")
    return _call("soft_nms_rows", dets, sigma, Nt, threshold, method)


def _call(function: str, dets: np.ndarray, *options: float) -> list | np.ndarray:
    """A function of the kernel, which checks what it gets, on float32 rows."""
    try:
        return getattr(kernels(), function)(np.asarray(dets, dtype=np.float32), *options)
    except ValueError as error:
        raise InputError(f"{function.replace('_rows', '')}: {error}") from error
