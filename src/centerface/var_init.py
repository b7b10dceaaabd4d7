# SPDX-License-Identifier: Apache-2.0
"""Initial weights of CenterFace, drawn by NumPy from a seed: the same on every device and MindSpore version."""
import math

import numpy as np
from mindspore import Tensor, nn

HEADS = ("hm_head", "wh_head", "off_head", "kps_head")


def initialise(network: nn.Cell, seed: int, constants: dict[str, float]) -> None:
    """Fill all convolutions of `network`.

    Heads: N(0, 0.001). Convolutions: He et al. 2015, normal, fan out. Transposed convolutions: the uniform
    distribution with gain sqrt(1/3) over the fan. Biases 0, except those named in `constants`. BatchNorm keeps
    MindSpore's gamma 1, beta 0.
    """
    rng = np.random.default_rng(seed)
    for name, cell in network.cells_and_names():
        if isinstance(cell, nn.Conv2dTranspose):
            shape = cell.weight.shape
            bound = math.sqrt(1.0 / (shape[1] * shape[2] * shape[3]))
            values = rng.uniform(-bound, bound, shape)
        elif isinstance(cell, nn.Conv2d):
            shape = cell.weight.shape
            fan_out = shape[0] * shape[2] * shape[3] // cell.group
            spread = 0.001 if name.startswith(HEADS) else math.sqrt(2.0 / fan_out)
            values = rng.normal(0.0, spread, shape)
        else:
            continue
        cell.weight.set_data(Tensor(values.astype(np.float32)))
        if cell.has_bias:
            bias = np.full(shape[0], constants.get(f"{name}.bias", 0.0), np.float32)
            cell.bias.set_data(Tensor(bias))
