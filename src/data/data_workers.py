# SPDX-License-Identifier: Apache-2.0
"""Batches from data worker processes, and what happens when such a process dies.

    for batch in watched(loader.create_tuple_iterator(num_epochs=1)): ...

Left alone, MindSpore answers a killed worker with a SIGTERM to itself, which looks like an order to stop, and where
that is caught it waits for the worker's data for ever. So its watchdog is turned off, and this is in its place.
"""
from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from dependency.errors import TrainingError
from src.cli.process_end import describe_exit

SECONDS_BETWEEN_LOOKS = 0.2
# A main thread that waits inside of MindSpore and cannot be woken up is ended with the process after so many seconds.
PATIENCE = 10.0
# How long a worker outlives a SIGTERM, so that the step that waits for its data can end.
GRACE = 60
# Stopping the iterator of a dead worker would wait for that worker's data, too; at the end of the program MindSpore
# ends the workers first.
_NEVER_STOPPED: list[Any] = []


class DeadWorkerError(TrainingError):
    """A data worker process ended; no more data will come."""


def watched(iterator: Any) -> Iterator[tuple]:
    """The items of a data set's iterator as long as its worker processes live.

    Raises:
        DeadWorkerError: one of them ended.
        RuntimeError: what MindSpore makes of an error in a worker.
    """
    watch = _Watch()
    watch.start()
    try:
        while True:
            watch.check()
            watch.waits_since = time.monotonic()
            try:
                item = next(iterator, None)
            except RuntimeError:
                watch.check()
                raise
            watch.waits_since = None
            if item is None:
                watch.check()
                return
            yield item
    except DeadWorkerError:
        _NEVER_STOPPED.append(iterator)
        raise
    finally:
        watch.ended.set()


def outlive_sigterm(parent: int) -> None:
    """In a worker process: on SIGTERM go on for GRACE seconds, unless the process `parent` that it works for is gone.

    Batch systems and `timeout` send SIGTERM to all processes of a job at once. The main process then ends the running
    step and writes a checkpoint, for which it may need one more batch.
    """
    if os.getpid() == parent or threading.current_thread() is not threading.main_thread():
        return

    def postpone(*_: Any) -> None:
        if os.getppid() != parent:
            os._exit(0)
        signal.alarm(GRACE)

    signal.signal(signal.SIGTERM, postpone)


class _Watch(threading.Thread):
    """Looks at the worker processes that appear after its making.

    waits_since: when the main thread began to wait for data; None while it does something else.
    """

    def __init__(self):
        super().__init__(name="watch over data workers", daemon=True)
        self.others = set(multiprocessing.active_children())
        self.workers: dict[int, Any] = {}
        self.ended = threading.Event()
        self.waits_since: float | None = None

    def check(self) -> None:
        """Raise DeadWorkerError if a worker died."""
        dead = self._dead()
        if dead is not None:
            raise DeadWorkerError(_obituary(dead))

    def run(self) -> None:
        woken = None
        # MindSpore starts them with the first item, each with the queue of its results.
        while not self.ended.wait(SECONDS_BETWEEN_LOOKS if self.workers else SECONDS_BETWEEN_LOOKS / 10):
            for process in set(multiprocessing.active_children()) - self.others:
                if hasattr(process, "res_queue"):
                    self.workers[process.pid] = process
            dead = self._dead()
            if dead is None or self.waits_since is None:
                continue
            if woken is None:
                woken = time.monotonic()
                _wake(dead)
            elif time.monotonic() - max(woken, self.waits_since) > PATIENCE:
                print(f"error: {_obituary(dead)}", file=sys.stderr, flush=True)
                os._exit(1)

    def _dead(self) -> Any | None:
        return next((process for process in list(self.workers.values()) if process.exitcode), None)


def _wake(dead: Any) -> None:
    """Send what the dead worker would have sent for an error, so that waiting for its data ends."""
    from mindspore.dataset.core.py_util_helpers import ExceptionHandler
    try:
        raise DeadWorkerError(_obituary(dead))
    except DeadWorkerError:
        dead.res_queue.put(ExceptionHandler(where="in a data worker"))


def _obituary(dead: Any) -> str:
    hint = "; fewer workers need less" if dead.exitcode == -signal.SIGKILL else ""
    return f"data worker {dead.name} (process {dead.pid}) {describe_exit(dead.exitcode)}{hint}"
