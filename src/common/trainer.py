# SPDX-License-Identifier: Apache-2.0
"""The one epoch loop: log lines of the manuals, checkpoints, resume, and clean ends.

    Trainer(step, network, plan, rates, card, terms=("hm", "wh"), settings=settings, naming=naming).fit(loader)

Writes into its folder checkpoints and `metrics.jsonl` (one line an epoch), named by a `Naming`. Knows no model: the
batch's last column holds image indices, everything before it goes to the train step.
"""
import json
import math
import re
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import numpy as np

from dependency.errors import TrainingError
from dependency.files import atomic_write
from src.common import log
from src.common.loader import SamplePlan, batches
from src.common.log import LOGGER
from src.common.progress import Progress
from src.common.run_settings import Naming, RunSettings
from src.common.train_step import TrainStep
from src.common.training_state import save_state

METRICS = "metrics.jsonl"


@dataclass
class EpochMeter:
    """Running means over one epoch."""
    terms: int
    steps: int = 0
    skipped: int = 0
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
    card: embedded in every checkpoint; terms: names of the loss terms; settings: folder, intervals, log line;
    naming: of the files. describe: image index -> its name; picture: (batch, path) -> writes the batch as a picture.
    """
    step: TrainStep
    network: Any
    plan: SamplePlan
    rates: Sequence[float]
    card: dict[str, Any]
    terms: Sequence[str]
    settings: RunSettings
    naming: Naming
    describe: Callable[[int], str] = str
    picture: Optional[Callable[[tuple, Path], None]] = None
    saved: list[Path] = field(default_factory=list)

    def fit(self, loader: Any, first_step: int = 0) -> None:
        """Train from step `first_step` to the end of the plan.

        SIGTERM and SIGINT end it after the running step with a checkpoint from which --resume continues.

        Raises:
            TrainingError: the loss is not finite, or a data worker failed.
        """
        stop = _StopSignal()
        self.step.set_train(True)
        total = self.plan.max_epoch * self.plan.steps_per_epoch
        meter, done = self._meter(), first_step
        self._forget_after(first_step)
        with stop, Progress(total - first_step, "steps", "training", bar=self.settings.log_every > 1) as progress:
            for batch in _guarded(batches(loader)):
                loss, terms, finite = self._run(batch, done)
                meter.add(loss, terms, finite)
                self._log_iteration(done, meter, loss, finite)
                done += 1
                progress.advance()
                epoch_ends = done % self.plan.steps_per_epoch == 0
                if epoch_ends:
                    self._end_epoch(done, meter)
                    meter = self._meter()
                if self._is_due(done, total) or stop.number:
                    self.save(done)
                if stop.number:
                    LOGGER.warning("stopped by %s after step %d of %d; go on with %s %s",
                                   signal.Signals(stop.number).name, done, total, self.settings.names.resume,
                                   self._path(done))
                    return
        LOGGER.info(log.END_TRAINING)

    def save(self, done: int) -> Path:
        """Write the checkpoint of the state after `done` steps (rank 0 only)."""
        path = self._path(done)
        if self.plan.rank == 0:
            save_state(path, self.step, self.network, self.card,
                       {"epoch": self._epoch(done), "step": done, "steps_per_epoch": self.plan.steps_per_epoch,
                        "batch": self.plan.batch, "group": self.plan.group, "seed": self.plan.seed,
                        "images": self.plan.count})
            self._drop_old(path)
        return path

    def _forget_after(self, step: int) -> None:
        """Leave out of the metrics what an interrupted run wrote after the checkpoint that this one goes on from."""
        path = self.settings.folder / f"{self.naming.beside}{METRICS}"
        if not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        with atomic_write(path) as file:
            file.writelines(line for line in lines if json.loads(line)["step"] <= step)

    def _drop_old(self, newest: Path) -> None:
        """Of the checkpoints that this run wrote, leave the newest `keep`."""
        self.saved.append(newest)
        while 0 < self.settings.keep < len(self.saved):
            self.saved.pop(0).unlink(missing_ok=True)

    def _run(self, batch: tuple, done: int) -> tuple[float, list[float], bool]:
        loss, terms, finite = self.step(*batch[:-1])
        loss, terms = float(loss.asnumpy()), [float(term.asnumpy()) for term in terms]
        if not math.isfinite(loss):
            raise TrainingError(self._report_non_finite(batch, terms, done))
        return loss, terms, bool(finite.asnumpy())

    def _report_non_finite(self, batch: tuple, terms: Sequence[float], done: int) -> str:
        shown = ", ".join(f"{name} {value:g}" for name, value in zip(self.terms, terms))
        names = [self.describe(int(index)) for index in batch[-1].asnumpy()]
        where = ""
        if self.picture is not None:
            path = self.settings.folder / f"{self.naming.beside}non_finite_{done}.png"
            self.picture(tuple(column.asnumpy() for column in batch), path)
            where = f" The batch is drawn in {path}."
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
        speed = meter.steps * self.plan.batch * self.plan.group / seconds
        rate = float(np.float32(self.rates[done - 1]))
        LOGGER.info(log.EPOCH.format(epoch=self._epoch(done), average=meter.loss, images_per_second=speed, lr=rate))
        LOGGER.info(log.TERMS.format(epoch=self._epoch(done), skipped=meter.skipped, terms=", ".join(
            f"{name}:{value:.4f}" for name, value in zip(self.terms, meter.means))))
        LOGGER.info(log.END_EPOCH)
        if self.plan.rank == 0:
            line = {"epoch": self._epoch(done), "step": done, "loss": meter.loss,
                    **dict(zip(self.terms, meter.means)), "skipped": meter.skipped, "lr": rate,
                    "images_per_second": speed, "seconds": seconds, "time": time.time()}
            with (self.settings.folder / f"{self.naming.beside}{METRICS}").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _meter(self) -> EpochMeter:
        return EpochMeter(len(self.terms))

    def _epoch(self, done: int) -> int:
        """The epoch, counted from 1, that the step before `done` belongs to."""
        return -(-done // self.plan.steps_per_epoch)

    def _is_due(self, done: int, total: int) -> bool:
        return done == total or done % (self.settings.checkpoint_every or self.plan.steps_per_epoch) == 0

    def _path(self, done: int) -> Path:
        return self.settings.folder / self.naming.checkpoint(self._epoch(done), done)


class _StopSignal:
    """Catches SIGTERM and SIGINT while training; `number` is the signal that came, else 0."""

    def __init__(self):
        self.number = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "_StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: Any) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number


def _guarded(iterator: Any) -> Any:
    """The same batches; a failure in a data worker becomes its own last message."""
    try:
        yield from iterator
    except RuntimeError as error:
        cause = re.findall(r"^(?:\w+\.)*(?:InputError|\w*Error|\w*Exception): (.+)$", str(error), re.MULTILINE)
        if not cause:
            raise
        raise TrainingError(f"reading the training data failed: {cause[-1].strip()}") from error
