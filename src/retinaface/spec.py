# SPDX-License-Identifier: Apache-2.0
"""RetinaFace as testing, export and prediction see it, see `src.models.ModelSpec`; imports no MindSpore by itself."""
from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError
from src.models import Metadata, ModelSpec, Shapes, Tensors
from src.retinaface import layers
from src.retinaface.anchors import VARIANCE
from src.retinaface.config import OPTIONS
from src.retinaface.decoder import decode_retinaface
from src.retinaface.layers import own_names

DECODER = "retinaface"
OUTPUTS = ("boxes", "scores", "landmarks")
# The published results' protocol: hard suppression, no limit on the number of faces, nothing added to the image.
# Anchors that one face lights up are not thinned before suppression, so top_k counts 20 rows a face there: the most
# faces found in an image of WIDER val at this threshold are 3830.
DETECT: dict[str, Any] = {
    "test_size": "original", "nms": "hard", "nms_iou": 0.4, "top_k": 10000, "score_threshold": 0.02, "peaks": False,
    "pad": "none", "fill": layers.NETWORK_INPUT["mean"],
}
# The manual's network.
DEFAULT_METADATA: Metadata = {
    "model": "retinaface",
    "options": {"backbone": "resnet50", "variance": list(VARIANCE), "clip": False},
    "input": layers.NETWORK_INPUT,
    "decoder": DECODER,
    "detect": DETECT,
}


def assumed_metadata(names: Iterable[str]) -> Metadata:
    """Return the metadata for a file that has none: `DEFAULT_METADATA` with the backbone of these tensor names."""
    backbone = layers.backbone_of(names) or DEFAULT_METADATA["options"]["backbone"]
    return {**DEFAULT_METADATA, "options": {**DEFAULT_METADATA["options"], "backbone": backbone}}


def backbone_name(metadata: Metadata) -> str:
    """Return the name of the backbone that the metadata describes."""
    return {**DEFAULT_METADATA["options"], **metadata.get("options", {})}["backbone"]


def tensor_shapes(metadata: Metadata) -> Shapes:
    """Return the shape of every tensor by name."""
    return layers.tensor_shapes(backbone_name(metadata))


def inference_cell(metadata: Metadata) -> Any:
    """Build the MindSpore cell: uint8 BGR [B, H, W, 3] -> bbox, conf (softmax), landm."""
    from src.common.normalise import NormalisedNetwork
    from src.retinaface.network import RetinaFace, build_backbone
    return NormalisedNetwork(RetinaFace("predict", build_backbone(backbone_name(metadata))), metadata["input"])


def onnx_graph(metadata: Metadata, tensors: Tensors, **options: int) -> Any:
    """Build the same network as an `onnx.ModelProto`; see `src.retinaface.onnx_graph.build`."""
    from src.retinaface.onnx_graph import build
    return build(metadata, tensors, OUTPUTS, **options)


def decoder(metadata: Metadata) -> Callable[..., np.ndarray]:
    """Return the decoder, with the `variance` and `clip` that the network was trained with (metadata's options)."""
    if metadata["decoder"] != DECODER:
        raise InputError(f"the checkpoint's metadata names decoder '{metadata['decoder']}': expected {DECODER}")
    options = metadata.get("options", {})
    return partial(decode_retinaface, variance=tuple(options.get("variance", VARIANCE)),
                   clip=options.get("clip", False))


def check_options(options: dict[str, Any]) -> None:
    """Refuse --peaks with InputError: RetinaFace has no heatmap."""
    if options.get("peaks"):
        raise InputError("--peaks: RetinaFace has no heatmap; leave it out")


SPEC = ModelSpec(
    name="retinaface",
    outputs=OUTPUTS,
    side_multiple=1,
    default_metadata=DEFAULT_METADATA,
    option_rules={name: OPTIONS["Network and anchors"][name].rule for name in ("backbone", "variance", "clip")},
    tensor_shapes=tensor_shapes,
    inference_cell=inference_cell,
    onnx_graph=onnx_graph,
    decoder=decoder,
    assumed_metadata=assumed_metadata,
    own_names=own_names,
    check_options=check_options,
)
