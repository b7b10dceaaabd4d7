# SPDX-License-Identifier: Apache-2.0
"""The end of every command line program of the project: `sys.exit(run(main))`."""
import io
import os
import sys
from typing import Callable

from dependency.errors import InputError, TrainingError, not_installed


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
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, TrainingError) else 2
    except ModuleNotFoundError as error:
        print(not_installed(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
