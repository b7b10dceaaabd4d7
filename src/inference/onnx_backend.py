# SPDX-License-Identifier: Apache-2.0
"""Networks in ONNX Runtime: exported files, and checkpoints whose graph is written in memory. Needs no MindSpore.

    backend = OnnxBackend()
    metadata = backend.load("centerface.onnx")        # or a .ckpt
    outputs = backend(images)                         # uint8 BGR [B, H, W, 3] -> float32 arrays
"""
from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from src import models
from src.common import device
from src.common.log import LOGGER
from src.inference.backend_base import BackendBase, first_line
from src.inference.detection_rows import ROW_OUTPUTS, join_rows
from src.inference.onnx_builder import INPUT
from src.models import Metadata, ModelSpec
from src.weights.metadata import spec_of
from src.weights.network import read_network
from src.weights.onnx_file import is_onnx, metadata_of, read_model

# What computes on a device, and the package that carries it in place of onnxruntime.
PROVIDERS = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider", "Ascend": "CANNExecutionProvider"}
PACKAGES = {"CPU": "onnxruntime", "GPU": "onnxruntime-gpu[cuda,cudnn]", "Ascend": "onnxruntime-cann"}
_EXPORT = "export the checkpoint with export.py --file_format ONNX"


class OnnxBackend(BackendBase):
    """A network on the CPU, or on the device that is asked for.

    Args:
        model: the model of a file without metadata.
        threads: number of computing threads; None takes OMP_NUM_THREADS, else one for each core.
        device_target: "auto" and "CPU" are the CPU.

    Raises:
        InputError: onnxruntime is not installed, or without the provider of this device.
    """

    def __init__(self, model: str = "centerface", threads: int | None = None,
                 device_target: str = "auto"):
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(f"ONNX files need onnxruntime ({error}); type: pip install onnx onnxruntime") from error
        self._target = "CPU" if device_target == "auto" else device.choose_target(device_target)
        self._provider = PROVIDERS[self._target]
        self.runtime = f"onnxruntime {onnxruntime.__version__} ({self._provider})"
        available = onnxruntime.get_available_providers()
        if self._provider not in available:
            raise InputError(f"device_target {self._target}: the onnxruntime {onnxruntime.__version__} here has no "
                             f"{self._provider}, only {', '.join(available)}; type: pip uninstall onnxruntime; pip "
                             f"install {PACKAGES[self._target]}; or leave device_target out to compute on the CPU")
        self._model, self._onnxruntime = model, onnxruntime
        self._threads = threads or _threads_of_environment()
        self._session: Any = None

    def load(self, path: str | Path) -> dict[str, Any]:
        """Load an .onnx file of export.py or of CenterFace's authors, or a checkpoint, and return its metadata.

        Raises:
            InputError: unreadable or damaged file, weights that do not fit, a graph that onnxruntime refuses.
        """
        path = Path(path)
        spec, metadata, model = self._read(path)
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads
        try:
            # From memory: what was looked through is what runs, and no other file is ever opened.
            session = self._onnxruntime.InferenceSession(model.SerializeToString(), options,
                                                         providers=[self._provider])
        except Exception as error:          # onnxruntime's errors have no common class but this
            raise InputError(f"{path}: {self.runtime} refuses this graph ({first_line(error)}); export the "
                             "checkpoint again, or install a newer onnxruntime") from error
        if self._provider not in session.get_providers():       # onnxruntime goes on without, with a line in its log
            raise InputError(f"device_target {self._target}: {self._provider} did not start, so {path} would run in "
                             f"{', '.join(session.get_providers())}; install the libraries that it needs, as "
                             f"{PACKAGES[self._target]} names them, or leave device_target out")
        inputs = session.get_inputs()
        if [(each.name, each.type, len(each.shape)) for each in inputs] != [(INPUT, "tensor(uint8)", 4)]:
            raise InputError(f"{path}: its input is not uint8 {INPUT} [batch, height, width, 3]; export the checkpoint "
                             "again")
        if metadata.get("export", {}).get("decode_rows"):
            spec = replace(spec, outputs=ROW_OUTPUTS, decoder=lambda _: join_rows)
        outputs = [(each.name, each.type) for each in session.get_outputs()]
        if outputs != [(name, "tensor(float)") for name in spec.outputs]:
            raise InputError(f"{path}: its outputs are {', '.join(map(' '.join, outputs))}, but its metadata promises "
                             f"{', '.join(spec.outputs)}; export the checkpoint again")
        batch, height, width = (side if isinstance(side, int) else 0 for side in inputs[0].shape[:3])
        self.sizes = batch, height, width
        self._session, self.metadata, self.spec = session, metadata, spec
        LOGGER.info("load_model %s success: %s in %s", path, metadata["model"], self.runtime)
        return metadata

    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(None, {INPUT: images})
        except Exception as error:          # as above
            raise InputError(f"{self.runtime} cannot compute this graph for images {list(images.shape)} "
                             f"({first_line(error)}); export the checkpoint again, or give smaller images") from error

    def _read(self, path: Path) -> tuple[ModelSpec, Metadata, Any]:
        """Read (spec, metadata, `onnx.ModelProto`) from a file of any of the three kinds."""
        if not is_onnx(path):
            spec, metadata, tensors = read_network(path, self._model)
            return spec, metadata, spec.onnx_graph(metadata, tensors)
        model = read_model(path)
        own_metadata = metadata_of(model, path)
        if own_metadata is not None:
            return spec_of(own_metadata, path), own_metadata, model
        spec = models.spec(self._model)
        if spec.read_foreign_onnx is None:
            raise InputError(f"{path}: has no metadata of this project, and no such ONNX file of {spec.name} "
                             f"is known; {_EXPORT}")
        try:
            tensors, metadata = spec.read_foreign_onnx(path)
        except InputError as error:
            raise InputError(f"{path}: has no metadata of this project, and is not the network that the authors of "
                             f"{spec.name} released ({str(error).replace(f'{path}: ', '')}); {_EXPORT}") from error
        LOGGER.info("%s: the network that its authors released, rewritten for speed", path)
        return spec, metadata, spec.onnx_graph(metadata, tensors)


def _threads_of_environment() -> int:
    """Read OMP_NUM_THREADS, as MindSpore and NumPy do; 0 leaves the number to onnxruntime."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() else 0
