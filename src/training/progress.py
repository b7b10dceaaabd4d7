# SPDX-License-Identifier: Apache-2.0
"""How far a long loop is: a bar with the time left on a terminal, a log line every ten seconds elsewhere.

    with Progress(len(images), "images", "0-5_990.ckpt") as progress:
        progress.advance()
"""
import sys
import time

from tqdm import tqdm
from typing_extensions import Self

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
        self._start = self._first = time.monotonic()
        self._next = self._start + SECONDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        if self.done == 1:
            self._first = time.monotonic()
        if self._bar is not None:
            self._bar.update()
        elif time.monotonic() >= self._next and 1 < self.done < self.total:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            # The first one pays for compiling and opening: it says nothing about the rest.
            steady = (self.done - 1) / max(time.monotonic() - self._first, 1e-9)
            LOGGER.info("%s: %d of %d %s, %.1f a second, %s left", self.title, self.done, self.total, self.unit,
                        steady, _duration((self.total - self.done) / steady))

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.done / max(self.seconds, 1e-9)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
