# SPDX-License-Identifier: Apache-2.0
"""A progress bar on a terminal, log lines elsewhere.

    with progress_bar(len(images), "images", "testing") as bar:
        bar.update()
"""
from __future__ import annotations

import sys
from contextlib import suppress

from tqdm import tqdm

from src.common.log import LOGGER, Console

SECONDS_BETWEEN_LINES = 10.0


class ProgressBar(tqdm):
    """A bar on a terminal; where standard error is a file, log lines."""
    last_line = 0.0

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the state; tqdm calls it every `mininterval` seconds."""
        if sys.stderr.isatty():
            with suppress(OSError):         # a terminal that is being closed
                return super().display(msg, pos)
        if self.n and msg is None:
            self.last_line = self._time()
            LOGGER.info("%s", self)
        return True

    def write_line(self, seconds: float) -> None:
        """Log the state where standard error is a file and it was not logged for so many seconds."""
        if not sys.stderr.isatty() and self._time() - max(self.last_line, self.start_t) >= seconds:
            self.refresh()

    def skip(self, count: int, title: str) -> None:
        """Count the first ones as done, and leave their time out of the estimate of the rest; change the title."""
        self.initial = self.n = self.last_print_n = count
        self.unpause()
        self.set_description_str(title, refresh=sys.stderr.isatty())


def progress_bar(total: int | None, unit: str, title: str, shown: bool = True,
                 seconds: float | None = None) -> ProgressBar:
    """Make a bar with the remaining time; where standard error is a file, a log line every ten seconds instead.

    Log lines that go to the terminal stand above the bar.

    Args:
        total: number of them; None or 0: unknown, which shows count and speed only.
        unit: what is counted, plural.
        shown: False shows neither.
        seconds: between the log lines, if not ten.
    """
    if sys.stderr.isatty():
        seconds, line = 0.5, None
        Console.make_room = staticmethod(tqdm.external_write_mode)
    else:
        seconds = SECONDS_BETWEEN_LINES if seconds is None else seconds
        line = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"
    # Over `maxinterval` seconds without a line tqdm would show one out of turn.
    return ProgressBar(total=total or None, desc=title, unit=f" {unit}", leave=False, disable=not shown,
                       mininterval=seconds, maxinterval=max(10.0, 2 * seconds), bar_format=line)
