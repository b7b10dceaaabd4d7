# SPDX-License-Identifier: Apache-2.0
"""The epoch loop of both models: log lines of the manuals, checkpoints, resume, and an orderly end in every case.

    Trainer(step, network, plan, rates, metadata, terms=("hm", "wh"), settings=settings, files=files).fit(batches)

Writes checkpoints into the run's folder; what else is there, `report` writes. Knows no model: a batch's last two
columns hold image indices and bad images, everything before them goes to the train step.
"""
from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable

import numpy as np
from mindspore import Tensor

from dependency.errors import TrainingError
from dependency.files import link_file
from src.common import log
from src.common.log import LOGGER
from src.common.progress import ProgressBar, progress_bar
from src.data.loader import Batch, DataError
from src.data.sampler import SamplePlan
from src.data.training_set import BadImages
from src.run_folder.epoch_meter import EpochMeter
from src.run_folder.files import LAST, RunFiles
from src.run_folder.pictures import optional, write_sheet
from src.run_folder.report import RunReport
from src.training import restart_file
from src.training.distributed import ALONE, Ranks
from src.training.resume import save_state, state_size
from src.training.settings import RunSettings
from src.training.stop_signal import StopRequest, catch_stop_signals
from src.training.train_step import TrainStep

# Seconds between two log lines that say how long it will take; at the end of an epoch fewer are enough.
SECONDS_BETWEEN_LINES = 600.0
ENOUGH_FOR_A_LINE = 60.0
SECONDS_BETWEEN_MESSAGES = 5.0
# Share of an epoch's steps; the first few of a training may be skipped.
MANY_SKIPPED = 0.2
# Number of batches that are drawn.
BATCHES = 3


