# SPDX-License-Identifier: Apache-2.0
"""A progress bar on a terminal, log lines elsewhere.

    with progress_bar(len(images), "images", "testing") as bar:
        bar.update()
"""
from __future__ import annotations

import sys
from contextlib import suppress

from tqdm import tqdm

from src.common.log import LOGGER

SECONDS_BETWEEN_LINES = 10.0


class ProgressBar(tqdm):
    """A bar on a terminal; where standard error is a file, log lines."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the state; tqdm calls it every `mininterval` seconds."""
        if sys.stderr.isatty():
            with suppress(OSError):         # a terminal that is being closed
                return super().display(msg, pos)
        if self.n and msg is None:
            LOGGER.info("%s", self)
        return True


def progress_bar(total: int | None, unit: str, title: str, shown: bool = True) -> ProgressBar:
    """Make a bar with the remaining time; where standard error is a file, a log line every ten seconds instead.

    Args:
        total: number of them; None or 0: unknown, which shows count and speed only.
        unit: what is counted, plural.
        shown: False shows neither.
    """
    if sys.stderr.isatty():
        seconds, line = 0.5, None
    else:
        seconds, line = SECONDS_BETWEEN_LINES, "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"
    return ProgressBar(total=total or None, desc=title, unit=f" {unit}", leave=False, disable=not shown,
                       mininterval=seconds, bar_format=line)
