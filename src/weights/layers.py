# SPDX-License-Identifier: Apache-2.0
"""A network's layers as plain data: names, shapes and strides, known without MindSpore.

    Layer("base.conv1", "base.bn1", (64, 3, 7, 7), stride=2, activation="relu").kernel     ->   7
    tensor_shapes(layers)["base.bn1.gamma"]                                                ->   (64,)

`src/inference/layer_cells.py` makes the MindSpore cells of them, `src/inference/onnx_builder.py` the ONNX graph.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from src.models import Shapes
from src.weights.conversion import NORM_SUFFIXES

# Of LeakyReLU, below zero.
LEAKY_SLOPE = 0.1


@dataclass(frozen=True)
class Layer:
    """One convolution, padded by half its kernel, with the batch normalisation and the activation that follow it.

    name: of the convolution. norm: of its normalisation; None: there is none, the convolution has a bias.
    shape: of the weight, [out, in / groups, kernel, kernel], of a transposed convolution [in, out, kernel, kernel].
    stride: 1 or 2. groups: of a depthwise convolution one for each channel, else 1. eps: of the normalisation.
    activation: "none", "relu", "relu6", "leaky" (see `LEAKY_SLOPE`) or "sigmoid".
    inputs: names of the layers whose outputs are added up to this one's input; () for the image, and where the
        network's own code says how layers are connected.
    """
    name: str
    norm: str | None
    shape: tuple[int, int, int, int]
    stride: int = 1
    activation: str = "none"
    eps: float = 1e-5
    transposed: bool = False
    groups: int = 1
    inputs: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.shape[1] if self.transposed else self.shape[0]

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return self.shape[0] if self.transposed else self.shape[1] * self.groups

    @property
    def kernel(self) -> int:
        """Side of the kernel."""
        return self.shape[2]


def tensor_shapes(layers: Iterable[Layer]) -> Shapes:
    """Return the shape of every tensor by name, in the order of the layers."""
    shapes: Shapes = {}
    for layer in layers:
        shapes[f"{layer.name}.weight"] = layer.shape
        if layer.norm is None:
            shapes[f"{layer.name}.bias"] = (layer.channels,)
        else:
            shapes.update({f"{layer.norm}.{suffix}": (layer.channels,) for suffix in NORM_SUFFIXES})
    return shapes