@dataclass
class Trainer:
    """Everything that the loop needs.

    step: the train step; network: whose weights are saved; plan: which image when; rates: learning rate per step.
    metadata: embedded in every checkpoint; terms: names of the loss terms; settings: intervals, log line; files: where
    to write. describe: image index -> its name; picture: batch -> its pictures, uint8 BGR; report: of rank 0, None
    elsewhere.
    ranks: the processes that train together; losses are means over them, and they stop together.
    fingerprint: of the training set, see `src.data.training_set.fingerprint`.
    """
    step: TrainStep
    network: Any
    plan: SamplePlan
    rates: Sequence[float]
    metadata: dict[str, Any]
    terms: Sequence[str]
    settings: RunSettings
    files: RunFiles
    describe: Callable[[int], str] = str
    picture: Callable[[Batch], Sequence[np.ndarray]] | None = None
    report: RunReport | None = None
    ranks: Ranks = ALONE
    fingerprint: str = ""
    saved: list[Path] = field(default_factory=list)
    last_message: float = 0.0

    def fit(self, batches: Generator[Batch, None, None], first_step: int = 0) -> None:
        """Train from step `first_step` to the end of the plan.

        SIGTERM, SIGINT and SIGHUP end it after the running step with a checkpoint from which --resume continues; from
        then on the ending process ignores SIGTERM.

        Raises:
            TrainingError: the loss is not finite, or no more data come.
        """
        self.step.set_train(True)
        self.saved = self._checkpoints_until(first_step)
        bad_images = BadImages(self.describe)
        meter = EpochMeter(len(self.terms))
        total, steps_per_epoch = self.plan.total_steps, self.plan.steps_per_epoch
        bar = progress_bar(total - first_step, "steps", "compiling", seconds=SECONDS_BETWEEN_LINES)
        with catch_stop_signals() as stop, bar, closing(batches):
            # From this line on a stop saves a checkpoint.
            LOGGER.info("args.steps_per_epoch = %d args.ckpt_interval = %d, first step %d of %d, outputs in %s",
                        steps_per_epoch, self.settings.checkpoint_every, first_step, len(self.rates),
                        self.files.run_dir)
            count, size = -(-(total - first_step) // self._checkpoint_interval), state_size(self.step, self.network)
            LOGGER.info("%s", self.files.describe_checkpoints(count, self.settings.keep, size, self._is_validated))
            done, stopping, is_over = first_step, False, False
            # At the end of an epoch a signal to stop may have come before its validation.
            if done % steps_per_epoch == 0 and (done or self.settings.from_detector):
                _, is_over = self._validate(done, stop)
            for done in () if is_over else range(first_step + 1, total + 1):
                stop.listen()
                batch = self._next(batches, meter, done, first_step)
                loss, terms, finite = self._run(batch, bar)
                # Asked for after the step, so that a signal during it ends the run with it.
                counts = (stop.is_requested, bad_images.record(batch[-1]))
                mean, means, (signals, bad) = self._over_devices(loss, terms, counts)
                if not math.isfinite(mean):
                    raise self._not_finite(batch, loss, terms, done, meter)
                meter.add(mean, means, finite, bad)
                self._log_iteration(done, meter, mean, finite)
                bar.set_postfix_str(f"epoch {self._epoch(done)}, mean loss {meter.loss:.4f}", refresh=False)
                ends_epoch = done % steps_per_epoch == 0
                if ends_epoch:
                    self._end_epoch(done, meter, bar)
                stopping = signals > 0
                if stopping or done == total or done % self._checkpoint_interval == 0:
                    self.save(done)
                if ends_epoch:
                    stopping, is_over = (True, False) if stopping else self._validate(done, stop)
                    meter = EpochMeter(len(self.terms))
                if stopping or is_over:
                    self.save(done)
                    stop.is_granted = stopping
                    break
        if stopping and done < total:
            LOGGER.warning("stopped by %s after step %d of %d; go on with --resume %s", stop.by, done, total,
                           self._checkpoint(done))
            if self.report:
                self.report.add_unfinished(self._epoch(done), meter.losses)
            return
        if is_over:
            LOGGER.info("no better AP in %d validations: training ends", self.settings.patience)
        LOGGER.info(log.END_TRAINING)

    def save(self, done: int) -> None:
        """Write the checkpoint of the state after `done` steps (rank 0, once) and remove the oldest above `keep`."""
        path = self._checkpoint(done)
        if self.plan.rank != 0 or path in self.saved:
            return
        self._write_state(path, done)
        if self._is_validated:
            link_file(path, self.files.path(LAST))
        restart_file.record(path)
        self.saved.append(path)
        while 0 < self.settings.keep < len(self.saved):
            self.saved.pop(0).unlink(missing_ok=True)

    def _write_state(self, path: Path, done: int) -> None:
        # "group" is the name of the number of devices in the files.
        save_state(path, self.step, self.network, self.metadata,
                   {"epoch": self._epoch(done), "step": done, "steps_per_epoch": self.plan.steps_per_epoch,
                    "batch": self.plan.batch, "group": self.plan.world_size, "seed": self.plan.seed,
                    "images": self.plan.count, "fingerprint": self.fingerprint})

    def _next(self, batches: Generator[Batch, None, None], meter: EpochMeter, done: int, first_step: int) -> Batch:
        """Wait for the batch of step `done`."""
        start = time.monotonic()
        try:
            batch = next(batches)
        except DataError as error:
            raise self._data_failure(error, done - 1, first_step) from error
        meter.data_seconds += time.monotonic() - start
        if self.report and done - first_step <= BATCHES:
            path = self.files.path(f"train_batch_{done - first_step - 1}.jpg")
            if not path.exists():       # by the part of the run that this one continues
                self._draw(batch, path)
        return batch

    def _validate(self, done: int, stop: StopRequest) -> tuple[bool, bool]:
        """Validate the state after `done` steps on rank 0 if it is time for it, while the other ranks wait.

        Returns:
            (a signal to stop came meanwhile, patience is over), the same on all ranks.
        """
        verdict = None
        if self.report:
            epoch = self._epoch(done)
            if self.report.is_due(epoch, done == self.plan.total_steps):
                path = self._checkpoint(done)
                if path not in self.saved:
                    path = self.files.path(LAST)
                    self._write_state(path, done)
                self.report.validate(epoch, done, path, partial(self._check, stop))
            verdict = stop.is_requested, self.report.is_over
        self.ranks.meet()
        stopping, is_over = self.ranks.share(verdict) or (False, False)
        return stopping, is_over

    def _check(self, stop: StopRequest) -> bool:
        """Check during rank 0's validation whether a signal came, and keep the other ranks waiting."""
        if time.monotonic() - self.last_message > SECONDS_BETWEEN_MESSAGES:
            self.ranks.keep_waiting()
            self.last_message = time.monotonic()
        return stop.check()

    def _run(self, batch: Batch, bar: ProgressBar) -> tuple[float, list[float], bool]:
        """Make a step; this device's loss and its terms, and whether the gradients were finite.

        The first step compiles the graph: its time says nothing about the time that remains.
        """
        is_first, start = bar.n == 0, time.monotonic()
        if is_first:
            LOGGER.info("compiling the training step")
        results = self.step(*map(Tensor, batch[:-2]))
        loss, terms, finite = (float(results[0].asnumpy()), [float(term.asnumpy()) for term in results[1]],
                               bool(results[2].asnumpy()))
        if is_first:
            LOGGER.info("compiled, and the first step done, in %.1f s", time.monotonic() - start)
            bar.skip(1, "training")
        else:
            bar.update()
        return loss, terms, finite

    def _over_devices(self, loss: float, terms: Sequence[float],
                      counts: Sequence[int]) -> tuple[float, list[float], list[int]]:
        """Compute the means of loss and terms, and the sums of counts, over all devices."""
        mean, *means = self.ranks.mean([loss, *terms, *map(float, counts)])
        sums = [round(value * self.ranks.world_size) for value in means[len(terms):]]
        return mean, means[:len(terms)], sums

    def _not_finite(self, batch: Batch, loss: float, terms: Sequence[float], done: int,
                    meter: EpochMeter) -> TrainingError:
        where = f"at epoch {self._epoch(done)}, step {done - 1}"
        if math.isfinite(loss):
            message = f"the loss of another device is not finite {where}; the end of its log names the images"
        else:
            values = ", ".join(f"{name} {value:g}" for name, value in zip(self.terms, terms))
            names = ", ".join(self.describe(int(index)) for index in batch[-2])
            path = self.files.path(f"non_finite_{done - 1}.png")
            message = (f"the loss is not finite {where}: {values}. Images of the batch: {names}."
                       f"{self._draw(batch, path)} Lower --lr, clip gradients "
                       "(--clip_norm 10), or look for bad boxes: python -m src.tools.prepare_wider --validate")
            if self.ranks.world_size > 1:
                LOGGER.error("%s", message)
        if self.report:
            self.report.add_unfinished(self._epoch(done), meter.losses)
        self.ranks.mean([0.0])      # wait for the others: the launcher ends all processes with the first one
        return TrainingError(message)

    def _draw(self, batch: Batch, path: Path) -> str:
        """Draw a batch; return a sentence that says where, "" where it could not be drawn."""
        with optional(path.name):
            if self.picture:
                write_sheet(path, self.picture(batch), [self.describe(int(index)) for index in batch[-2]])
                return f" The batch is drawn in {path}."
        return ""

    def _data_failure(self, error: DataError, done: int, first_step: int) -> TrainingError:
        """Save what was learnt before the data failed; the error that names the checkpoint."""
        if done == first_step or self.plan.rank:
            return error
        self.save(done)
        return TrainingError(f"{error}; go on with --resume {self._checkpoint(done)}")

    def _log_iteration(self, done: int, meter: EpochMeter, loss: float, finite: bool) -> None:
        iteration = (done - 1) % self.plan.steps_per_epoch
        every = self.settings.log_every or (-(-self.plan.steps_per_epoch // 10) if sys.stdout.isatty() else 1)
        if iteration % every == 0 or not finite:
            LOGGER.info(self.settings.iteration_line.format(
                epoch=self._epoch(done), iteration=iteration, step=iteration + 1, average=meter.loss, loss=loss,
                overflow=not finite, loss_scale=self.settings.loss_scale))

    def _end_epoch(self, done: int, meter: EpochMeter, bar: ProgressBar) -> None:
        epoch = self._epoch(done)
        seconds = time.monotonic() - meter.start
        speed = meter.steps * self.plan.batch * self.plan.world_size / seconds
        rate = float(np.float32(self.rates[done - 1]))
        terms = dict(zip(self.terms, meter.means))
        LOGGER.info(log.EPOCH.format(epoch=epoch, average=meter.loss, images_per_second=speed, lr=rate))
        LOGGER.info(log.TERMS.format(epoch=epoch, skipped=meter.skipped,
                                     terms=", ".join(f"{name}:{value:.4f}" for name, value in terms.items())))
        if meter.bad_images:
            LOGGER.warning(log.BAD_IMAGES.format(epoch=epoch, bad_images=meter.bad_images))
        if meter.skipped > MANY_SKIPPED * meter.steps:
            LOGGER.warning("epoch[%d], %d of %d steps were skipped, their gradients were not finite: lower --lr or "
                           "--loss_scale", epoch, meter.skipped, meter.steps)
        bar.write_line(ENOUGH_FOR_A_LINE)
        LOGGER.info(log.END_EPOCH)
        if self.report:
            self.report.end_epoch({
                "epoch": epoch, "step": done, "loss": meter.loss, **terms, "skipped": meter.skipped,
                "bad_images": meter.bad_images, "data_seconds": meter.data_seconds, "lr": rate,
                "images_per_second": speed, "seconds": seconds, "losses": meter.part_means, "time": time.time()})

    def _checkpoints_until(self, step: int) -> list[Path]:
        """List this run's own checkpoints up to `step`, the oldest first.

        None of them if there are more than `keep`: an earlier part of the run had a larger limit, and they stay.
        """
        present = set(self.files.run_dir.glob("*.ckpt"))
        own = [path for path in map(self._checkpoint, range(1, step + 1)) if path in present]
        return own if len(own) <= self.settings.keep else []

    @property
    def _is_validated(self) -> bool:
        return bool(self.report and self.report.validator)

    @property
    def _checkpoint_interval(self) -> int:
        return self.settings.checkpoint_every or self.plan.steps_per_epoch

    def _epoch(self, done: int) -> int:
        """Return the epoch, counted from 1, of step number `done`, counted from 1."""
        return -(-done // self.plan.steps_per_epoch)

    def _checkpoint(self, done: int) -> Path:
        return self.files.checkpoint(self._epoch(done), done)

