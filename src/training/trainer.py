# SPDX-License-Identifier: Apache-2.0
"""The epoch loop of both models: log lines of the manuals, checkpoints, resume, and an orderly end in every case.

    Trainer(step, network, plan, rates, metadata, terms=("hm", "wh"), settings=settings, files=files).fit(batches)

Writes checkpoints and `metrics.jsonl` (one line an epoch) into the run's folder. Knows no model: a batch's last two
columns hold image indices and bad images, everything before them goes to the train step.
"""
from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
from mindspore import Tensor

from dependency.errors import TrainingError
from dependency.files import append_line, atomic_write
from src.common import log
from src.common.log import LOGGER
from src.common.progress import progress_bar
from src.data.loader import Batch, DataError
from src.data.sampler import SamplePlan
from src.data.training_set import BadImages
from src.training import restart_file
from src.training.distributed import ALONE, Ranks
from src.training.resume import save_state
from src.training.settings import RunFiles, RunSettings
from src.training.stop_signal import catch_stop_signals
from src.training.train_step import TrainStep

METRICS = "metrics.jsonl"


@dataclass
class EpochMeter:
    """Running means over one epoch; data_seconds: time spent waiting for batches."""
    terms: int
    steps: int = 0
    skipped: int = 0
    bad_images: int = 0
    data_seconds: float = 0.0
    loss: float = 0.0
    sums: list[float] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def add(self, loss: float, terms: Sequence[float], finite: bool, bad_images: int) -> None:
        self.steps += 1
        self.bad_images += bad_images
        self.skipped += not finite
        self.loss += (loss - self.loss) / self.steps
        self.sums = [total + term for total, term in zip(self.sums or [0.0] * self.terms, terms)]

    @property
    def means(self) -> list[float]:
        return [total / max(1, self.steps) for total in self.sums]


