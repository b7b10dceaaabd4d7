# SPDX-License-Identifier: Apache-2.0
"""The settings of a training run, under one set of names for both models.

    settings = models.training(name).run_settings(cfg, rank, world_size, start_time)
    rates = settings.rates(plan.steps_per_epoch)
"""
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Callable, NamedTuple

from src.common import log
from src.weights.checkpoint import checkpoint_name


class OptionNames(NamedTuple):
    """A model's own names of the options that shared code mentions in messages."""
    resume: str
    rate: str
    batch: str
    epochs: str
    annotations: str
    optimizer: str


@dataclass(frozen=True)
class RunFiles:
    """The files of a run in `run_dir`: checkpoints `<checkpoint_prefix>-<epoch>_<step>.ckpt`, others `<prefix><name>`.

    steps_per_epoch: checkpoint names end with the step within the epoch; 0: with the steps since training began.
    """
    run_dir: Path
    checkpoint_prefix: str = "0"
    steps_per_epoch: int = 0
    prefix: str = ""

    def checkpoint(self, epoch: int, done: int) -> Path:
        """Return the path of the checkpoint after `done` steps, in epoch `epoch` (counted from 1)."""
        step = done - (epoch - 1) * self.steps_per_epoch if self.steps_per_epoch else done
        return self.run_dir / checkpoint_name(self.checkpoint_prefix, epoch, step)

    def path(self, name: str) -> Path:
        """Return the path of any other file of the run."""
        return self.run_dir / f"{self.prefix}{name}"


@dataclass(frozen=True)
class RunSettings:
    """A training run.

    batch: images per step on one device; epochs, seed, workers: of the data.
    rates: steps per epoch -> the learning rate of every step.
    optimizer, weight_decay, momentum: see `build_optimizer`; backbone_lr: factor on the backbone's learning rate.
    loss_scale, clip_norm, ema_decay: see `TrainStep`.
    resume: checkpoint to continue from, or "".
    sync_bn: BatchNorm over all devices, see `batch_norm.synchronise`.
    bad_images: what happens to an image that cannot be read, see `create_loader`.
    run_dir: folder of checkpoints, log and metrics; log_name: name of the log, without its rank.
    checkpoint_prefix: of the checkpoints' names; names: of the model's options, for messages.
    unique_run_dir: True: each run has its own folder; False: all runs share one, and a later run's prefix is
        <checkpoint_prefix>_1, _2, ...
    step_in_epoch: see `RunFiles`.
    checkpoint_every: steps between checkpoints (0 = an epoch); keep: number of newest ones to keep (0 = all).
    iteration_line: format of a step's log line, see `log.ITERATION`; log_every: steps between them.
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
    run_dir: Path
    log_name: str
    checkpoint_prefix: str
    names: OptionNames
    sync_bn: bool = False
    bad_images: str = "error"
    unique_run_dir: bool = True
    step_in_epoch: bool = False
    checkpoint_every: int = 0
    keep: int = 0
    iteration_line: str = log.ITERATION
    log_every: int = 1

    def resumed(self) -> RunSettings:
        """Return the settings of a run that continues from `resume`.

        It writes into the folder of that earlier run, if the two folders have the same parent.
        """
        former = Path(self.resume).resolve().parent
        if self.unique_run_dir and former.parent == self.run_dir.resolve().parent:
            return replace(self, run_dir=former)
        return self

    def files(self, steps_per_epoch: int, is_resumed: bool) -> RunFiles:
        """Choose this run's files; in a shared folder the prefix of an earlier run is not used again.

        Args:
            steps_per_epoch: of the run.
            is_resumed: it continues the run of `resume` and keeps that run's prefix in that run's folder.
        """
        steps = steps_per_epoch if self.step_in_epoch else 0
        if self.unique_run_dir:
            return RunFiles(self.run_dir, self.checkpoint_prefix, steps)
        checkpoint = Path(self.resume)
        name = re.fullmatch(r"(.+)-\d+_\d+\.ckpt", checkpoint.name)
        if is_resumed and name and checkpoint.resolve().parent == self.run_dir.resolve():
            prefix = name[1]
        else:
            used = {path.name.split("-")[0] for path in self.run_dir.glob("*-*.*")}
            prefixes = chain([self.checkpoint_prefix], (f"{self.checkpoint_prefix}_{number}" for number in count(1)))
            prefix = next(prefix for prefix in prefixes if prefix not in used)
        return RunFiles(self.run_dir, prefix, steps, f"{prefix}-")
