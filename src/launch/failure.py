# SPDX-License-Identifier: Apache-2.0
"""How a failed attempt is told: who ended, how, and what its log says.

    failure = describe("rank 1 (process 123 on host h) ended with status 1 after 34 s", 1, log, count=30)
"""
from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.cli.process_end import describe_exit
from src.launch.processes import LOST

AFTERWORDS = 0.5            # seconds after a process ended by itself in which others may tell more
MOST_OTHERS = 7
LAST_BYTES = 1 << 18        # of a log, among which its last lines are looked for


class Failure(NamedTuple):
    """What went wrong first: a sentence, the status to end with, where the log is, its cause and last lines.

    others: what other workers gave as their cause meanwhile.
    """
    what: str
    status: int
    log: str = ""
    cause: str = ""
    tail: Sequence[str] = ()
    others: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """For the console."""
        shown = [self.what]
        if self.cause:
            shown.append(f"cause: {self.cause}")
        if self.tail:
            shown += [f"the last lines of {self.log}:", *(f"    {line}" for line in self.tail)]
        return shown + list(self.others)


def sentence(name: str, where: str, status: int, seconds: float) -> str:
    """ "rank 1 (process 123 on host h) was killed by SIGKILL after 34 s"."""
    how = "has ended, its status is not known," if status == LOST else describe_exit(status)
    return f"{name} ({where}) {how} after {seconds:.0f} s"


def shell_status(status: int) -> int:
    """As a shell says it: 128 + signal; 1 where it is not known."""
    if status == LOST:
        return 1
    return 128 - status if status < 0 else status


def describe(what: str, status: int, log: Path, count: int) -> Failure:
    """A failure with the last `count` lines of its log, and as the cause the last line that says an error."""
    if status <= 128:
        time.sleep(AFTERWORDS)      # others may be writing theirs
    others = [f"{other.stem} says: {cause}" for other in sorted(log.parent.glob("worker_*.log"))
              for cause in _causes(last_lines(other))[-1:] if other != log]
    lines = last_lines(log)
    return Failure(what, status, str(log), "".join(_causes(lines)[-1:]),
                   (lines[-count:] or ["(it is empty)"]) if count else [], others[:MOST_OTHERS])


def _causes(lines: Sequence[str]) -> list[str]:
    """Lines of `src.cli.program`; without any the last lines of tracebacks."""
    return ([line for line in lines if line.startswith("error: ")]
            or [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception)(: |$)", line)])


def last_lines(path: Path) -> list[str]:
    """The lines of the last part of a log; of a progress line its last state."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LAST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.rstrip("\n").split("\n")] if text.strip() else []


def named_by_mpirun(log: Path, seconds: float) -> tuple[str, int, Path] | None:
    """What mpirun, which kills and waits for its processes itself, says of the first that failed."""
    text = "\n".join(last_lines(log))
    killed = re.search(r"process rank (\d+) with PID \d+ on node\s+(\S+)\s+exited on\s+signal (\d+)", text)
    ended = re.search(r"Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+)", text)
    if killed:
        rank, status = int(killed[1]), -int(killed[3])
        what = sentence(f"rank {rank}", f"started by mpirun on host {killed[2]}", status, seconds)
    elif ended:
        rank, status = int(ended[1]), int(ended[2])
        what = sentence(f"rank {rank}", "started by mpirun", status, seconds)
    else:
        return None
    return what, shell_status(status), log.with_name(f"worker_{rank}.log")
