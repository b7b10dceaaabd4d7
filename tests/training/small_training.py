# SPDX-License-Identifier: Apache-2.0
"""A network of one convolution with BatchNorm and its loss, for tests of the train step and the epoch loop."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from mindspore import Tensor, nn, ops

from src.data.sampler import SamplePlan
from src.training.optim import build_optimizer
from src.training.settings import RunSettings
from src.training.train_step import TrainStep


class SmallNetwork(nn.Cell):
    """[N, 2] -> [N, 1]; BatchNorm so that there are running statistics to keep."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.first = nn.Dense(2, 4, weight_init=Tensor(rng.normal(size=(4, 2)).astype(np.float32)),
                              bias_init="zeros")
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Dense(4, 1, weight_init=Tensor(rng.normal(size=(1, 4)).astype(np.float32)),
                             bias_init="zeros")

    def construct(self, x: Tensor) -> Tensor:
        return self.last(ops.relu(self.norm(self.first(x))))


class SmallLoss(nn.Cell):
    """Mean squared error and mean absolute error."""

    def __init__(self, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x: Tensor, y: Tensor) -> tuple:
        gap = self.network(x) - y
        square, absolute = ops.square(gap).mean(), ops.abs(gap).mean()
        return square + absolute, (square, absolute)


def small_sample(index: int, rng: np.random.Generator) -> tuple:
    """Noisy points of a plane."""
    x = rng.normal(size=2).astype(np.float32) + np.float32(index)
    return x, (x[:1] * 2 - x[1:]).astype(np.float32)


SPEC = SimpleNamespace(own_names=dict, default_metadata={"options": {}})
METADATA = {"model": "small", "options": {"width": 4}, "decoder": "plain",
            "input": {"channels": "BGR", "mean": [0, 0, 0], "std": [1, 1, 1]}}


def small_settings(folder: Path, plan: SamplePlan, rates: list, **options) -> RunSettings:
    """The settings of a small run into `folder`."""
    options = {"checkpoint_prefix": "0", "resume": "", **options}
    return RunSettings(batch=plan.batch, epochs=plan.max_epoch, seed=plan.seed, workers=1, rates=lambda _: rates,
                       optimizer="adam", weight_decay=0.0, momentum=0.9, backbone_lr=1.0, loss_scale=1.0,
                       clip_norm=0.0, ema_decay=0.0, run_dir=folder, log_name="run", **options)


def small_step(rates: list, optimizer: str = "adam", **options) -> tuple[TrainStep, SmallNetwork]:
    """A train step over a fresh network."""
    network = SmallNetwork()
    own = {name: options.pop(name) for name in ("weight_decay", "slow_prefix", "slow_factor") if name in options}
    built = build_optimizer(optimizer, network.trainable_params(), rates, **own)
    return TrainStep(SmallLoss(network), built, **options), network
