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


# Examines what the messages below complain of.
DOCTOR = "python -m src.tools.doctor"


def not_installed(error: Exception) -> str:
    """Write the one line that ends a program: the package that this Python lacks or cannot load, and what to type.

    Args:
        error: from an import; of a damaged package it may be any.
    """
    if isinstance(error, ModuleNotFoundError) and "." not in str(error.name):
        return (f"error: {sys.executable} has no package {error.name}; use the environment (make env, then "
                f".venv/bin/python), or: {sys.executable} -m pip install -r requirements.txt")
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"error: {sys.executable} cannot load a package ({lines[-1]}); what to do about it says: {DOCTOR}"


def end_without(error: ImportError) -> None:
    """End a program that lacks a package, with one line; the doctor goes on, which examines the packages."""
    if "src.tools.doctor" not in getattr(sys, "orig_argv", ()):
        raise SystemExit(not_installed(error)) from None
