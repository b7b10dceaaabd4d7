# SPDX-License-Identifier: Apache-2.0
"""The settings of a training run, under one set of names for both models.

    settings = models.training(name).run_settings(cfg, world_size, start_time)
    rates = settings.rates(plan.steps_per_epoch)
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Callable

from dependency.errors import InputError
from dependency.files import new_folder, open_locked
from src.common import log
from src.common.log import LOGGER
from src.run_folder.files import CONFIG, RunFiles
from src.training.distributed import ALONE, Ranks


def scale_rate(cfg: Any, is_given: bool, images: int, rate_images: int) -> None:
    """Scale `cfg.lr` in proportion to the images a step (Goyal et al. 2017, section 2.1), and log it.

    `cfg.scale_lr` becomes False, so that a run with these options again does not scale twice.

    Args:
        is_given: the user set --lr, which is scaled only with --scale_lr 1.
        images: of a step of this run; rate_images: that `cfg.lr` is for.
    """
    if cfg.scale_lr or cfg.scale_lr is None and not is_given:
        scaled = cfg.lr * images / rate_images
        if scaled != cfg.lr:
            LOGGER.info("learning rate %g: %g is for %d images a step, this run has %d (--lr sets another)", scaled,
                        cfg.lr, rate_images, images)
        cfg.lr = scaled
    cfg.scale_lr = False


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
    run_dir: folder of checkpoints, logs and metrics; log_name: name of a log, without its rank.
    checkpoint_prefix: of the checkpoints' names.
    unique_run_dir: True: each run has its own folder, and where `run_dir` is another run's, it is <run_dir>_1, _2, ...;
        False: all runs share one, and a later run's prefix is <checkpoint_prefix>_1, _2, ...
    step_in_epoch: see `RunFiles`.
    checkpoint_every: steps between checkpoints (0 = an epoch); keep: number of newest ones to keep (0 = all).
    iteration_line: format of a step's log line, see `log.ITERATION`.
    log_every: steps between these lines (0 = 1, on a terminal a tenth of an epoch).
    patience: number of validations without a better AP after which training ends (0 = none).
    from_detector: training starts from a whole detector, which is validated before the first step.
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
    sync_bn: bool = False
    bad_images: str = "error"
    unique_run_dir: bool = True
    step_in_epoch: bool = False
    checkpoint_every: int = 0
    keep: int = 0
    iteration_line: str = log.ITERATION
    log_every: int = 1
    patience: int = 0
    from_detector: bool = False

    @contextmanager
    def files(self, steps_per_epoch: int, is_resumed: bool, ranks: Ranks = ALONE) -> Iterator[RunFiles]:
        """Choose this run's files, the same for all its processes; no other run gets them until the block ends.

        Args:
            steps_per_epoch: of the run.
            is_resumed: it continues the run of `resume`, and has that run's files if they are where its own would be.

        Raises:
            InputError: that run has not ended.
        """
        with ExitStack() as stack:
            run_dir, prefix = ranks.share(self._claim(is_resumed, stack) if ranks.rank == 0 else None)
            yield RunFiles(Path(run_dir), prefix, steps_per_epoch if self.step_in_epoch else 0, self._before(prefix))

    def _claim(self, is_resumed: bool, stack: ExitStack) -> tuple[str, str]:
        """Return folder and prefix of a run's files; `CONFIG` among them stays open, which keeps other runs away."""
        former = self._former_run() if is_resumed else None
        if former:
            try:
                stack.enter_context(open_locked(former[0] / f"{self._before(former[1])}{CONFIG}", "a"))
                return str(former[0]), former[1]
            except BlockingIOError as error:
                raise InputError(f"--resume {self.resume}: another process still trains into {former[0]}; "
                                 "wait until it has ended, or give another --ckpt_path") from error
        own = self.checkpoint_prefix
        if self.unique_run_dir:
            run_dir = new_folder(self.run_dir)
            stack.enter_context(open_locked(run_dir / CONFIG, "x"))
            return str(run_dir), own
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for prefix in chain([own], (f"{own}_{number}" for number in count(1))):
            if not any(self.run_dir.glob(f"{prefix}-*.*")):
                with suppress(FileExistsError):
                    stack.enter_context(open_locked(self.run_dir / f"{self._before(prefix)}{CONFIG}", "x"))
                    break
        return str(self.run_dir), prefix

    def _former_run(self) -> tuple[Path, str] | None:
        """Return folder and prefix of the run of `resume`; None if its files are not where a new run's would be."""
        checkpoint = Path(self.resume)
        folder, own = checkpoint.resolve().parent, self.run_dir.resolve()
        if self.unique_run_dir:
            return (folder, self.checkpoint_prefix) if folder.parent == own.parent else None
        name = re.fullmatch(r"(.+)-(?:\d+_\d+|best|last)\.ckpt", checkpoint.name)
        return (self.run_dir, name[1]) if name and folder == own else None

    def _before(self, prefix: str) -> str:
        """Return what the names of files other than checkpoints begin with."""
        return "" if self.unique_run_dir else f"{prefix}-"
