# SPDX-License-Identifier: Apache-2.0
"""From a file to a network and its detector, whatever kind of file it is.

    backend = open_backend("centerface.onnx")
    faces = build_detector(backend, backend.metadata).run(read_image("photo.jpg"))

    .ckpt               MindSpore; with backend="onnx" ONNX Runtime, without MindSpore
    .onnx               ONNX Runtime: export.py's files, and the centerface.onnx of its authors
    .mindir             MindSpore: export.py's files, with their .mindir.json beside them
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.errors import InputError
from src.common.device import RUNTIMES
from src.common.log import LOGGER
from src.inference.backend_base import BackendBase
from src.inference.fixed_size_detector import FixedSizeDetector, fill_batch
from src.models import Metadata
from src.weights.onnx_file import is_onnx

BACKENDS = ("auto", *RUNTIMES)


def new_backend(kind: str, model: str = "centerface", device_target: str = "auto", device_id: int | None = None,
                threads: int | None = None) -> BackendBase:
    """Make a backend for checkpoints; it has loaded none yet.

    Args:
        kind: one of BACKENDS; "auto" is "mindspore".
        model: the model of a checkpoint without metadata.
        device_target: see `device.setup`; with ONNX Runtime "auto" is the CPU.
        device_id: of MindSpore.
        threads: of ONNX Runtime, None = all cores.
    """
    if kind not in BACKENDS:
        raise InputError(f"backend '{kind}' is not one of {', '.join(BACKENDS)}")
    if kind == "onnx":
        from src.inference.onnx_backend import OnnxBackend
        return OnnxBackend(model, threads, device_target)
    from src.inference.mindspore_backend import MindSporeBackend
    return MindSporeBackend(model, device_target, device_id)


def open_backend(path: str | Path, backend: str = "auto", model: str = "centerface", device_target: str = "auto",
                 device_id: int | None = None, threads: int | None = None) -> BackendBase:
    """Load a file into the backend that runs it; arguments as `new_backend`.

    Raises:
        InputError: no such file, another format, damaged, or not to be run by this backend.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    has_graph = is_onnx(path)
    if has_graph or suffix == ".mindir":
        kind = "onnx" if has_graph else "mindspore"
        if backend not in ("auto", kind):
            raise InputError(f"{path}: runs with backend {kind} only; leave {backend} out, or give the checkpoint")
        backend = kind
    if suffix == ".mindir" and not has_graph:
        from src.inference.mindspore_backend import MindirBackend
        opened: BackendBase = MindirBackend(device_target, device_id)
    else:
        opened = new_backend(backend, model, device_target, device_id, threads)
    opened.load(path)
    return opened


def build_detector(backend: BackendBase, metadata: Metadata, **options: Any) -> BaseDetector:
    """Build the detector that the metadata describes.

    Args:
        backend: the network, loaded from a file with this metadata.
        metadata: "decoder", and "detect" with default arguments of `BaseDetector`.
        **options: arguments of `BaseDetector` that win over the metadata's.

    Raises:
        InputError: an option that is wrong, or makes no sense for this model.
    """
    backend.spec.check_options(options)
    arguments = {**metadata.get("detect", {}), **options}
    batch, height, width = backend.sizes
    forward = fill_batch(backend, batch) if batch else backend
    decode = backend.spec.decoder(metadata)
    if height and width:
        LOGGER.info("the file takes %d x %d pixels: images are fitted into them", width, height)
        return FixedSizeDetector((height, width), forward, decode, **arguments)
    return BaseDetector(forward, decode, **arguments)
