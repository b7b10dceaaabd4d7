# SPDX-License-Identifier: Apache-2.0
"""The project's logger and the log line formats that the manuals promise.

`setup()` once in a program's main; everywhere else `from src.common.log import LOGGER`.
"""
import logging
import sys
from contextlib import suppress
from pathlib import Path

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


class _SaysOnce:
    """A handler that cannot write says so once instead of a traceback for every line, and the program goes on."""
    failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.failed:
            self.failed = True
            where = getattr(self, "baseFilename", "the console")
            line = f"cannot write the log to {where}: {error.strerror}; lines are lost there, the program goes on"
            with suppress(OSError):
                print(f"warning: {line}", file=sys.stderr)


class Console(_SaysOnce, logging.StreamHandler):
    """Standard output."""


class LogFile(_SaysOnce, logging.FileHandler):
    """A file of log lines."""


class KeptLines(logging.Handler):
    """Holds log lines until there is a file for them."""

    def __init__(self):
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def setup(rank: int = 0, keep: bool = False) -> logging.Logger:
    """Send log lines to the console (rank 0 only); with `keep` also hold them for `write_to`."""
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = []
    if rank == 0:
        handlers.append(Console(sys.stdout))
    if keep:
        handlers.append(KeptLines())
    for handler in handlers:
        handler.setFormatter(FORMATTER)
        LOGGER.addHandler(handler)
    return LOGGER


def write_to(path: Path) -> None:
    """From now on write log lines to this file too, those kept since `setup` first; its folder is created.

    A program calls it when it is sure to have something to do, so that a mistyped command leaves no folder behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = LogFile(path, encoding="utf-8")
    file.setFormatter(FORMATTER)
    for kept in [handler for handler in LOGGER.handlers if isinstance(handler, KeptLines)]:
        for record in kept.records:
            file.handle(record)
        LOGGER.removeHandler(kept)
    LOGGER.addHandler(file)
