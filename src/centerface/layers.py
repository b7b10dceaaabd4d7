# SPDX-License-Identifier: Apache-2.0
"""CenterFace's layers as plain data, for reading and writing weights without MindSpore.

    tensor_shapes(64)["dla_up.conv.0.weight"]   ->   (64, 320, 1, 1)

Names are those of `CenterfaceMobilev2`'s parameters. Weights are [out, in / groups, kh, kw], those of the
three transposed convolutions [in, out, kh, kw].
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from src.centerface.config import MEAN, STD
from src.weights import conversion as converted

# What the network is fed in training: (x - mean) / std in units of 0..255.
NETWORK_INPUT = {"channels": "BGR", "mean": list(MEAN), "std": list(STD)}
PARTS = ("all", "backbone")
BACKBONE = "base."
STEM = "base.need_fp1.0.features.0"
STEM_NORM = "base.need_fp1.0.features.1"
NORM_SUFFIXES = ("gamma", "beta", "moving_mean", "moving_variance")
HEADS = {"hm_head.0": 1, "wh_head": 2, "off_head": 2, "kps_head": 10}
# (expansion, channels, repeats, first stride) of MobileNetV2 (Sandler et al. 2018, table 2), by stage.
_STAGES = (((1, 16, 1, 1), (6, 24, 2, 2)), ((6, 32, 3, 2),), ((6, 64, 4, 2), (6, 96, 3, 1)),
           ((6, 160, 3, 2), (6, 320, 1, 1)))


@dataclass(frozen=True)
class Layer:
    """One convolution with the batch normalisation that follows it.

    name: of the convolution; `norm`: of its normalisation, None for the heads, which have a bias.
    shape: of the weight. stride: 1 or 2. eps: of the normalisation. transposed: a transposed convolution.
    inputs: the layers whose (activated) outputs are added up to this one's input; empty for the image.
    activation: "relu" (in the backbone the network's own choice, such as ReLU6), "sigmoid" or "none".
    """
    name: str
    norm: str | None
    shape: tuple[int, int, int, int]
    inputs: tuple[str, ...]
    stride: int = 1
    eps: float = 1e-5
    transposed: bool = False
    activation: str = "relu"

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.shape[1] if self.transposed else self.shape[0]


def layers(head_conv: int = 64) -> list[Layer]:
    """All 63 layers in the order in which the network computes them.

    Args:
        head_conv: channels of the pyramid.
    """
    backbone, taps = _backbone()
    found = backbone + [Layer("dla_up.conv.0", "dla_up.conv.1", (head_conv, 320, 1, 1), taps[3], eps=1e-3)]
    coarse: tuple[str, ...] = ("dla_up.conv.0",)
    for number, tap, channels in ((1, taps[2], 96), (2, taps[1], 32), (3, taps[0], 24)):
        name = f"dla_up.up{number}"
        found += [Layer(f"{name}.up.0", f"{name}.up.1", (head_conv, head_conv, 2, 2), coarse, 2, 1e-3, True),
                  Layer(f"{name}.conv.0", f"{name}.conv.1", (head_conv, channels, 1, 1), tap, eps=1e-3)]
        coarse = (f"{name}.up.0", f"{name}.conv.0")
    found.append(Layer("dla_up.conv_last.0", "dla_up.conv_last.1", (head_conv, head_conv, 3, 3), coarse))
    return found + [Layer(name, None, (channels, head_conv, 1, 1), ("dla_up.conv_last.0",),
                          activation="sigmoid" if name == "hm_head.0" else "none")
                    for name, channels in HEADS.items()]


def tensor_shapes(head_conv: int = 64, part: str = "all") -> dict[str, tuple[int, ...]]:
    """Shapes by name: 303 tensors, or with part "backbone" the 255 of `base.`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers(head_conv):
        shapes[f"{layer.name}.weight"] = layer.shape
        if layer.norm is None:
            shapes[f"{layer.name}.bias"] = (layer.channels,)
        else:
            shapes.update({f"{layer.norm}.{suffix}": (layer.channels,) for suffix in NORM_SUFFIXES})
    return {name: shape for name, shape in shapes.items() if part == "all" or name.startswith(BACKBONE)}


def change_input(tensors: dict[str, np.ndarray], old: dict[str, Any],
                 new: dict[str, Any]) -> dict[str, np.ndarray]:
    """`converted.change_input` for CenterFace's first layer; `tensors` have the names of `tensor_shapes`."""
    return converted.change_input(tensors, STEM, STEM_NORM, old, new)


def _backbone() -> tuple[list[Layer], list[tuple[str, ...]]]:
    """The layers of MobileNetV2 without its last, and the names summed at the four stages' ends."""
    found = [Layer(STEM, STEM_NORM, (32, 3, 3, 3), (), 2)]
    current, channels, taps = (STEM,), 32, []
    for number, rows in enumerate(_STAGES, start=1):
        index = 1 if number == 1 else 0
        for expansion, out_channels, repeats, first_stride in rows:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                block = f"base.need_fp{number}.{index}.conv"
                found += _block(block, channels, out_channels, expansion, stride, current)
                skip = current if stride == 1 and channels == out_channels else ()
                current, channels, index = (*skip, found[-1].name), out_channels, index + 1
        taps.append(current)
    return found, taps


def _block(name: str, channels: int, out_channels: int, expansion: int, stride: int,
           inputs: tuple[str, ...]) -> list[Layer]:
    """An inverted residual: expand (unless expansion is 1), depthwise, project."""
    hidden, found, position = channels * expansion, [], 0
    if expansion != 1:
        found.append(Layer(f"{name}.0.features.0", f"{name}.0.features.1", (hidden, channels, 1, 1), inputs))
        inputs, position = (found[-1].name,), 1
    depthwise = f"{name}.{position}.features"
    return found + [
        Layer(f"{depthwise}.0", f"{depthwise}.1", (hidden, 1, 3, 3), inputs, stride),
        Layer(f"{name}.{position + 1}", f"{name}.{position + 2}", (out_channels, hidden, 1, 1),
              (f"{depthwise}.0",), activation="none"),
    ]
