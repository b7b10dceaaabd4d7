# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a network: its spec, its complete metadata and its tensors, known to fit.

    spec, metadata, tensors = read_network("0-140_27720.ckpt", model="centerface")
"""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from src import models
from src.common.log import LOGGER
from src.models import Metadata, ModelSpec, Tensors
from src.weights import checkpoint
from src.weights.metadata import spec_of


class Network(NamedTuple):
    """The spec, the complete metadata, and the tensors by the names and in the shapes of `spec.tensor_shapes`."""
    spec: ModelSpec
    metadata: Metadata
    tensors: Tensors


def read_network(path: str | Path, model: str) -> Network:
    """Read a checkpoint of a whole network.

    Args:
        path: the checkpoint.
        model: the model of a checkpoint without metadata.

    Raises:
        InputError: unreadable or damaged file, unknown model, metadata that cannot be used, tensors that do not fit.
    """
    read = checkpoint.load(path)
    spec = models.spec(model) if read.metadata is None else spec_of(read.metadata, path)
    tensors = spec.own_names(checkpoint.network_tensors(read))
    if read.metadata is None:
        metadata = spec.assumed_metadata(tensors)
        LOGGER.info("%s has no metadata: assuming %s with %s", path, metadata["model"], metadata["options"])
    else:
        metadata = {**spec.default_metadata, **read.metadata}
    report = checkpoint.load_report(spec.tensor_shapes(metadata), tensors)
    report.require(path, None if read.metadata is None else metadata)
    return Network(spec, metadata, tensors)
