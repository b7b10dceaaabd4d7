# SPDX-License-Identifier: Apache-2.0
"""What a launcher shows: the log of rank 0 as it grows, and lines of its own.

    console = Console();  console.follow(log);  console.say("rank 1 ...");  unread = console.close()

A write waits where a console stands still (Ctrl+S, a pipe that nobody reads), and who watches processes must not. So a
thread writes; what it cannot write yet stays in the log.
"""
from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO

POLL = 0.05                 # seconds between two looks at the log
PATIENCE = 5.0              # seconds in which a console has to take something, at the end
PIECE = 1 << 12             # bytes of a log written at once, so that a slow console is seen to move


class Console(threading.Thread):
    """Writes by write(2), since Python waits at exit for buffers of its own that a thread holds."""

    def __init__(self, out: int = 1, errors: int = 2):
        """
        Args:
            out: gets the log.
            errors: gets the launcher's own lines.
        """
        super().__init__(name="console", daemon=True)
        self.out, self.errors = out, errors
        self._orders: deque[bytes | Path | None] = deque()     # lines, a log to follow, the end
        self._log: IO[bytes] | None = None
        self._gone: set[int] = set()
        self._unread: list[bytes] = []
        self._moved = 0.0               # when something was last written
        self.start()

    def say(self, *lines: str) -> None:
        """Lines of the launcher, behind all that is in the log now."""
        for line in lines:
            self._orders.append(f"launch: {line}\n".encode("utf-8", "backslashreplace"))

    def follow(self, log: Path) -> None:
        """Copy that log from now on, once it is there, and no other one."""
        self._orders.append(log)

    def close(self) -> str:
        """End when all is written, or when a console takes nothing for PATIENCE.

        Returns:
            the launcher's lines that could not be shown.
        """
        self._orders.append(None)
        self._moved = time.monotonic()
        while self.is_alive() and time.monotonic() - self._moved < PATIENCE:
            self.join(POLL)
        left = [order for order in self._orders.copy() if isinstance(order, bytes)]
        return b"".join([*self._unread, *left]).decode("utf-8")

    def run(self) -> None:
        path = None
        while True:
            order = self._orders[0] if self._orders else b""
            self._copy(path)
            if order is None:
                return
            if isinstance(order, Path):
                path, self._log = order, None
            elif not self._write(self.errors, order):
                self._unread.append(order)
            if order:
                self._orders.popleft()
            else:
                time.sleep(POLL)

    def _copy(self, path: Path | None) -> None:
        """Write what is new in the log."""
        try:
            if self._log is None and path is not None and path.is_file():
                self._log = path.open("rb")
            rest = os.fstat(self._log.fileno()).st_size - self._log.tell() if self._log else 0
            while rest > 0:
                block = self._log.read(min(rest, PIECE))
                rest = rest - len(block) if block else 0
                self._write(self.out, block)
        except OSError:         # a disk that fails; the next look may do better
            pass

    def _write(self, file: int, block: bytes) -> bool:
        """Whether all of it could be written."""
        while block and file not in self._gone:
            try:
                block = block[os.write(file, block):]
                self._moved = time.monotonic()
            except BlockingIOError:     # shared with a program that made it so: full for now
                time.sleep(POLL)
            except OSError as error:    # training goes on
                if error.errno != errno.ENOSPC:         # nobody reads any more
                    self._gone.add(file)
                return False
        return not block
