# SPDX-License-Identifier: Apache-2.0
"""RetinaFace's layers: the one table behind its MindSpore networks, its ONNX graph and the names in weight files.

    tensor_shapes("resnet50")["fpn.output1.0.weight"]                ->   (256, 512, 1, 1)
    backbone_of(tensors)                                             ->   "resnet50", "mobilenet025" or None
    our_name("body.layer1.0.downsample.0.weight")                    ->   "base.layer1.0.down_sample_layer.0.weight"
    torch_name("base.stage1.0.1.gamma")                              ->   "body.stage1.0.1.weight"

The classifier that a backbone may carry (`base.end_point`, `base.fc`) takes no part in detection and is not listed.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dependency.errors import InputError
from src.models import Shapes, Tensors
from src.weights import layers as common
from src.weights.conversion import TORCH_NORM_NAMES, with_counters, without_counters
from src.weights.layers import Layer

# What the detector is fed: x - mean, in units of 0..255.
NETWORK_INPUT: dict[str, Any] = {"channels": "BGR", "mean": [104.0, 117.0, 123.0], "std": [1.0, 1.0, 1.0]}
BACKBONE = "base."
ANCHORS_PER_CELL = 2
LEVELS = 3
# Numbers an anchor: face or not, box, five points.
HEADS = {"ClassHead": 2, "BboxHead": 4, "LandmarkHead": 10}
# Blocks of ResNet-50's four stages (He et al. 2016, arXiv 1512.03385, table 1); a block widens its channels so much.
RESNET50_BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
# (channels, stride) of the depthwise-separable blocks of MobileNetV1 x0.25 (Howard et al. 2017, arXiv 1704.04861,
# table 1), by stage; its first layer has 8 channels.
MOBILENET_STEM = 8
MOBILENET_STAGES = (
    ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
    ((128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)),
    ((256, 2), (256, 1)),
)
# Pyramids up to this width have leaky activations, wider ones plain ReLU.
WIDEST_LEAKY = 64


@dataclass(frozen=True)
class Backbone:
    """What the detector needs to know of a backbone.

    channels: of C3, C4 and C5 (strides 8, 16 and 32). pyramid_channels: of the pyramid built on them.
    stem, stem_norm: names of the first convolution and of its normalisation. classifier: name of its last layer.
    """
    channels: tuple[int, int, int]
    pyramid_channels: int
    stem: str
    stem_norm: str
    classifier: str


BACKBONES = {
    "resnet50": Backbone((512, 1024, 2048), 256, "base.conv1", "base.bn1", "base.end_point"),
    "mobilenet025": Backbone((64, 128, 256), 64, "base.stage1.0.0", "base.stage1.0.1", "base.fc"),
}

# A backbone stands alone, under `body.` (PyTorch) or under `base.`.
_BACKBONE_LAYERS = re.compile(r"^(?:body\.|base\.)?(?=(?:conv1|bn1|layer[1-4]|stage[1-3]|fc|end_point|classifier)\.)")
_DOWN_SAMPLE = re.compile(r"\.(?:downsample|down_sample)\.")
_CONTEXT = re.compile(r"(?<=\.)conv([357])[xX]([357])(?=[._])")
_HEAD_NAMES = re.compile(r"^(class|bbox|landmark)head(?=\.)", re.IGNORECASE)
_CLASSIFIER = re.compile(rf"^{re.escape(BACKBONE)}(?:fc|end_point|classifier)\.")
_NORM_NAMES = {torch: ours for ours, torch in TORCH_NORM_NAMES.items()}


def backbone_of(names: Iterable[str]) -> str | None:
    """Find the backbone whose first layer is among these tensor names; None unless it is exactly one."""
    names = set(names)
    matching = [name for name, backbone in BACKBONES.items() if f"{backbone.stem}.weight" in names]
    return matching[0] if len(matching) == 1 else None


def tensor_shapes(backbone: str = "resnet50", part: str = "all") -> Shapes:
    """Return the shape of every tensor by name; with part "backbone" only those of `base.`.

    "resnet50" has 383 tensors, 265 of them the backbone's; "mobilenet025" 253 and 135.
    """
    table = backbone_layers(backbone)
    if part == "all":
        table += detector_layers(BACKBONES[backbone].channels, BACKBONES[backbone].pyramid_channels)
    return common.tensor_shapes(table)


def backbone_layers(backbone: str) -> list[Layer]:
    """List the layers of a backbone, block by block."""
    return _resnet50() if backbone == "resnet50" else _mobilenet025()


def detector_layers(channels: tuple[int, int, int], width: int) -> list[Layer]:
    """List the layers of pyramid, context modules and heads.

    Args:
        channels: of the backbone's C3, C4 and C5.
        width: channels of the pyramid.
    """
    active = "leaky" if width <= WIDEST_LEAKY else "relu"
    table = [_layer(f"fpn.output{level}", width, lateral, 1, active) for level, lateral in enumerate(channels, start=1)]
    table += [_layer(f"fpn.merge{number}", width, width, 3, active) for number in (1, 2)]
    half, quarter = width // 2, width // 4
    for number in range(1, LEVELS + 1):
        table += [
            _layer(f"ssh{number}.conv3X3", half, width, 3),
            _layer(f"ssh{number}.conv5X5_1", quarter, width, 3, active),
            _layer(f"ssh{number}.conv5X5_2", quarter, quarter, 3),
            _layer(f"ssh{number}.conv7X7_2", quarter, quarter, 3, active),
            _layer(f"ssh{number}.conv7X7_3", quarter, quarter, 3),
        ]
    table += [Layer(f"{head}.{level}.conv1x1", None, (ANCHORS_PER_CELL * numbers, width, 1, 1))
              for head, numbers in HEADS.items() for level in range(LEVELS)]
    return table


def our_name(name: str) -> str:
    """Return our name of a tensor of another project, but for the last word: its words of BatchNorm stay.

    Known are the PyTorch original (biubug6/Pytorch_Retinaface), torchvision's resnet50, mindcv, the model zoo and
    mindface.
    """
    name = _BACKBONE_LAYERS.sub(BACKBONE, name)
    name = _DOWN_SAMPLE.sub(".down_sample_layer.", name)
    name = _CONTEXT.sub(r"conv\1X\2", name)
    return _HEAD_NAMES.sub(lambda match: f"{match[1].capitalize()}Head", name)


def torch_name(name: str) -> str:
    """Return the name in Pytorch_Retinaface of one of our tensors."""
    layer, _, word = name.rpartition(".")
    if layer.startswith(BACKBONE):
        layer = f"body.{layer[len(BACKBONE):]}"
    layer = layer.replace(".down_sample_layer.", ".downsample.").replace(".conv7X7_3.", ".conv7x7_3.")
    return f"{layer}.{TORCH_NORM_NAMES.get(word, word)}"


def own_names(tensors: Tensors) -> Tensors:
    """Rename tensors to our names, and leave out the backbone's classifier.

    Raises:
        InputError: two of the names are the same tensor's.
    """
    renamed: Tensors = {}
    for name, value in tensors.items():
        ours = our_name(name)
        if ours in renamed:
            raise InputError(f"two tensors of the file are both {ours}, one of them {name}; give a file of one network")
        if not _CLASSIFIER.match(ours):
            renamed[ours] = value
    return renamed


def from_torch(tensors: Tensors) -> Tensors:
    """Return PyTorch's tensors under our names, in float32; leave out counters and the backbone's classifier.

    A layer that has a `running_mean` is a BatchNorm.
    """
    renamed = {}
    for name, value in without_counters(tensors).items():
        layer, _, word = name.rpartition(".")
        is_norm = f"{layer}.running_mean" in tensors
        renamed[f"{layer}.{_NORM_NAMES[word]}" if is_norm and word in _NORM_NAMES else name] = value
    return {name: value.astype(np.float32, copy=False) for name, value in own_names(renamed).items()}


def to_torch(tensors: Tensors) -> Tensors:
    """Turn a whole RetinaFace into the state dict of Pytorch_Retinaface, in its order; the reverse of `from_torch`."""
    return with_counters({torch_name(name): value for name, value in tensors.items()})


def _resnet50() -> list[Layer]:
    table = [Layer("base.conv1", "base.bn1", (64, 3, 7, 7), 2, "relu")]
    channels = 64
    for stage, repeats in enumerate(RESNET50_BLOCKS, start=1):
        hidden = 32 << stage
        for index in range(repeats):
            block, stride = f"base.layer{stage}.{index}", 2 if index == 0 and stage > 1 else 1
            table += [
                Layer(f"{block}.conv1", f"{block}.bn1", (hidden, channels, 1, 1), activation="relu"),
                Layer(f"{block}.conv2", f"{block}.bn2", (hidden, hidden, 3, 3), stride, "relu"),
                Layer(f"{block}.conv3", f"{block}.bn3", (hidden * EXPANSION, hidden, 1, 1)),
            ]
            if index == 0:
                table.append(_layer(f"{block}.down_sample_layer", hidden * EXPANSION, channels, 1, stride=stride))
            channels = hidden * EXPANSION
    return table


def _mobilenet025() -> list[Layer]:
    table = [_layer("base.stage1.0", MOBILENET_STEM, 3, 3, "leaky", 2)]
    channels = MOBILENET_STEM
    for stage, blocks in enumerate(MOBILENET_STAGES, start=1):
        for index, (out_channels, stride) in enumerate(blocks, start=1 if stage == 1 else 0):
            block = f"base.stage{stage}.{index}"
            table += [
                Layer(f"{block}.0", f"{block}.1", (channels, 1, 3, 3), stride, "leaky", groups=channels),
                Layer(f"{block}.3", f"{block}.4", (out_channels, channels, 1, 1), activation="leaky"),
            ]
            channels = out_channels
    return table


def _layer(name: str, out_channels: int, channels: int, kernel: int, activation: str = "none",
           stride: int = 1) -> Layer:
    """Make a layer whose convolution and normalisation are the items 0 and 1 of one cell."""
    return Layer(f"{name}.0", f"{name}.1", (out_channels, channels, kernel, kernel), stride, activation)
