# SPDX-License-Identifier: Apache-2.0
"""CenterFace's layers: the one table behind its MindSpore network, its ONNX graph and the names in weight files.

    tensor_shapes(64)["dla_up.conv.0.weight"]   ->   (64, 320, 1, 1)
"""
from __future__ import annotations

from typing import Any

from src.models import Shapes, Tensors
from src.weights import conversion
from src.weights import layers as common
from src.weights.layers import Layer

# What the network is fed in training: (x - mean) / std in units of 0..255 (the manual's test values 0.408 ... in 0..1).
NETWORK_INPUT: dict[str, Any] = {"channels": "BGR", "mean": [104.04, 113.985, 119.85], "std": [73.695, 69.87, 70.89]}
BACKBONE = "base."
STEM = "base.need_fp1.0.features.0"
STEM_NORM = "base.need_fp1.0.features.1"
LAST = "dla_up.conv_last.0"
# Output channels of the heads; each is a 1x1 convolution of `LAST`.
HEADS = {"hm_head.0": 1, "wh_head": 2, "off_head": 2, "kps_head": 10}
# (expansion, channels, repeats, first stride) of MobileNetV2's blocks (Sandler et al. 2018, arXiv 1801.04381, table 2),
# width 1.0, cut into four stages; its 1280-channel convolution and its classifier are left out.
_STAGES = (
    ((1, 16, 1, 1), (6, 24, 2, 2)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
_STEM_CHANNELS = 32


def layers(head_conv: int = 64, activation: str = "relu6") -> list[Layer]:
    """List all 63 layers in the order in which the network computes them.

    Args:
        head_conv: channels of the pyramid.
        activation: of the backbone, "relu6" or "relu".
    """
    table, stage_ends = _backbone(activation)
    widths = [table[-1].channels, 96, 32, 24]
    table.append(Layer("dla_up.conv.0", "dla_up.conv.1", (head_conv, widths[0], 1, 1), activation="relu", eps=1e-3,
                       inputs=stage_ends[3]))
    coarse: tuple[str, ...] = ("dla_up.conv.0",)
    for number, width, stage_end in zip((1, 2, 3), widths[1:], reversed(stage_ends[:3])):
        name = f"dla_up.up{number}"
        table += [
            Layer(f"{name}.up.0", f"{name}.up.1", (head_conv, head_conv, 2, 2), 2, "relu", 1e-3, True,
                  inputs=coarse),
            Layer(f"{name}.conv.0", f"{name}.conv.1", (head_conv, width, 1, 1), activation="relu", eps=1e-3,
                  inputs=stage_end),
        ]
        coarse = (f"{name}.up.0", f"{name}.conv.0")
    table.append(Layer(LAST, "dla_up.conv_last.1", (head_conv, head_conv, 3, 3), activation="relu", inputs=coarse))
    for name, channels in HEADS.items():
        table.append(Layer(name, None, (channels, head_conv, 1, 1), inputs=(LAST,),
                           activation="sigmoid" if name == "hm_head.0" else "none"))
    return table


def tensor_shapes(head_conv: int = 64, part: str = "all") -> Shapes:
    """Return the shape of every tensor by name: 303, or with part "backbone" the 255 of `base.`."""
    table = layers(head_conv)
    return common.tensor_shapes(layer for layer in table if part == "all" or layer.name.startswith(BACKBONE))


def change_input(tensors: Tensors, old: dict[str, Any], new: dict[str, Any]) -> Tensors:
    """Apply `conversion.change_input` to CenterFace's first layer; `tensors` have the names of `tensor_shapes`."""
    return conversion.change_input(tensors, STEM, STEM_NORM, old, new)


def _backbone(activation: str) -> tuple[list[Layer], list[tuple[str, ...]]]:
    """List the layers of MobileNetV2, and for each stage the names of the layers whose sum is its output."""
    table = [Layer(STEM, STEM_NORM, (_STEM_CHANNELS, 3, 3, 3), 2, activation)]
    current: tuple[str, ...] = (STEM,)
    channels, stage_ends = _STEM_CHANNELS, []
    for stage, rows in enumerate(_STAGES, start=1):
        item = 1 if stage == 1 else 0
        for expansion, out_channels, repeats, first_stride in rows:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                table += _block(f"base.need_fp{stage}.{item}.conv", channels, out_channels, expansion, stride,
                                activation, current)
                skip = current if stride == 1 and channels == out_channels else ()
                current, channels, item = (*skip, table[-1].name), out_channels, item + 1
        stage_ends.append(current)
    return table, stage_ends


def _block(name: str, channels: int, out_channels: int, expansion: int, stride: int, activation: str,
           inputs: tuple[str, ...]) -> list[Layer]:
    """List the layers of an inverted residual: expand (unless expansion is 1), depthwise, project."""
    hidden, table, item = channels * expansion, [], 0
    if expansion != 1:
        expand = f"{name}.0.features"
        table.append(Layer(f"{expand}.0", f"{expand}.1", (hidden, channels, 1, 1), activation=activation,
                           inputs=inputs))
        inputs, item = (f"{expand}.0",), 1
    depthwise = f"{name}.{item}.features"
    table.append(Layer(f"{depthwise}.0", f"{depthwise}.1", (hidden, 1, 3, 3), stride, activation, groups=hidden,
                       inputs=inputs))
    table.append(Layer(f"{name}.{item + 1}", f"{name}.{item + 2}", (out_channels, hidden, 1, 1),
                       inputs=(f"{depthwise}.0",)))
    return table
