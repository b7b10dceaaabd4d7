# SPDX-License-Identifier: Apache-2.0
"""One interface to a network, whatever file it is in.

    forward = open_backend("centerface.onnx", models.spec)
    faces = build_detector(forward, forward.metadata).run(read_image("photo.jpg"))

    .ckpt               MindSpore; with backend="onnx" ONNX Runtime, without MindSpore
    .onnx               ONNX Runtime: export.py's files, and the centerface.onnx of its authors
    .mindir             MindSpore: export.py's files, with their .mindir.json beside them
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Protocol

import numpy as np

from dependency.errors import InputError
from src.common.device import RUNTIMES
from src.weights.onnx_file import is_onnx

BACKENDS = ("auto", *RUNTIMES)


class Backend(Protocol):
    """A network that a file was loaded into.

    spec, metadata: of the file; see src/models.py. sizes: batch, height and width that it takes, 0 = any. runtime: what
    computes it, with its version.
    """
    spec: Any
    metadata: dict[str, Any]
    sizes: tuple[int, int, int]
    runtime: str

    def load(self, path: str | Path) -> dict[str, Any]:
        """Take another file of this kind and give its metadata; InputError where it cannot be used."""

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the decoder reads, each float32 [B, ...], of uint8 BGR images [B, H, W, 3]."""


def new_backend(kind: str, specs: Callable[[str], Any], model: str = "centerface", device_target: str = "auto",
                device_id: int | None = None, threads: int | None = None) -> Backend:
    """A backend for checkpoints, still empty: what a sweep loads one after another into.

    Args:
        kind: one of BACKENDS; "auto" is "mindspore".
        specs: the spec of a model's name.
        model: what a checkpoint without metadata is.
        device_target, device_id: of MindSpore, see `device.setup`.
        threads: of ONNX Runtime, None = all cores.
    """
    if kind not in BACKENDS:
        raise InputError(f"backend '{kind}' is not one of {', '.join(BACKENDS)}")
    if kind == "onnx":
        from src.inference.onnx_backend import OnnxBackend
        return OnnxBackend(specs, model, threads)
    from src.inference.mindspore_backend import Forward
    return Forward(specs, model, device_target, device_id)


def open_backend(path: str | Path, specs: Callable[[str], Any], backend: str = "auto",
                 model: str = "centerface", device_target: str = "auto", device_id: int | None = None,
                 threads: int | None = None) -> Backend:
    """The file's network, loaded; arguments as `new_backend`.

    Raises:
        InputError: no such file, another format, damaged, or not to be run by this backend.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    has_graph = is_onnx(path)
    if has_graph or suffix == ".mindir":
        runs = "onnx" if has_graph else "mindspore"
        if backend not in ("auto", runs):
            raise InputError(f"{path}: runs with backend {runs} only; leave {backend} out, or give the checkpoint")
        if has_graph:
            found = new_backend(runs, specs, model, threads=threads)
        else:
            from src.inference.mindir_backend import MindirBackend
            found = MindirBackend(specs, device_target, device_id)
    else:
        found = new_backend(backend, specs, model, device_target, device_id, threads)
    found.load(path)
    return found
