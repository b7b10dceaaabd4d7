# SPDX-License-Identifier: Apache-2.0
"""The one training step of every model: forward, gradients, overflow check, optimiser, moving average.

    step = TrainStep(WithLoss(network), optimizer)
    loss, terms, finite = step(*batch)

A Cell run in GRAPH_MODE: as a `ms.jit` function the same kernels took two to three times as long on a CPU.
"""
import mindspore as ms
from mindspore import Tensor, nn, ops

from src.training.distributed import GradientMean


class TrainStep(nn.Cell):
    """One optimiser step; skipped, weights untouched, when a gradient is not finite.

    Args:
        loss_cell: (*batch) -> (total loss, tuple of its terms); its trainable parameters are trained.
        optimizer: over those parameters.
        loss_scale: the loss is multiplied by it before the backward pass and the gradients divided after, so that
            small float16 gradients survive; 1 for float32.
        clip_norm: largest global gradient norm; 0 = no clipping.
        ema_decay: decay of the exponential moving average of all weights and BatchNorm statistics, ramped up as
            min(ema_decay, (1 + t) / (10 + t)); 0 = none. Read it with `ema_parameters`.
        world_size: number of devices that share the batch; gradients are averaged over them.

    Returns of a call: loss, terms (a tuple of scalars), finite (bool; False = the step was skipped).
    """

    def __init__(self, loss_cell: nn.Cell, optimizer: nn.Optimizer, loss_scale: float = 1.0, clip_norm: float = 0.0,
                 ema_decay: float = 0.0, world_size: int = 1):
        # Without prefixes the parameters, and the optimiser's moments of them, keep the network's own names.
        super().__init__(auto_prefix=False)
        self.loss_cell = loss_cell
        self.optimizer = optimizer
        self.params = optimizer.parameters
        self.loss_scale = loss_scale
        self.clip_norm = clip_norm
        self.gradient_mean = GradientMean(self.params, world_size) if world_size > 1 else None
        self.has_ema = ema_decay > 0
        if self.has_ema:
            self.ema_decay = ema_decay
            self.averaged = ms.ParameterTuple([p for p in loss_cell.get_parameters()])
            self.ema = self.averaged.clone(prefix="ema", init="same")
            self.ema_steps = ms.Parameter(Tensor(0.0, ms.float32), name="ema_steps", requires_grad=False)

    def forward(self, batch: tuple) -> tuple:
        loss, terms = self.loss_cell(*batch)
        return loss * self.loss_scale, loss, terms

    def construct(self, *batch) -> tuple:
        results, grads = ms.value_and_grad(self.forward, None, self.params, has_aux=True)(batch)
        _, loss, terms = results
        if self.gradient_mean is not None:
            grads = self.gradient_mean(grads)
        if self.loss_scale != 1.0:
            grads = ops.HyperMap()(ops.partial(_multiply, 1.0 / self.loss_scale), grads)
        finite = ms.amp.all_finite(grads)
        if finite:
            if self.clip_norm > 0:
                grads = ops.clip_by_global_norm(grads, self.clip_norm)
            self.optimizer(grads)
            if self.has_ema:
                self._average()
        return loss, terms, finite

    def _average(self) -> None:
        steps = self.ema_steps
        keep = ops.minimum(Tensor(self.ema_decay, ms.float32), (1 + steps) / (10 + steps))
        ops.assign(self.ema_steps, steps + 1)
        ops.HyperMap()(ops.partial(_blend, keep), self.ema, self.averaged)

    def ema_parameters(self) -> dict[str, ms.Parameter]:
        """Return the averaged weights under the names of the weights themselves; empty without a moving average."""
        if not self.has_ema:
            return {}
        return {own.name: average for own, average in zip(self.averaged, self.ema)}


_multiply = ops.MultitypeFuncGraph("multiply")


@_multiply.register("Number", "Tensor")
def _multiply_tensor(factor, value):
    return value * factor


_blend = ops.MultitypeFuncGraph("blend")


@_blend.register("Tensor", "Tensor", "Tensor")
def _blend_tensor(keep, average, value):
    return ops.assign(average, average * keep + value * (1 - keep))
