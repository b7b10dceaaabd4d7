# SPDX-License-Identifier: Apache-2.0
"""The optimisers of training and their parameter groups."""
from collections.abc import Sequence

from mindspore import nn

WITHOUT_DECAY = (".bias", ".gamma", ".beta")


def build_optimizer(name: str, params: Sequence, rates: Sequence[float], weight_decay: float = 0.0,
                    momentum: float = 0.9, slow_prefix: str = "", slow_factor: float = 1.0) -> nn.Optimizer:
    """Build Adam (0.9, 0.999, 1e-8), SGD or Momentum; biases and BatchNorm's gamma and beta are not decayed.

    Args:
        name: "adam", "sgd" or "momentum".
        rates: the learning rate of every step (`lr_schedule.schedule`).
        slow_prefix, slow_factor: parameters whose names start with the prefix (a pretrained backbone) learn at
            this fraction of the rate.
    """
    params = param_groups(params, list(map(float, rates)), weight_decay, slow_prefix, slow_factor)
    if name == "adam":
        return nn.Adam(params, learning_rate=rates)
    if name == "sgd":
        return nn.SGD(params, learning_rate=rates, momentum=momentum)
    return nn.Momentum(params, learning_rate=rates, momentum=momentum)


def param_groups(params: Sequence, rates: Sequence[float], weight_decay: float = 0.0, slow_prefix: str = "",
                 slow_factor: float = 1.0) -> list[dict]:
    """Group by (slow or not, decayed or not), without empty groups; updates keep the order of `params`."""
    groups: dict[tuple[float, float], list] = {}
    for param in params:
        factor = slow_factor if slow_prefix and param.name.startswith(slow_prefix) else 1.0
        decay = 0.0 if param.name.endswith(WITHOUT_DECAY) else weight_decay
        groups.setdefault((factor, decay), []).append(param)
    listed = [{"params": members, "weight_decay": decay, "lr": [rate * factor for rate in rates]}
              for (factor, decay), members in groups.items()]
    return [*listed, {"order_params": list(params)}]
