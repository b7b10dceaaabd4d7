# SPDX-License-Identifier: Apache-2.0
"""Checkpoints, and exported .mindir files, in MindSpore.

    backend = MindSporeBackend()
    metadata = backend.load("0-140_27720.ckpt")       # or MindirBackend: "centerface.mindir", with its .mindir.json
    outputs = backend(images)                         # uint8 BGR [B, H, W, 3] -> float32 arrays

Any thread may use any backend; they compute one after another.
"""
from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from dependency.files import existing_file
from src.common import device
from src.common.log import LOGGER
from src.inference.backend_base import BackendBase, first_line
from src.models import Metadata
from src.weights.checkpoint import set_parameters
from src.weights.file_hashes import sha256_of
from src.weights.metadata import REQUIRED, metadata_path, parse_metadata, spec_of
from src.weights.network import read_network

# The parts of metadata that shape the graph; checkpoints that agree on them share it.
GRAPH_PARTS = ("model", "options", "input")
_LOCK = threading.RLock()
# The process that uses MindSpore; 0 before any has.
_process = 0


@contextmanager
def exclusive() -> Iterator[None]:
    """Use MindSpore from one thread at a time: with two it crashes or waits forever.

    Raises:
        InputError: this process was forked from one that has used MindSpore, where any call would wait forever.
    """
    global _process
    if _process not in (0, os.getpid()):            # before the lock, which another thread may have held at the fork
        raise InputError(f"process {os.getpid()} was forked from {_process}, which had used MindSpore: it would "
                         "wait forever; start it by multiprocessing.get_context('spawn'), or take backend='onnx'")
    with _LOCK:
        _process = os.getpid()
        yield


class MindSporeBackend(BackendBase):
    """A network on a device.

    One graph serves every image size on a CPU (elsewhere there is one for each size), and every checkpoint of the same
    metadata: the evaluation of many checkpoints compiles once.

    Args:
        model: the model of a checkpoint without metadata.
        device_target, device_id: see `device.setup`.
    """

    def __init__(self, model: str = "centerface", device_target: str = "auto", device_id: int | None = None):
        self._model = model
        with exclusive():
            self._ms = device.setup(device_target, device_id)
        self.runtime = f"mindspore {self._ms.__version__} ({device.describe()})"
        self._cell: Any = None
        self._graph = ""

    @exclusive()
    def load(self, path: str | Path) -> Metadata:
        """Put the weights of a checkpoint into the network and return its metadata.

        Raises:
            InputError: unreadable or damaged file, a checkpoint of another model, weights that do not fit.
        """
        spec, metadata, tensors = read_network(path, self._model)
        graph = json.dumps([metadata.get(part) for part in GRAPH_PARTS], sort_keys=True)
        if graph != self._graph:
            self._cell = spec.inference_cell(metadata)
            if device.is_cpu():
                self._cell.set_inputs(device.dynamic_images(self._ms))
        set_parameters(self._cell.network, tensors)
        self._graph, self.spec, self.metadata = graph, spec, metadata
        LOGGER.info("load_model %s success: %s in %s", path, metadata["model"], self.runtime)
        return metadata

    @exclusive()
    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        return [each.asnumpy() for each in self._cell(self._ms.Tensor(images))]


class MindirBackend(BackendBase):
    """An exported network on a device.

    Args:
        device_target, device_id: see `device.setup`.
    """

    def __init__(self, device_target: str = "auto", device_id: int | None = None):
        with exclusive():
            self._ms = device.setup(device_target, device_id)
        self.runtime = f"mindspore {self._ms.__version__} ({device.describe()})"
        self._cell: Any = None

    @exclusive()
    def load(self, path: str | Path) -> dict[str, Any]:
        """Load a .mindir file of export.py and return its metadata.

        Raises:
            InputError: no such file, no metadata beside it, or not the file that the metadata was written for.
        """
        path = existing_file(path, "a .mindir file")
        json_path = metadata_path(path)
        if not json_path.is_file():
            raise InputError(f"{path}: its metadata {json_path.name}, which says how to feed and decode the network, "
                             "is not in the same folder; copy both files, or export the checkpoint again")
        metadata = parse_metadata(json_path.read_text(encoding="utf-8", errors="replace"), json_path,
                                  (*REQUIRED, "export.sha256", "export.input.shape"))
        if sha256_of(path) != metadata["export"]["sha256"]:
            raise InputError(f"{path}: not the file that {json_path.name} was written for, or cut off or damaged; copy "
                             "both files again, or export the checkpoint again")
        shape = metadata["export"]["input"]["shape"]
        spec = spec_of(metadata, json_path)
        with tempfile.TemporaryDirectory() as folder:       # MindSpore refuses names with spaces and umlauts
            plain = shutil.copy(path, Path(folder) / "network.mindir")
            try:
                cell = self._ms.nn.GraphCell(self._ms.load(str(plain)))
            except (RuntimeError, ValueError) as error:
                raise InputError(f"{path}: {self.runtime} cannot load it; export the checkpoint again with this "
                                 "version") from error
        if device.is_cpu():         # else a graph is compiled and kept for every new size of image
            cell.set_inputs(self._ms.Tensor(shape=shape, dtype=self._ms.uint8))
        self._cell, self.metadata, self.spec = cell, metadata, spec
        self.sizes = shape[0] or 0, shape[1] or 0, shape[2] or 0
        LOGGER.info("load_model %s success: %s in %s", path, metadata["model"], self.runtime)
        return metadata

    @exclusive()
    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            outputs = self._cell(self._ms.Tensor(images))
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{self.runtime} cannot compute this file for images {list(images.shape)} "
                             f"({first_line(error)}); export the checkpoint again") from error
        return [each.asnumpy() for each in (outputs if isinstance(outputs, tuple) else [outputs])]
