# SPDX-License-Identifier: Apache-2.0
"""The project's logger, and the log line formats that the manuals promise.

`setup()` once in a program's main; everywhere else `from src.common.log import LOGGER`.
"""
from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Callable

LOGGER = logging.getLogger("facedet")
FORMATTER = logging.Formatter("%(asctime)s:%(levelname)s:%(message)s")

# CenterFace manual, "Training": the lines of device0/train.log.
ITERATION = ("epoch:{epoch}, iter:{iteration}, average_loss:loss:{average:.6f}, loss:{loss}, "
             "overflow:{overflow}, loss_scale:{loss_scale}")
# MindSpore's LossMonitor, which the RetinaFace manual's users grep for.
LOSS_MONITOR = "epoch: {epoch} step: {step}, loss is {loss}"
EPOCH = "epoch[{epoch}], loss:{average:.6f}, {images_per_second:.2f} imgs/sec, lr:{lr}"
TERMS = "epoch[{epoch}], {terms}, skipped steps:{skipped}"
BAD_IMAGES = "epoch[{epoch}], skipped images:{bad_images}"
END_EPOCH = "==========end epoch==============="
END_TRAINING = "==========end training==============="
START_TEST = "==========start eval==============="
END_TEST = "==========end testing==============="


class _WarnsOnce:
    """A handler that cannot write (a full disk, a closed pipe) warns once; the program continues without its lines."""
    failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        del record
        error = sys.exc_info()[1]
        if self.failed:
            return
        self.failed = True
        where = getattr(self, "baseFilename", "the console")
        with suppress(OSError):
            print(f"warning: cannot write the log to {where}: {error}; its further lines are lost", file=sys.stderr)


class Console(_WarnsOnce, logging.StreamHandler):
    """Standard output; `make_room` takes progress bars off the terminal while a line is written."""
    make_room: Callable[[], AbstractContextManager] = nullcontext

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        with type(self).make_room():
            super().emit(record)


class LogFile(_WarnsOnce, logging.FileHandler):
    """A file of log lines."""


def setup(rank: int = 0, keep: bool = False) -> logging.Logger:
    """Send log lines to the console (rank 0 only).

    Args:
        keep: hold all lines in memory until `write_to` names a file for them.
    """
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    if rank == 0:
        console = Console(sys.stdout)
        console.setFormatter(FORMATTER)
        LOGGER.addHandler(console)
    if keep:
        LOGGER.addHandler(MemoryHandler(sys.maxsize, flushLevel=sys.maxsize))
    return LOGGER


def write_to(path: Path) -> None:
    """From now on write log lines to this file too, those kept since `setup` first; its folder is created.

    A program calls it when it is sure to have something to do, so that a mistyped command leaves no folder behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = LogFile(path, encoding="utf-8")
    file.setFormatter(FORMATTER)
    for handler in list(LOGGER.handlers):
        if isinstance(handler, MemoryHandler):
            handler.setTarget(file)
            handler.close()     # flushes to the file
            LOGGER.removeHandler(handler)
    LOGGER.addHandler(file)
