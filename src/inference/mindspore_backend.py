# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a callable network and a detector.

    forward = Forward(models.spec)
    metadata = forward.load("0-140_27720.ckpt")
    faces = build_detector(forward, metadata).run(read_image("photo.jpg"))

A spec (src/models.py) knows a model: `DEFAULT_METADATA`, `METADATA_OPTIONS`, `assumed_metadata(names)`, `own_names(tensors)`,
`inference_cell(metadata)`, `decoder(metadata)`, `check_options(options)`. Images are uint8 BGR [B, H, W, 3]; what a network
gives for them ("maps") are float32 arrays whose first axis is B.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from src.common import device
from src.common.log import LOGGER
from src.inference.backend_base import BackendBase
from src.inference.fixed_size import FixedSizeDetector, fill_batch
from src.weights import checkpoint
from src.weights.metadata import spec_of

# The parts of metadata that shape the graph; checkpoints that agree on them share it.
GRAPH_PARTS = ("model", "options", "input")


class Forward(BackendBase):
    """A network on a device: `forward(images)` gives its raw maps, `load(path)` puts other weights into it.

    One graph serves every image size on a CPU (elsewhere one graph a size), and every checkpoint of the same
    metadata: a sweep compiles once.

    Args:
        specs: the spec of a model's name.
        model: what a checkpoint without metadata is.
        device_target, device_id: see `device.setup`.
    """

    def __init__(self, specs: Callable[[str], Any], model: str = "centerface", device_target: str = "auto",
                 device_id: int | None = None):
        super().__init__(specs)
        self._model = model
        self._ms = device.setup(device_target, device_id)
        self.runtime = f"mindspore {self._ms.__version__}"
        self._cell: Any = None
        self._built = ""

    def load(self, path: str | Path) -> dict[str, Any]:
        """Put the weights of a checkpoint into the network and return its metadata.

        Raises:
            InputError: unreadable or damaged file, a checkpoint of another model, weights that do not fit.
        """
        spec, metadata, tensors, has_metadata = read_network(path, self._specs, self._model)
        described = json.dumps([metadata.get(part) for part in GRAPH_PARTS], sort_keys=True)
        cell = self._cell if described == self._built else self._build(spec, metadata)
        parameters = dict(cell.network.parameters_and_names())
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        report = checkpoint.load_report(shapes, tensors)
        report.require(path, metadata if has_metadata else None)
        for name, parameter in parameters.items():
            parameter.set_data(self._ms.Tensor(tensors[name].astype(np.float32, copy=False)))
        self._cell, self._built, self.spec, self.metadata = cell, described, spec, metadata
        LOGGER.info("load_model %s success: %s", path, report.format())
        return metadata

    def _compute(self, images: np.ndarray) -> list[np.ndarray]:
        return [each.asnumpy() for each in self._cell(self._ms.Tensor(images))]

    def _build(self, spec: Any, metadata: dict[str, Any]) -> Any:
        cell = spec.inference_cell(metadata)
        if device.is_cpu():
            cell.set_inputs(device.dynamic_images(self._ms))
        return cell


class Network(NamedTuple):
    """A checkpoint's network: its spec, its complete metadata, its tensors under our names, and whether the file had a
    metadata of its own."""
    spec: Any
    metadata: dict[str, Any]
    tensors: dict[str, np.ndarray]
    has_metadata: bool


def read_network(path: str | Path, specs: Callable[[str], Any], model: str) -> Network:
    """Read a checkpoint for use.

    Args:
        path: the checkpoint.
        specs: the spec of a model's name.
        model: what a checkpoint without metadata is.

    Raises:
        InputError: unreadable or damaged file, unknown model, metadata that cannot be used.
    """
    read = checkpoint.load(path)
    spec = specs(model) if read.metadata is None else spec_of(read.metadata, path, specs)
    tensors = spec.own_names(checkpoint.network_tensors(read))
    if read.metadata is not None:
        return Network(spec, {**spec.DEFAULT_METADATA, **read.metadata}, tensors, True)
    metadata = spec.assumed_metadata(tensors)
    LOGGER.info("%s has no metadata: taken as %s with %s", path, metadata["model"], metadata["options"])
    return Network(spec, metadata, tensors, False)


def build_detector(forward: Any, metadata: dict[str, Any], **options: Any) -> BaseDetector:
    """The detector that metadata describes.

    Args:
        forward: the network, loaded with the metadata's file; see src/inference/backends.py.
        metadata: "decoder", and "detect" with default arguments of `BaseDetector`.
        **options: arguments of `BaseDetector` that win over the metadata's.

    Raises:
        InputError: an option that is wrong, or makes no sense for this model.
    """
    forward.spec.check_options(options)
    arguments = {**metadata.get("detect", {}), **options}
    batch, height, width = forward.sizes
    looks = fill_batch(forward, batch) if batch else forward
    if height and width:
        LOGGER.info("the file takes %d x %d pixels: images are fitted into them", width, height)
        return FixedSizeDetector((height, width), looks, forward.spec.decoder(metadata), **arguments)
    return BaseDetector(looks, forward.spec.decoder(metadata), **arguments)
