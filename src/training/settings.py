# SPDX-License-Identifier: Apache-2.0
"""What the one training program reads of a model's options, whatever that model's manual calls them.

    settings = models.training(name).run_settings(cfg, rank, group)
    rates = settings.rates(plan.steps_per_epoch)
"""
import re
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Callable, NamedTuple

from dependency.errors import InputError
from src.common import log
from src.weights.checkpoint import checkpoint_name


class OptionNames(NamedTuple):
    """What a model calls the options that shared code has to mention."""
    resume: str = "--resume"
    rate: str = "--lr"
    batch: str = "--batch_size"
    epochs: str = "--epochs"
    annotations: str = "--annotations"
    optimizer: str = "--optimizer"


@dataclass(frozen=True)
class Naming:
    """File names of a run: `<prefix>-<epoch>_<step>.ckpt`, and `beside` before the names of its other files.

    steps_per_epoch: names end with the step within the epoch; 0: with the steps since training began.
    """
    prefix: str = "0"
    steps_per_epoch: int = 0
    beside: str = ""

    def checkpoint(self, epoch: int, done: int) -> str:
        """The checkpoint after `done` steps, in epoch `epoch` (from 1)."""
        step = done - (epoch - 1) * self.steps_per_epoch if self.steps_per_epoch else done
        return checkpoint_name(self.prefix, epoch, step)


@dataclass(frozen=True)
class RunSettings:
    """A training run.

    batch: images per step on one device; epochs, seed, workers: of the data.
    rates: steps per epoch -> the learning rate of every step.
    optimizer, weight_decay, momentum: see `build_optimizer`; backbone_lr: the backbone's share of the rate.
    loss_scale, clip_norm, ema_decay: see `TrainStep`.
    resume: checkpoint to go on from, or "".
    sync_bn: BatchNorm over all devices, see `batch_norm.synchronise`.
    bad_images: what happens to an image that cannot be read, see `create_loader`.
    folder: of checkpoints, log and metrics; log_name: of the log, before its rank.
    prefix: of the checkpoints' names; own_folder: no other run writes there, else a later run takes <prefix>_1.
    step_in_epoch: see `Naming`.
    checkpoint_every: steps between checkpoints (0 = an epoch); keep: newest ones that stay (0 = all).
    iteration_line: format of a step's log line, see `log.ITERATION`; log_every: steps between them.
    names: of the model's options, for messages.

    Raises:
        InputError: a number that must be at least 1 is not.
    """
    batch: int
    epochs: int
    seed: int
    workers: int
    rates: Callable[[int], list[float]]
    optimizer: str
    weight_decay: float
    momentum: float
    backbone_lr: float
    loss_scale: float
    clip_norm: float
    ema_decay: float
    resume: str
    folder: Path
    log_name: str
    prefix: str
    sync_bn: bool = False
    bad_images: str = "error"
    own_folder: bool = True
    step_in_epoch: bool = False
    checkpoint_every: int = 0
    keep: int = 0
    iteration_line: str = log.ITERATION
    log_every: int = 1
    names: OptionNames = OptionNames()

    def __post_init__(self) -> None:
        for name, value in ((self.names.batch, self.batch), (self.names.epochs, self.epochs),
                            ("--log_interval", self.log_every)):
            if value < 1:
                raise InputError(f"{name} {value}: expected at least 1")

    def going_on(self) -> "RunSettings":
        """For a run that goes on from the checkpoint `resume`: one whose folder is beside this one's goes on in it."""
        former = Path(self.resume).resolve().parent
        if self.own_folder and former.parent == self.folder.resolve().parent:
            return replace(self, folder=former)
        return self

    def naming(self, steps_per_epoch: int, goes_on: bool) -> Naming:
        """The names of this run's files; in a shared folder a prefix that an earlier run used is not used again.

        Args:
            steps_per_epoch: of the run.
            goes_on: it continues the run of `resume`, whose prefix it then keeps in that run's folder.
        """
        steps = steps_per_epoch if self.step_in_epoch else 0
        if self.own_folder:
            return Naming(self.prefix, steps)
        resumed = Path(self.resume)
        named = re.fullmatch(r"(.+)-\d+_\d+\.ckpt", resumed.name)
        if goes_on and named and resumed.resolve().parent == self.folder.resolve():
            prefix = named[1]
        else:
            taken = {path.name.split("-")[0] for path in self.folder.glob("*-*.*")}
            names = chain([self.prefix], (f"{self.prefix}_{number}" for number in count(1)))
            prefix = next(name for name in names if name not in taken)
        return Naming(prefix, steps, f"{prefix}-")
