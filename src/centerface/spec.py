# SPDX-License-Identifier: Apache-2.0
"""CenterFace as testing, export and prediction see it, see `src.models.ModelSpec`; imports no MindSpore by itself."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError
from src.centerface import layers
from src.centerface.config import OPTIONS
from src.centerface.decoder import DECODERS
from src.models import Metadata, ModelSpec, Shapes, Tensors

OUTPUTS = ("heatmap", "size", "offset", "landmarks")
# The manual's network and the normalisation of its test.py.
DEFAULT_METADATA: Metadata = {
    "model": "centerface",
    "options": {"head_conv": 64, "activation": "relu6"},
    "input": layers.NETWORK_INPUT,
    "decoder": "centerface",
    "detect": {},
}


def assumed_metadata(names: Iterable[str]) -> Metadata:
    """Return the metadata for a file that has none; the names of its tensors are not used."""
    del names
    return DEFAULT_METADATA


def network_options(metadata: Metadata) -> dict[str, Any]:
    """Return pyramid channels and backbone activation of the network that metadata describes."""
    options = {**DEFAULT_METADATA["options"], **metadata.get("options", {})}
    return {name: options[name] for name in DEFAULT_METADATA["options"]}


def tensor_shapes(metadata: Metadata) -> Shapes:
    """Return the shape of every tensor by name."""
    return layers.tensor_shapes(network_options(metadata)["head_conv"])


def inference_cell(metadata: Metadata) -> Any:
    """Build the MindSpore cell: uint8 BGR [B, H, W, 3] -> hm, wh, off, kps."""
    from src.centerface.network import CenterfaceMobilev2
    from src.common.normalise import NormalisedNetwork
    return NormalisedNetwork(CenterfaceMobilev2(**network_options(metadata)), metadata["input"])


def onnx_graph(metadata: Metadata, tensors: Tensors, **options: int) -> Any:
    """Build the same network as an `onnx.ModelProto`; see `src.centerface.onnx_graph.build`."""
    from src.centerface.onnx_graph import build
    return build(metadata, tensors, OUTPUTS, **options)


def read_foreign_onnx(path: Path) -> tuple[Tensors, Metadata]:
    """Read (tensors, metadata) from the authors' centerface.onnx; raise InputError for any other file."""
    from src.centerface.released_weights import read_release
    return read_release(path)


def decoder(metadata: Metadata) -> Callable[..., np.ndarray]:
    """Return the decoder that the metadata names."""
    name = metadata["decoder"]
    if name not in DECODERS:
        raise InputError(f"the checkpoint's metadata names decoder '{name}': expected one of {', '.join(DECODERS)}")
    return DECODERS[name]


def check_options(options: dict[str, Any]) -> None:
    """Refuse --pad none with InputError: the network's sides must be multiples of 32."""
    if options.get("pad") == "none":
        raise InputError("--pad none: CenterFace's maps meet only where both sides are multiples of 32; "
                         "give --pad 32 or leave it out")


SPEC = ModelSpec(
    name="centerface",
    outputs=OUTPUTS,
    side_multiple=32,
    default_metadata=DEFAULT_METADATA,
    option_rules={name: OPTIONS["Network"][name].rule for name in ("head_conv", "activation")},
    tensor_shapes=tensor_shapes,
    inference_cell=inference_cell,
    onnx_graph=onnx_graph,
    decoder=decoder,
    assumed_metadata=assumed_metadata,
    check_options=check_options,
    read_foreign_onnx=read_foreign_onnx,
)
