# SPDX-License-Identifier: Apache-2.0
"""The end of every command line program of the project: `sys.exit(run(main))`."""
from __future__ import annotations

import errno
import io
import os
import sys
from typing import Callable

from dependency.errors import DOCTOR, InputError, TrainingError, not_installed

# Errors of the machine, which the doctor examines: a disk that is full, a folder where nothing may be written.
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def run(main: Callable[[], int]) -> int:
    """Run `main` and return its exit status; input errors become one line on stderr and status 2, a failed training 1.

    Letters that the console's encoding lacks are printed as escapes. Set FACEDET_TRACEBACK=1 to see the traceback of an
    input error as well.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return main() or 0
    except (InputError, OSError, TrainingError) as error:
        if os.environ.get("FACEDET_TRACEBACK"):
            raise
        is_of_machine = isinstance(error, OSError) and error.errno in _MACHINE
        advice = f"; what to do about it says: {DOCTOR} --out FOLDER" if is_of_machine else ""
        print(f"error: {error}{advice}", file=sys.stderr)
        return 1 if isinstance(error, TrainingError) else 2
    except MemoryError as error:
        print(f"error: not enough memory ({error}); take smaller batches or images, fewer workers; how much there is "
              f"says {DOCTOR}", file=sys.stderr)
        return 1
    except (ImportError, ValueError) as error:
        if not _is_of_package(error):
            raise
        print(not_installed(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _is_of_package(error: ImportError | ValueError) -> bool:
    """Check whether an error is that of an installed package, or of one that is not, and none of the project's own."""
    if isinstance(error, ImportError):
        return str(error.name).split(".")[0] not in ("src", "dependency", "benchmarks")
    return "binary incompatibility" in str(error)       # of a module that was compiled for another NumPy
