# SPDX-License-Identifier: Apache-2.0
"""The optimisers of training and their parameter groups."""
from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

WITHOUT_DECAY = (".bias", ".gamma", ".beta")


def build_optimizer(name: str, params: Sequence, rates: Sequence[float], weight_decay: float = 0.0,
                    momentum: float = 0.9, slow_prefix: str = "", slow_factor: float = 1.0) -> nn.Optimizer:
    """Build Adam (0.9, 0.999, 1e-8), SGD or Momentum; biases and BatchNorm's gamma and beta are not decayed.

    Args:
        name: "adam", "sgd" or "momentum".
        rates: the learning rate of every step (`lr_schedule.schedule`).
        slow_prefix, slow_factor: parameters whose names start with the prefix (a pretrained backbone) learn at
            this fraction of the rate; at 0 they are not trained, and no gradient of them is computed.
    """
    params = param_groups(params, list(map(float, rates)), weight_decay, slow_prefix, slow_factor)
    if name == "adam":
        return Adam(params, rates)
    if name == "sgd":
        return nn.SGD(params, learning_rate=rates, momentum=momentum)
    return nn.Momentum(params, learning_rate=rates, momentum=momentum)


def param_groups(params: Sequence, rates: Sequence[float], weight_decay: float = 0.0, slow_prefix: str = "",
                 slow_factor: float = 1.0) -> list[dict]:
    """Group by (slow or not, decayed or not), without empty groups and parameters of factor 0, in their order."""
    groups: dict[tuple[float, float], list] = {}
    for param in params:
        factor = slow_factor if slow_prefix and param.name.startswith(slow_prefix) else 1.0
        if factor == 0:
            continue
        decay = 0.0 if param.name.endswith(WITHOUT_DECAY) else weight_decay
        groups.setdefault((factor, decay), []).append(param)
    listed = [{"params": members, "weight_decay": decay, "lr": [rate * factor for rate in rates]}
              for (factor, decay), members in groups.items()]
    trained = {id(param) for members in groups.values() for param in members}
    return [*listed, {"order_params": [param for param in params if id(param) in trained]}]


class Adam(nn.Optimizer):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) with betas 0.9 and 0.999, eps 1e-8: `nn.Adam` to the bit and by names.

    `nn.Adam` makes an operator for sparse gradients, too, which MindSpore has deprecated.

    Args:
        groups: of `param_groups`. rates: the learning rate of every step.
    """

    def __init__(self, groups: list[dict], rates: Sequence[float]):
        super().__init__(rates, groups)
        self.betas = Tensor(0.9, ms.float32), Tensor(0.999, ms.float32)
        self.eps = Tensor(1e-8, ms.float32)
        self.beta1_power = ms.Parameter(Tensor(1.0, ms.float32), name="beta1_power")
        self.beta2_power = ms.Parameter(Tensor(1.0, ms.float32), name="beta2_power")
        self.moment1 = self._parameters.clone(prefix="moment1", init="zeros")
        self.moment2 = self._parameters.clone(prefix="moment2", init="zeros")
        self.update = ops.Adam()

    @ms.jit
    def construct(self, gradients: tuple) -> tuple:
        gradients = self.decay_weight(gradients)
        rates = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        beta1, beta2 = self.betas
        self.beta1_power = self.beta1_power * beta1
        self.beta2_power = self.beta2_power * beta2
        update = ops.partial(_adam, self.update, self.beta1_power, self.beta2_power, beta1, beta2, self.eps)
        return ops.HyperMap()(update, rates, gradients, self._parameters, self.moment1, self.moment2)


_adam = ops.MultitypeFuncGraph("adam")


@_adam.register("Function", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor",
                "Tensor")
def _adam_tensor(update, beta1_power, beta2_power, beta1, beta2, eps, rate, gradient, param, moment1, moment2):
    return update(param, moment1, moment2, beta1_power, beta2_power, rate, beta1, beta2, eps, gradient)
