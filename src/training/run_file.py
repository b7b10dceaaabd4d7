# SPDX-License-Identifier: Apache-2.0
"""How a run that is started again finds where it was.

The launcher names a file in the environment of the processes. Rank 0 notes there every checkpoint that it has
written; processes that start and find a note go on from that checkpoint, in the folder of that run.
"""
from __future__ import annotations

import json
import os
from pathlib import Path

from dependency.errors import InputError
from dependency.files import atomic_write

VARIABLE = "FACEDET_RUN_FILE"


def is_launched() -> bool:
    """Whether a launcher watches this process."""
    return VARIABLE in os.environ


def note(checkpoint: Path) -> None:
    """Remember the newest checkpoint, if a launcher wants to know."""
    if is_launched():
        with atomic_write(os.environ[VARIABLE]) as file:
            json.dump({"checkpoint": str(checkpoint.resolve())}, file)


def noted(path: str | None = None) -> Path | None:
    """The newest checkpoint of this run's earlier attempts; None where there is none.

    Args:
        path: the note; default: the one that the environment names.

    Raises:
        InputError: the file is no such note.
    """
    path = path or os.environ.get(VARIABLE)
    if not path or not Path(path).is_file():
        return None
    try:
        return Path(json.loads(Path(path).read_text(encoding="utf-8"))["checkpoint"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a note of the launcher ({error!r}); remove it to start anew") from error