@dataclass
class Trainer:
    """Everything that the loop needs.

    step: the train step; network: whose weights are saved; plan: which image when; rates: learning rate per step.
    metadata: embedded in every checkpoint; terms: names of the loss terms; settings: intervals, log line; files: where
    to write. describe: image index -> its name; picture: (batch, path) -> writes the batch as a picture.
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
    picture: Callable[[Batch, Path], None] | None = None
    ranks: Ranks = ALONE
    fingerprint: str = ""
    saved: list[Path] = field(default_factory=list)

    def fit(self, batches: Generator[Batch, None, None], first_step: int = 0) -> None:
        """Train from step `first_step` to the end of the plan.

        SIGTERM, SIGINT and SIGHUP end it after the running step with a checkpoint from which --resume continues; from
        then on the ending process ignores SIGTERM.

        Raises:
            TrainingError: the loss is not finite, or no more data come.
        """
        self.step.set_train(True)
        self._discard_metrics_after(first_step)
        self.saved = self._checkpoints_until(first_step)
        bad_images = BadImages(self.describe)
        meter = EpochMeter(len(self.terms))
        total = self.plan.total_steps
        # In a file the log lines of the steps say enough.
        shown = self.settings.log_every > 1 and sys.stderr.isatty()
        bar = progress_bar(total - first_step, "steps", "training", shown)
        with catch_stop_signals() as stop, bar, closing(batches):
            # From this line on a stop saves a checkpoint.
            LOGGER.info("args.steps_per_epoch = %d args.ckpt_interval = %d, first step %d of %d, outputs in %s",
                        self.plan.steps_per_epoch, self.settings.checkpoint_every, first_step, len(self.rates),
                        self.files.run_dir)
            for done in range(first_step + 1, total + 1):
                stop.listen()
                start = time.monotonic()
                try:
                    batch = next(batches)
                except DataError as error:
                    raise self._data_failure(error, done - 1, first_step) from error
                meter.data_seconds += time.monotonic() - start
                loss, terms, finite = self._run(batch)
                # Asked for after the step, so that a signal during it ends the run with it.
                counts = (stop.is_requested, bad_images.record(batch[-1]))
                mean, means, (stopping, bad) = self._over_devices(loss, terms, counts)
                if not math.isfinite(mean):
                    raise self._not_finite(batch, loss, terms, done)
                meter.add(mean, means, finite, bad)
                self._log_iteration(done, meter, mean, finite)
                bar.update()
                if done % self.plan.steps_per_epoch == 0:
                    self._end_epoch(done, meter)
                    meter = EpochMeter(len(self.terms))
                if stopping or done == total or done % self._checkpoint_interval == 0:
                    self.save(done)
                if stopping:
                    stop.is_granted = True
                if stopping and done < total:
                    LOGGER.warning("stopped by %s after step %d of %d; go on with %s %s", stop.by, done, total,
                                   self.settings.names.resume, self._checkpoint(done))
                    return
        LOGGER.info(log.END_TRAINING)

    def save(self, done: int) -> None:
        """Write the checkpoint of the state after `done` steps (rank 0 only) and remove the oldest above `keep`."""
        if self.plan.rank != 0:
            return
        path = self._checkpoint(done)
        # "group" is the name of the number of devices in the files.
        save_state(path, self.step, self.network, self.metadata,
                   {"epoch": self._epoch(done), "step": done, "steps_per_epoch": self.plan.steps_per_epoch,
                    "batch": self.plan.batch, "group": self.plan.world_size, "seed": self.plan.seed,
                    "images": self.plan.count, "fingerprint": self.fingerprint})
        restart_file.record(path)
        self.saved.append(path)
        while 0 < self.settings.keep < len(self.saved):
            self.saved.pop(0).unlink(missing_ok=True)

    def _run(self, batch: Batch) -> tuple[float, list[float], bool]:
        """Make a step; this device's loss and its terms, and whether the gradients were finite."""
        loss, terms, finite = self.step(*map(Tensor, batch[:-2]))
        return float(loss.asnumpy()), [float(term.asnumpy()) for term in terms], bool(finite.asnumpy())

    def _over_devices(self, loss: float, terms: Sequence[float],
                      counts: Sequence[int]) -> tuple[float, list[float], list[int]]:
        """Compute the means of loss and terms, and the sums of counts, over all devices."""
        mean, *means = self.ranks.mean([loss, *terms, *map(float, counts)])
        sums = [round(value * self.ranks.world_size) for value in means[len(terms):]]
        return mean, means[:len(terms)], sums

    def _not_finite(self, batch: Batch, loss: float, terms: Sequence[float], done: int) -> TrainingError:
        where = f"at epoch {self._epoch(done)}, step {done - 1}"
        if math.isfinite(loss):
            report = f"the loss of another device is not finite {where}; the end of its log names the images"
        else:
            values = ", ".join(f"{name} {value:g}" for name, value in zip(self.terms, terms))
            names = ", ".join(self.describe(int(index)) for index in batch[-2])
            report = (f"the loss is not finite {where}: {values}. Images of the batch: {names}."
                      f"{self._draw(batch, done)} Lower {self.settings.names.rate}, clip gradients "
                      "(--clip_norm 10), or look for bad boxes: python -m src.tools.prepare_wider --validate")
            if self.ranks.world_size > 1:
                LOGGER.error("%s", report)
        self.ranks.mean([0.0])      # wait for the others: the launcher ends all processes with the first one
        return TrainingError(report)

    def _draw(self, batch: Batch, done: int) -> str:
        """Draw the batch of a loss that is not finite; a sentence that says where."""
        if self.picture is None:
            return ""
        path = self.files.path(f"non_finite_{done - 1}.png")
        try:
            self.picture(batch, path)
        except (OSError, ValueError, ArithmeticError, cv2.error) as error:
            return f" The batch could not be drawn in {path} ({error})."
        return f" The batch is drawn in {path}."

    def _data_failure(self, error: DataError, done: int, first_step: int) -> TrainingError:
        """Save what was learnt before the data failed; the error that names the checkpoint."""
        if done == first_step or self.plan.rank:
            return error
        path = self._checkpoint(done)
        if path not in self.saved:
            self.save(done)
        return TrainingError(f"{error}; go on with {self.settings.names.resume} {path}")

    def _log_iteration(self, done: int, meter: EpochMeter, loss: float, finite: bool) -> None:
        iteration = (done - 1) % self.plan.steps_per_epoch
        if iteration % self.settings.log_every == 0 or not finite:
            LOGGER.info(self.settings.iteration_line.format(
                epoch=self._epoch(done), iteration=iteration, step=iteration + 1, average=meter.loss, loss=loss,
                overflow=not finite, loss_scale=self.settings.loss_scale))

    def _end_epoch(self, done: int, meter: EpochMeter) -> None:
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
        LOGGER.info(log.END_EPOCH)
        if self.plan.rank == 0:
            line = {"epoch": epoch, "step": done, "loss": meter.loss, **terms, "skipped": meter.skipped,
                    "bad_images": meter.bad_images, "data_seconds": meter.data_seconds, "lr": rate,
                    "images_per_second": speed, "seconds": seconds, "time": time.time()}
            append_line(self.files.path(METRICS), json.dumps(line))

    def _discard_metrics_after(self, step: int) -> None:
        """Drop the metrics that an interrupted run wrote after the checkpoint that this one resumes."""
        path = self.files.path(METRICS)
        if self.plan.rank or not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        with atomic_write(path) as file:
            file.writelines(line for line in lines if _step_of(line) <= step)

    def _checkpoints_until(self, step: int) -> list[Path]:
        """List this run's own checkpoints up to `step`, the oldest first.

        None of them if there are more than `keep`: an earlier part of the run had a larger limit, and they stay.
        """
        present = set(self.files.run_dir.glob("*.ckpt"))
        own = [path for path in map(self._checkpoint, range(1, step + 1)) if path in present]
        return own if len(own) <= self.settings.keep else []

    @property
    def _checkpoint_interval(self) -> int:
        return self.settings.checkpoint_every or self.plan.steps_per_epoch

    def _epoch(self, done: int) -> int:
        """Return the epoch, counted from 1, of step number `done`, counted from 1."""
        return -(-done // self.plan.steps_per_epoch)

    def _checkpoint(self, done: int) -> Path:
        return self.files.checkpoint(self._epoch(done), done)


def _step_of(line: str) -> float:
    """Read the step from a line of the metrics; return infinity for a line that a crash cut off."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return math.inf
