# SPDX-License-Identifier: Apache-2.0
"""Ends the processes of a launcher that was killed with SIGKILL, which cannot end them itself.

    python -I guard.py TAG          waits for the end of standard input, then kills every process of TAG

The launcher holds the other end of that pipe, and the kernel closes it however the launcher ends. Processes are known
by FACEDET_LAUNCH=TAG in the environment that they started with, which their children have too.
"""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

VARIABLE = "FACEDET_LAUNCH"
PATIENCE = 10.0             # seconds


def start(tag: str) -> subprocess.Popen:
    """A guard in a session of its own; it works until its standard input is closed."""
    return subprocess.Popen([sys.executable, "-I", str(Path(__file__).resolve()), tag], stdin=subprocess.PIPE,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def tagged(tag: str) -> list[int]:
    """The processes of TAG that run."""
    wanted = f"{VARIABLE}={tag}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:     # it has ended, or is another user's
            continue
    return found


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:      # again, for those that were starting meanwhile
        pids = tagged(sys.argv[1])
        if not pids:
            return 0
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.1)
    return 1


if __name__ == "__main__":
    sys.exit(main())
