# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT as a request to stop, which the training loop looks at after each step.

    with catch_stop_signals() as request:
        ...
        if request.signal: ...
"""
from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class StopRequest:
    """signal: name of the first signal that came, or "".

    is_granted: set by the loop when it ends the run; the process then ignores SIGTERM until it has ended.
    """
    signal: str = ""
    is_granted: bool = False


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Catch SIGTERM and SIGINT; a second SIGINT raises KeyboardInterrupt. Batch systems repeat SIGTERM: no effect."""
    request = StopRequest()

    def record(number: int, _: Any) -> None:
        if request.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = request.signal or signal.Signals(number).name

    former = {}
    if threading.current_thread() is threading.main_thread():
        former = {number: signal.signal(number, record) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_IGN if request.is_granted and number == signal.SIGTERM else handler)
