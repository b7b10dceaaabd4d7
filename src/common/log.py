# SPDX-License-Identifier: Apache-2.0
"""The project's logger and the log line formats that the manuals promise.

`setup(folder, rank)` once in a program's main; everywhere else `from src.common.log import LOGGER`.
"""
import logging
import sys
from pathlib import Path
from typing import Optional

LOGGER = logging.getLogger("facedet")
RECORD_FORMAT = "%(asctime)s:%(levelname)s:%(message)s"

# CenterFace manual, "Training": the lines of device0/train.log.
ITERATION = ("epoch:{epoch}, iter:{iteration}, average_loss:loss:{average:.6f}, loss:{loss}, "
             "overflow:{overflow}, loss_scale:{loss_scale}")
# MindSpore's LossMonitor, which the RetinaFace manual's users grep for.
LOSS_MONITOR = "epoch: {epoch} step: {step}, loss is {loss}"
EPOCH = "epoch[{epoch}], loss:{average:.6f}, {images_per_second:.2f} imgs/sec, lr:{lr}"
TERMS = "epoch[{epoch}], {terms}, skipped steps:{skipped}"
END_EPOCH = "==========end epoch==============="
END_TRAINING = "==========end training==============="
START_TEST = "==========start eval==============="
END_TEST = "==========end testing==============="


def setup(folder: Optional[Path] = None, rank: int = 0, name: str = "run") -> logging.Logger:
    """Send log lines to the console (rank 0 only) and, with `folder`, to `<folder>/<name>_rank_<rank>.log`."""
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = []
    if rank == 0:
        handlers.append(logging.StreamHandler(sys.stdout))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(folder / f"{name}_rank_{rank}.log", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(RECORD_FORMAT))
        LOGGER.addHandler(handler)
    return LOGGER
