# SPDX-License-Identifier: Apache-2.0
"""What testing, export and prediction need to know of RetinaFace; imports no MindSpore until a cell is built.

    cell = inference_cell(metadata)           # uint8 BGR [B, H, W, 3] -> bbox, conf (softmax), landm
    rows = decoder(metadata)(output_of_one_image, canvas.shape[:2], top_k=1000)
"""
from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError
from src.retinaface.coding import VARIANCE
from src.retinaface.config import OPTIONS
from src.retinaface.decoder import decode_retinaface
from src.retinaface.layers import NETWORK_INPUT, backbone_of
from src.retinaface.layers import tensor_shapes as shapes_of
from src.retinaface.torch_names import own_names

__all__ = ["METADATA_OPTIONS", "DEFAULT_METADATA", "OUTPUTS", "SIDE_MULTIPLE", "assumed_metadata", "check_options", "decoder",
           "from_foreign_onnx", "inference_cell", "onnx_graph", "own_names", "tensor_shapes"]

DECODER = "retinaface"
# What the network gives, in its order; the names of an exported graph's outputs.
OUTPUTS = ("boxes", "scores", "landmarks")
# Both sides of the network's input must be multiples of it: any size will do.
SIDE_MULTIPLE = 1
# The published results' protocol: hard suppression, no limit on the number of faces, nothing added to the image.
# Anchors that one face lights up are not thinned before suppression, so top_k counts 20 rows a face there: the most
# faces found in an image of WIDER val at this threshold are 3830.
DETECT: dict[str, Any] = {
    "test_size": "original", "nms": "hard", "nms_iou": 0.4, "top_k": 10000, "score_threshold": 0.02, "peaks": False,
    "pad": "none", "fill": NETWORK_INPUT["mean"],
}
# What a checkpoint without metadata is taken for: the manual's network.
DEFAULT_METADATA: dict[str, Any] = {
    "model": "retinaface",
    "options": {"backbone": "resnet50"},
    "input": NETWORK_INPUT,
    "decoder": DECODER,
    "detect": DETECT,
}

# What the metadata's options may be.
METADATA_OPTIONS = {name: OPTIONS["Network and anchors"][name].rule for name in ("backbone", "variance", "clip")}


def assumed_metadata(names: Iterable[str]) -> dict[str, Any]:
    """The metadata of a checkpoint that has none: `DEFAULT_METADATA` with the backbone that these (own) names belong to."""
    backbone = backbone_of(names) or DEFAULT_METADATA["options"]["backbone"]
    return {**DEFAULT_METADATA, "options": {**DEFAULT_METADATA["options"], "backbone": backbone}}


def inference_cell(metadata: dict[str, Any]) -> Any:
    """The MindSpore cell (normalisation and network) that metadata describes; see `RetinaFaceInference`."""
    from src.retinaface.inference import RetinaFaceInference
    return RetinaFaceInference(metadata)


def tensor_shapes(metadata: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes by name of the network's tensors that metadata describes."""
    return shapes_of(metadata.get("options", {}).get("backbone", "resnet50"))


def onnx_graph(metadata: dict[str, Any], tensors: dict[str, np.ndarray], **options: int) -> Any:
    """The same network as an `onnx.ModelProto`, made without MindSpore; see `src.retinaface.onnx_graph.build`."""
    from src.retinaface.onnx_graph import build
    return build(metadata, tensors, OUTPUTS, **options)


def from_foreign_onnx(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """No ONNX file of a RetinaFace that others wrote is known: an InputError says so."""
    raise InputError(f"{path}: an ONNX file that this project did not write; convert the original .pth "
                     "(python -m src.tools.convert FILE.pth OUT.ckpt) and export that")


def decoder(metadata: dict[str, Any]) -> Callable[..., np.ndarray]:
    """The metadata's decoder: (output of one image, (H, W), top_k, score_threshold, peaks) -> rows [M, 15].

    The metadata's options may hold `variance` and `clip`, with which the network was trained.
    """
    if metadata["decoder"] != DECODER:
        raise InputError(f"the checkpoint's metadata names decoder '{metadata['decoder']}': expected {DECODER}")
    options = metadata.get("options", {})
    return partial(decode_retinaface, variance=tuple(options.get("variance", VARIANCE)),
                   clip=options.get("clip", False))


def check_options(options: dict[str, Any]) -> None:
    """InputError for an argument of `BaseDetector`, chosen by the user, that makes no sense for this model."""
    if options.get("peaks"):
        raise InputError("--peaks: RetinaFace has no heatmap whose peaks could be taken; leave it out")
