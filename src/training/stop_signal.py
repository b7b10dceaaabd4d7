# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT as a wish to stop, which the training loop asks for after each step."""
from __future__ import annotations

import signal
import threading
from typing import Any

from typing_extensions import Self


class StopSignal:
    """Catches SIGTERM and SIGINT inside its `with` block; `name` is the first signal that came, else "".

    A second SIGINT raises KeyboardInterrupt; batch systems repeat SIGTERM, which has no further effect. `is_stopping`,
    set by the loop, lets the process ignore SIGTERM after the block as well, until it has ended.
    """

    def __init__(self) -> None:
        self.name = ""
        self.is_stopping = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_IGN if self.is_stopping and number == signal.SIGTERM else handler)

    def _record(self, number: int, _: Any) -> None:
        if self.name and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = self.name or signal.Signals(number).name
