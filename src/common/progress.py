# SPDX-License-Identifier: Apache-2.0
"""How far a long loop is: a bar with the time left on a terminal, a log line every ten seconds elsewhere.

    with Progress(len(images), "images", "0-5_990.ckpt") as progress:
        progress.advance()
"""
import sys
import time
from typing import Any

from tqdm import tqdm

from src.common.log import LOGGER

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts to `total`; use as a context.

    Args:
        total: how many there are.
        unit: what is counted, plural.
        title: shown before the count.
        bar: False never shows a bar (other lines are being printed).
    """

    def __init__(self, total: int, unit: str, title: str, bar: bool = True):
        self.total, self.unit, self.title = total, unit, title
        self.done = 0
        shown = bar and sys.stderr.isatty()
        self._bar = tqdm(total=total, desc=title, unit=f" {unit}", leave=False) if shown else None
        self._start = self._next = time.monotonic()
        self._next += SECONDS_BETWEEN_LINES

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        if self._bar is not None:
            self._bar.update()
        elif time.monotonic() >= self._next and self.done < self.total:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            left = (self.total - self.done) / self.rate
            LOGGER.info("%s: %d of %d %s, %.1f a second, %.0f s left", self.title, self.done, self.total, self.unit,
                        self.rate, left)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.done / max(self.seconds, 1e-9)
