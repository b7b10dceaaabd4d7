# SPDX-License-Identifier: Apache-2.0
"""Exceptions that a program shows as one line, without a traceback."""
import sys


class InputError(ValueError):
    """Bad input from outside: a path, an option, a file's content.

    The message names the value, says what was expected, and ends with what to type or change next.
    Command line programs print it as one line and exit with status 2; anything else keeps its traceback.
    """


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why, what was saved and what to try."""


def not_installed(error: ModuleNotFoundError) -> SystemExit:
    """Make the exception that ends a program with one line: the package that this Python lacks, and what to type."""
    return SystemExit(f"error: {sys.executable} has no package {error.name}; use the environment (make env, then "
                      f".venv/bin/python), or: {sys.executable} -m pip install -r requirements.txt")
