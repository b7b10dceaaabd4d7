# SPDX-License-Identifier: Apache-2.0
"""The one epoch loop: log lines of the manuals, checkpoints, resume, and clean ends.

    Trainer(step, network, plan, rates, metadata, terms=("hm", "wh"), settings=settings, files=files).fit(loader)

Writes into its folder checkpoints and `metrics.jsonl` (one line an epoch), named by a `RunFiles`. Knows no model: the
batch's last two columns hold image indices and bad images, everything before them goes to the train step.
"""
from __future__ import annotations

import json
import math
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import numpy as np
from typing_extensions import Self

from dependency.errors import TrainingError
from dependency.files import append_line, atomic_write
from src.common import log
from src.common.log import LOGGER
from src.data.data_workers import DeadWorkerError
from src.data.loader import batches
from src.data.sampler import SamplePlan
from src.data.training_set import BadImages
from src.training import run_file
from src.training.distributed import Ranks
from src.training.progress import Progress
from src.training.resume import save_state
from src.training.settings import RunFiles, RunSettings
from src.training.train_step import TrainStep

METRICS = "metrics.jsonl"


@dataclass
class EpochMeter:
    """Running means over one epoch; waited: seconds of it in which there was no batch yet."""
    terms: int
    steps: int = 0
    skipped: int = 0
    bad_images: int = 0
    waited: float = 0.0
    loss: float = 0.0
    sums: list[float] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def add(self, loss: float, terms: Sequence[float], finite: bool) -> None:
        self.steps += 1
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
    metadata: embedded in every checkpoint; terms: names of the loss terms; settings: folder, intervals, log line;
    files: of the files. describe: image index -> its name; picture: (batch, path) -> writes the batch as a picture.
    ranks: the processes that train together; losses are means over them, and they stop together.
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
    picture: Callable[[tuple, Path], None] | None = None
    ranks: Ranks = Ranks()
    saved: list[Path] = field(default_factory=list)

    def fit(self, loader: Any, first_step: int = 0) -> None:
        """Train from step `first_step` to the end of the plan.

        SIGTERM and SIGINT end it after the running step with a checkpoint from which --resume continues; from then on
        the process, which is ending, ignores SIGTERM.

        Raises:
            TrainingError: the loss is not finite, or a data worker failed.
        """
        stop = _StopSignal()
        self.step.set_train(True)
        total = self.plan.max_epoch * self.plan.steps_per_epoch
        meter, done = self._meter(), first_step
        bad_images = BadImages(self.describe)
        self._forget_after(first_step)
        self.saved = self._saved_until(first_step)
        with stop, Progress(total - first_step, "steps", "training", bar=self.settings.log_every > 1) as progress:
            for batch, waited in _timed(self._saved_at_failure(_guarded(batches(loader)), first_step)):
                counts = stop.number > 0, bad_images.record(batch[-1].asnumpy())
                loss, terms, finite, (stopped, bad) = self._run(batch, done, counts)
                meter.add(loss, terms, finite)
                meter.bad_images += bad
                meter.waited += waited
                self._log_iteration(done, meter, loss, finite)
                done += 1
                progress.advance()
                epoch_ends = done % self.plan.steps_per_epoch == 0
                if epoch_ends:
                    self._end_epoch(done, meter)
                    meter = self._meter()
                if self._is_due(done, total) or stopped:
                    self.save(done)
                if stopped:
                    stop.is_heeded = True
                if stopped and done < total:
                    LOGGER.warning("stopped by %s after step %d of %d; go on with %s %s",
                                   signal.Signals(stop.number).name if stop.number else "another device", done, total,
                                   self.settings.names.resume, self._path(done))
                    return
        LOGGER.info(log.END_TRAINING)

    def _saved_at_failure(self, source: Any, first_step: int) -> Any:
        """The same batches; when the data fail, what was learnt until then is saved."""
        done = first_step
        try:
            for batch in source:
                yield batch
                done += 1
        except _DataError as error:
            if done == first_step or self.plan.rank:
                raise
            path = self._path(done)
            if path not in self.saved:
                self.save(done)
            raise TrainingError(f"{error}; go on with {self.settings.names.resume} {path}") from error

    def save(self, done: int) -> Path:
        """Write the checkpoint of the state after `done` steps (rank 0 only)."""
        path = self._path(done)
        if self.plan.rank == 0:
            save_state(path, self.step, self.network, self.metadata,
                       {"epoch": self._epoch(done), "step": done, "steps_per_epoch": self.plan.steps_per_epoch,
                        "batch": self.plan.batch, "group": self.plan.world_size, "seed": self.plan.seed,
                        "images": self.plan.count})
            run_file.note(path)
            self._drop_old(path)
        return path

    def _forget_after(self, step: int) -> None:
        """Leave out of the metrics what an interrupted run wrote after the checkpoint that this one goes on from."""
        path = self.settings.run_dir / f"{self.files.prefix}{METRICS}"
        if self.plan.rank or not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        with atomic_write(path) as file:
            file.writelines(line for line in lines if _step_of(line) <= step)

    def _saved_until(self, step: int) -> list[Path]:
        """This run's own checkpoints, where it goes on after `step`, the oldest first.

        None of them if there are more than it would have left: somebody wanted those to stay.
        """
        present = set(self.settings.run_dir.glob("*.ckpt"))
        found = [path for path in map(self._path, range(1, step + 1)) if path in present]
        return found if len(found) <= self.settings.keep else []

    def _drop_old(self, newest: Path) -> None:
        """Of the checkpoints that this run wrote, leave the newest `keep`."""
        self.saved.append(newest)
        while 0 < self.settings.keep < len(self.saved):
            self.saved.pop(0).unlink(missing_ok=True)

    def _run(self, batch: tuple, done: int, counts: Sequence[int]) -> tuple[float, list[float], bool, list[int]]:
        """Loss and terms, means over the devices; whether the step was made; the counts, summed over the devices."""
        loss, terms, finite = self.step(*batch[:-2])
        loss, terms = float(loss.asnumpy()), [float(term.asnumpy()) for term in terms]
        mean, *means = self.ranks.mean([loss, *terms, *map(float, counts)])
        sums = [round(value * self.ranks.world_size) for value in means[len(terms):]]
        if not math.isfinite(mean):
            report = (f"the loss of another device is not finite at epoch {self._epoch(done + 1)}, step {done}; the "
                      "end of its log names the images")
            if not math.isfinite(loss):
                report = self._report_non_finite(batch, terms, done)
                if self.ranks.world_size > 1:
                    LOGGER.error("%s", report)
            self.ranks.mean([0.0])      # nobody ends before the batch is drawn and named
            raise TrainingError(report)
        return mean, means[:len(terms)], bool(finite.asnumpy()), sums

    def _report_non_finite(self, batch: tuple, terms: Sequence[float], done: int) -> str:
        shown = ", ".join(f"{name} {value:g}" for name, value in zip(self.terms, terms))
        names = [self.describe(int(index)) for index in batch[-2].asnumpy()]
        where = ""
        if self.picture is not None:
            path = self.settings.run_dir / f"{self.files.prefix}non_finite_{done}.png"
            try:
                self.picture(tuple(column.asnumpy() for column in batch), path)
                where = f" The batch is drawn in {path}."
            except Exception as error:      # a full disk, say: what is known is told all the same
                where = f" The batch could not be drawn in {path} ({error})."
        return (f"the loss is not finite at epoch {self._epoch(done + 1)}, step {done}: {shown}. Images of the batch: "
                f"{', '.join(names)}.{where} Lower {self.settings.names.rate}, clip gradients "
                "(--clip_norm 10), or look for bad boxes: "
                "python -m src.tools.prepare_wider --validate")

    def _log_iteration(self, done: int, meter: EpochMeter, loss: float, finite: bool) -> None:
        iteration = done % self.plan.steps_per_epoch
        if iteration % self.settings.log_every == 0 or not finite:
            LOGGER.info(self.settings.iteration_line.format(
                epoch=self._epoch(done + 1), iteration=iteration, step=iteration + 1, average=meter.loss, loss=loss,
                overflow=not finite, loss_scale=self.settings.loss_scale))

    def _end_epoch(self, done: int, meter: EpochMeter) -> None:
        seconds = time.monotonic() - meter.start
        speed = meter.steps * self.plan.batch * self.plan.world_size / seconds
        rate = float(np.float32(self.rates[done - 1]))
        LOGGER.info(log.EPOCH.format(epoch=self._epoch(done), average=meter.loss, images_per_second=speed, lr=rate))
        LOGGER.info(log.TERMS.format(epoch=self._epoch(done), skipped=meter.skipped, terms=", ".join(
            f"{name}:{value:.4f}" for name, value in zip(self.terms, meter.means))))
        if meter.bad_images:
            LOGGER.warning(log.BAD_IMAGES.format(epoch=self._epoch(done), bad_images=meter.bad_images))
        LOGGER.info(log.END_EPOCH)
        if self.plan.rank == 0:
            line = {"epoch": self._epoch(done), "step": done, "loss": meter.loss,
                    **dict(zip(self.terms, meter.means)), "skipped": meter.skipped,
                    "bad_images": meter.bad_images, "data_seconds": meter.waited, "lr": rate,
                    "images_per_second": speed, "seconds": seconds, "time": time.time()}
            append_line(self.settings.run_dir / f"{self.files.prefix}{METRICS}", json.dumps(line))

    def _meter(self) -> EpochMeter:
        return EpochMeter(len(self.terms))

    def _epoch(self, done: int) -> int:
        """The epoch, counted from 1, that the step before `done` belongs to."""
        return -(-done // self.plan.steps_per_epoch)

    def _is_due(self, done: int, total: int) -> bool:
        return done == total or done % (self.settings.checkpoint_every or self.plan.steps_per_epoch) == 0

    def _path(self, done: int) -> Path:
        return self.settings.run_dir / self.files.checkpoint(self._epoch(done), done)


def _timed(source: Iterable) -> Iterator[tuple[Any, float]]:
    """Each item, and the seconds that it took to come."""
    start = time.monotonic()
    for item in source:
        yield item, time.monotonic() - start
        start = time.monotonic()


class _StopSignal:
    """Catches SIGTERM and SIGINT while training; `number` is the signal that came, else 0.

    Once it is heeded, here or on another device, no later SIGTERM kills the process, which is ending.
    """

    def __init__(self):
        self.number = 0
        self.is_heeded = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_IGN if self.is_heeded and number == signal.SIGTERM else handler)

    def _note(self, number: int, _: Any) -> None:
        # Batch systems may send SIGTERM more than once; a person who insists presses Ctrl+C again.
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number or number


class _DataError(TrainingError):
    """No more data comes; network and optimiser are as the last step left them."""


def _step_of(line: str) -> float:
    """The step of a line of the metrics; behind every other for a line that a crash cut off."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return math.inf


def _guarded(iterator: Any) -> Any:
    """The same batches; a failure in a data worker becomes a _DataError with its own last message."""
    try:
        yield from iterator
    except DeadWorkerError as error:
        raise _DataError(str(error)) from error
    except RuntimeError as error:
        cause = re.findall(r"^(?:\w+\.)*(?:InputError|\w*Error|\w*Exception): (.+)$", str(error), re.MULTILINE)
        if not cause:
            raise
        raise _DataError(f"reading the training data failed: {cause[-1].strip()}") from error
