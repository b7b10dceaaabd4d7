# SPDX-License-Identifier: Apache-2.0
"""What a run shows of itself while it trains: metrics, pictures, AP, and at its end what to type next.

    report = RunReport(files, first_step=0, steps_per_epoch=198, terms=("hm", "wh"))
    report.end_epoch(line)
    if report.is_due(epoch, is_last): report.validate(epoch, step, checkpoint, should_stop)
    report.finish(newest_checkpoint)

Only rank 0 has one. Nothing here changes the training: what cannot be drawn or validated is a warning.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from dependency.errors import InputError
from dependency.files import link_file
from src.common.log import LOGGER
from src.run_folder import pictures, plot
from src.run_folder.commands import commands
from src.run_folder.files import BEST, METRICS, RESULTS, RunFiles
from src.run_folder.history import History
from src.run_folder.tensorboard import NullWriter, TensorBoardWriter
from src.run_folder.validation import IOU, Validator, format_ap

# Without --eval_every: seconds of training before the first validation, and seconds of training for each one of
# validation.
FIRST_AFTER = 60.0
RATIO = 4.0


@dataclass
class RunReport:
    """The report of a run.

    first_step: the run continues after it.
    validator: None: there is no val set. every: epochs between validations; None: by the time they take.
    patience: see `is_over`. tensorboard: write TensorBoard's files. photo: a training image, for the last commands.
    """
    files: RunFiles
    first_step: int
    steps_per_epoch: int
    terms: Sequence[str]
    validator: Validator | None = None
    every: int | None = None
    patience: int = 0
    tensorboard: bool = False
    photo: Path | None = None
    cost: float = 0.0
    trained_since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.every is None and self.patience:
            self.every = 1      # by the number of epochs, not by time: a resumed run ends where a straight one does
        self.history = History.read(self.files.path(METRICS), self.first_step)
        self.writer = TensorBoardWriter(self.files.path("tensorboard"),
                                        self.first_step) if self.tensorboard else NullWriter()
        self.has_plot = plot.has_matplotlib()
        if not self.has_plot:
            LOGGER.info("%s is not drawn: matplotlib is not installed (pip install matplotlib)", RESULTS)
        best = self.history.best
        if best:        # the run may continue from before the one that the file holds
            former = self.files.checkpoint(best["epoch"], best["step"])
            if former.is_file():
                link_file(former, self.files.path(BEST))

    def end_epoch(self, line: dict[str, Any]) -> None:
        """Add the line of an epoch to the metrics, draw results.png, write TensorBoard's values."""
        self.history.add(line)
        parts = line["losses"]
        for number, value in enumerate(parts, start=1):
            self.writer.add({"loss": value},
                            line["step"] - self.steps_per_epoch + round(number / len(parts) * self.steps_per_epoch))
        self.writer.add({name: line[name] for name in (*self.terms, "lr", "images_per_second")}, line["step"])
        self._plot()

    def add_unfinished(self, epoch: int, losses: Sequence[float]) -> None:
        """Draw results.png with the losses of an epoch that ends before its last step."""
        with pictures.optional(RESULTS):
            if self.has_plot and losses:
                plot.plot(self.history, self.terms, self.files.path(RESULTS),
                          (epoch - 1, losses, self.steps_per_epoch))

    def is_due(self, epoch: int, is_last: bool) -> bool:
        """Check whether the end of an epoch is the time for a validation, which has not been made yet."""
        if self.validator is None or any(line["epoch"] == epoch for line in self.history.validations):
            return False
        if is_last or self.every or epoch == 0:
            return is_last or epoch % (self.every or 1) == 0
        return time.monotonic() - self.trained_since >= (RATIO * self.cost or FIRST_AFTER)

    def validate(self, epoch: int, step: int, checkpoint: Path, should_stop: Callable[[], bool]) -> None:
        """Validate a checkpoint: AP into metrics, log and pictures; the best one so far becomes best.ckpt.

        Args:
            epoch, step: of the checkpoint.
            should_stop: asked after each image; then there is no AP.
        """
        assert self.validator is not None
        start = time.monotonic()
        try:
            result = self.validator.run(checkpoint, should_stop)
        except (InputError, OSError, RuntimeError) as error:
            LOGGER.warning("epoch[%d], no val AP: %s", epoch, error)
            return
        finally:
            self.trained_since, self.cost = time.monotonic(), time.monotonic() - start
        if result is None:
            LOGGER.info("epoch[%d], the validation was ended", epoch)
            return
        line = {"epoch": epoch, "step": step, **result.line()}
        self.history.add(line)
        is_best = self.history.best is line
        if is_best:
            link_file(checkpoint, self.files.path(BEST))
        praise = "; the best so far" if is_best and result.ap["mean"] else ""
        LOGGER.info("epoch[%d], %s%s", epoch, result.describe(), praise)
        self.writer.add({f"AP {name}": value for name, value in result.ap.items() if value is not None}, step)
        with pictures.optional("val_batch_*.jpg"):
            pictures.write_validation(self.files, self.validator.set, result)
        self._plot()

    @property
    def is_over(self) -> bool:
        """Whether `patience` validations have passed without a better AP."""
        return 0 < self.patience <= self.history.since_best

    def finish(self, newest: Path | None) -> None:
        """Log the best AP, its file, and the commands that test, export and use it."""
        self.writer.close()
        best = self.history.best
        checkpoint = self.files.path(BEST) if best else newest
        if checkpoint is None or not checkpoint.is_file():
            return
        said = (f"best val AP {format_ap(best['ap'])} at IoU {IOU:g}, epoch {best['epoch']}: {checkpoint}" if best
                else f"newest checkpoint: {checkpoint}")
        if best and best["epoch"] == 0:
            look = self.files.path("val_batch_0.jpg")
            said += (" (the weights that training started from: it has improved nothing; try a lower --lr)"
                     if (best["ap"]["mean"] or 0) > 0.01 else
                     f" (hardly an annotated face is found: look at {look} whether the boxes are on the faces)")
        validator = self.validator
        lines = commands(checkpoint, validator.test_options() if validator else [],
                         validator.set.image_dir / validator.set.images[0] if validator else self.photo)
        LOGGER.info("%s; what to type next:\n%s", said, "\n".join(lines))

    def _plot(self) -> None:
        with pictures.optional(RESULTS):
            if self.has_plot:
                plot.plot(self.history, self.terms, self.files.path(RESULTS))
