# SPDX-License-Identifier: Apache-2.0
"""SIGTERM, SIGINT and SIGHUP as a request to stop, which the training loop looks at after each step.

    with catch_stop_signals() as stop:
        for batch in batches:
            stop.listen()
            ...
            if stop.is_requested: ...
"""
from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class StopRequest:
    """is_requested: a signal came; by: which.

    is_granted: set by the loop when it ends the run; the process then ignores SIGTERM until it has ended.
    """
    is_requested: bool = False
    by: str = "another device"
    is_granted: bool = False

    def listen(self) -> dict[signal.Signals, Any]:
        """Handle the signals, and return the former handlers; SIGHUP stays ignored where nohup asked for it.

        MindSpore installs a handler of SIGINT in every step, which sends SIGTERM: hence again before each batch.
        """
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._record) for number in NUMBERS
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}

    def check(self) -> bool:
        """Check whether a signal came, and keep listening: for work between two batches."""
        self.listen()
        return self.is_requested

    def _record(self, number: int, _: Any) -> None:
        """Remember the request. A second Ctrl+C ends the program at once; batch systems repeat SIGTERM."""
        if self.is_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_requested = True
        self.by = "SIGHUP" if number == signal.SIGHUP else "SIGTERM or Ctrl+C"


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Handle SIGTERM, SIGINT and SIGHUP inside the block."""
    request = StopRequest()
    former = request.listen()
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_IGN if request.is_granted and number == signal.SIGTERM else handler)
