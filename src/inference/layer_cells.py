# SPDX-License-Identifier: Apache-2.0
"""MindSpore cells of a table of layers (src/weights/layers.py), and their initial weights.

    nn.SequentialCell(cells_of(layer))            # convolution, normalisation, activation
    set_normal(convolution(layer), np.random.default_rng(1))

Initial weights are drawn by NumPy: the same on every device and with every MindSpore version.
"""
from __future__ import annotations

import math

import numpy as np
from mindspore import Parameter, Tensor, nn

from src.common import device
from src.weights.layers import LEAKY_SLOPE, Layer


def convolution(layer: Layer) -> nn.Cell:
    """Build the layer's convolution alone."""
    device.cap_onednn()             # for those who import mindspore themselves, as docs/retinaface.md shows
    if layer.transposed:
        return nn.Conv2dTranspose(layer.in_channels, layer.channels, layer.kernel, layer.stride, pad_mode="pad",
                                  padding=0)
    return nn.Conv2d(layer.in_channels, layer.channels, layer.kernel, layer.stride, pad_mode="pad",
                     padding=layer.kernel // 2, group=layer.groups, has_bias=layer.norm is None)


def cells_of(layer: Layer) -> list[nn.Cell]:
    """Build the layer's convolution, normalisation and activation; leave out what the layer does not have."""
    cells = [convolution(layer)]
    if layer.norm is not None:
        cells.append(nn.BatchNorm2d(layer.channels, eps=layer.eps, momentum=0.9))
    if layer.activation != "none":
        cells.append(activation(layer.activation))
    return cells


def activation(name: str) -> nn.Cell:
    """Build the activation of a `Layer` from its name."""
    if name == "leaky":
        return nn.LeakyReLU(LEAKY_SLOPE)
    return {"relu": nn.ReLU, "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid}[name]()


def set_normal(cell: nn.Cell, rng: np.random.Generator, spread: float | None = None, bias: float = 0.0) -> None:
    """Draw the weight from N(0, spread) and make the bias, if any, constant.

    Args:
        cell: a convolution or `nn.Dense`.
        spread: None: sqrt(2 / fan out) of a convolution (He et al. 2015, arXiv 1502.01852).
    """
    shape = cell.weight.shape
    if spread is None:
        spread = math.sqrt(2.0 / (shape[0] * shape[2] * shape[3] // cell.group))
    _set(cell.weight, rng.normal(0.0, spread, shape))
    if cell.has_bias:
        _set(cell.bias, np.full(shape[0], bias))


def set_uniform(convolution: nn.Cell, rng: np.random.Generator) -> None:
    """Draw weight and bias from U(-b, b), b = 1 / sqrt(fan in), PyTorch's default."""
    shape = convolution.weight.shape
    bound = 1.0 / math.sqrt(shape[1] * shape[2] * shape[3])
    _set(convolution.weight, rng.uniform(-bound, bound, shape))
    if convolution.has_bias:
        _set(convolution.bias, rng.uniform(-bound, bound, shape[0]))


def _set(parameter: Parameter, values: np.ndarray) -> None:
    parameter.set_data(Tensor(values.astype(np.float32)))
