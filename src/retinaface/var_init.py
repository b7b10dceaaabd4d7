# SPDX-License-Identifier: Apache-2.0
"""Initial weights of RetinaFace, drawn by NumPy from a seed: the same on every device and MindSpore version."""
import math

import numpy as np
from mindspore import Tensor, nn


def he_normal(cell: nn.Cell, seed: int) -> None:
    """Fill a backbone's layers: He et al. 2015, normal, fan out; classifiers N(0, 0.01), their biases 0."""
    rng = np.random.default_rng(seed)
    for _, inner in cell.cells_and_names():
        if isinstance(inner, nn.Conv2d):
            shape = inner.weight.shape
            spread = math.sqrt(2.0 * inner.group / (shape[0] * shape[2] * shape[3]))
        elif isinstance(inner, nn.Dense):
            shape, spread = inner.weight.shape, 0.01
            inner.bias.set_data(Tensor(np.zeros(shape[0], np.float32)))
        else:
            continue
        inner.weight.set_data(Tensor(rng.normal(0.0, spread, shape).astype(np.float32)))


def fan_in_uniform(cell: nn.Cell, rng: np.random.Generator) -> None:
    """Fill convolutions and their biases with U(-b, b), b = 1 / sqrt(fan in), as the reference's pyramid and heads."""
    for _, inner in cell.cells_and_names():
        if isinstance(inner, nn.Conv2d):
            shape = inner.weight.shape
            bound = 1.0 / math.sqrt(shape[1] * shape[2] * shape[3])
            inner.weight.set_data(Tensor(rng.uniform(-bound, bound, shape).astype(np.float32)))
            if inner.has_bias:
                inner.bias.set_data(Tensor(rng.uniform(-bound, bound, shape[0]).astype(np.float32)))
