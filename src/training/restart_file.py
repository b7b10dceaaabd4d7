# SPDX-License-Identifier: Apache-2.0
"""The file through which a run that is started again finds its newest checkpoint.

The launcher names it in the environment of the processes. Rank 0 writes the path of each checkpoint into it; processes
that start and find one there go on from it, in its folder.
"""
import os
from pathlib import Path

from dependency.files import atomic_write

VARIABLE = "FACEDET_RUN_FILE"


def is_launched() -> bool:
    """Check whether a launcher watches over this process."""
    return VARIABLE in os.environ


def record(checkpoint: Path) -> None:
    """Write the path of the newest checkpoint, if a launcher watches over this process."""
    if is_launched():
        with atomic_write(os.environ[VARIABLE]) as file:
            file.write(str(checkpoint.resolve()))


def newest_checkpoint(run_file: str = "") -> str:
    """Return the path of the newest checkpoint, or "" where none was written.

    Args:
        run_file: the file; default: the one that the environment names.
    """
    path = Path(run_file or os.environ.get(VARIABLE, ""))
    return path.read_text(encoding="utf-8") if path.is_file() else ""
