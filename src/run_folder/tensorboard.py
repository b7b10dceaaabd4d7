# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's files, where they are wanted.

    writer = open_writer(files.path("tensorboard"), first_step=0)       # or NullWriter()
    writer.add({"loss": 1.3, "lr": 0.01}, step=594)
    writer.close()
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dependency.errors import InputError


class NullWriter:
    """Writes nothing."""

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Write values by name, as they are after `step` steps."""

    def close(self) -> None:
        """Close the file."""


class TensorBoardWriter(NullWriter):
    """Writes into a folder that `tensorboard --logdir` reads.

    Args:
        folder: created where it is absent.
        first_step: values of former files after this step are replaced by this run's.

    Raises:
        InputError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, first_step: int):
        self.writer = _summary_writer()(str(folder), purge_step=first_step + 1 if first_step else None)

    def add(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def require_tensorboard() -> None:
    """Raise InputError where TensorBoard's files cannot be written."""
    _summary_writer()


def _summary_writer() -> type:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError(f"--tensorboard: tensorboardX cannot be imported ({error}); type: pip install tensorboardX, "
                         "or leave the option out") from error
    return SummaryWriter
