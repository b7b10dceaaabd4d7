# SPDX-License-Identifier: Apache-2.0
"""Processes as Linux shows them: whose child, with which environment, how ended.

    adopt_orphans();  process = Process("rank 1", pid, log);  process.has_ended() and process.status
"""
from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path

from dependency.errors import InputError

LOST = 1000                 # the status of a process that somebody else waited for
PR_SET_CHILD_SUBREAPER = 36
_EXIT_CODE = 49             # places in /proc/<pid>/stat behind the name
_BORN = 19


@dataclass
class Process:
    """A process of the run; status: None while it runs, else its exit status, or minus the signal that killed it."""
    name: str
    pid: int
    log: Path
    rank: int | None = None
    born: int = 0
    started: float = 0.0
    status: int | None = None
    sent: int = 0               # the signal that it was last sent from here

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        stat = read_stat(self.pid)
        self.born = int(stat[_BORN]) if stat else 0

    def has_ended(self) -> bool:
        """Looks, and notes the status."""
        if self.status is None:
            stat = read_stat(self.pid)
            if stat is None or int(stat[_BORN]) != self.born:
                self.status = -self.sent if self.sent else LOST
            elif stat[0] in "ZX":
                self.status = os.waitstatus_to_exitcode(int(stat[_EXIT_CODE]))
        return self.status is not None

    def signal(self, number: int) -> None:
        if not self.has_ended():
            self.sent = number
            send_signal(self.pid, number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends.

    Raises:
        InputError: not on Linux.
    """
    try:
        adopted = ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (AttributeError, OSError):
        adopted = False
    if not adopted:
        raise InputError("launch.py needs Linux (prctl); on another system start one process: python train.py")


def read_stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat behind the name, the state first; None: there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return None


def descendants() -> list[int]:
    """Everything that this process started or adopted, and what those did."""
    import psutil  # here, because --help and --dry_run do without
    return [child.pid for child in psutil.Process().children(recursive=True)]


def parent(pid: int) -> int:
    stat = read_stat(pid)
    return int(stat[1]) if stat else 0


def environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def send_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass
