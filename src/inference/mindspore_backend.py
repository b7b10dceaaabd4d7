# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in MindSpore.

    backend = MindSporeBackend()
    metadata = backend.load("0-140_27720.ckpt")
    outputs = backend(images)                         # uint8 BGR [B, H, W, 3] -> float32 arrays
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from src.common import device
from src.common.log import LOGGER
from src.inference.backend_base import BackendBase
from src.models import Metadata
from src.weights.checkpoint import set_parameters
from src.weights.network import read_network

# The parts of metadata that shape the graph; checkpoints that agree on them share it.
GRAPH_PARTS = ("model", "options", "input")


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
        self._ms = device.setup(device_target, device_id)
        self.runtime = f"mindspore {self._ms.__version__}"
        self._cell: Any = None
        self._graph = ""

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

    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        return [each.asnumpy() for each in self._cell(self._ms.Tensor(images))]
