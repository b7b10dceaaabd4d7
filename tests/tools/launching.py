# SPDX-License-Identifier: Apache-2.0
"""Running scripts/launch.py in tests: with workers of tests/tools/fake_worker.py, most often by a rank table."""
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.conftest import ROOT

LAUNCH = str(ROOT / "scripts" / "launch.py")
WORKER = str(ROOT / "tests" / "tools" / "fake_worker.py")


def write_table(path, *servers):
    """A rank table of servers with these numbers of devices; ranks count through."""
    ranks = iter(range(sum(servers)))
    path.write_text(json.dumps({"version": "1.0", "server_list": [
        {"server_id": f"127.0.0.{server + 1}", "device": [
            {"device_id": str(device), "device_ip": "10.0.0.1", "rank_id": str(next(ranks))}
            for device in range(count)]}
        for server, count in enumerate(servers)]}))
    return path


class Launch:
    """A launcher that runs; what it prints is gathered in a file."""

    def __init__(self, folder: Path, *words, program=(WORKER,), **variables):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log_dir, self.console = folder, folder / "logs", folder / "console.txt"
        self.start = time.monotonic()
        own = [str(word) for word in words]
        split = own.index("--") if "--" in own else len(own)
        command = [sys.executable, LAUNCH, "--log_dir", str(self.log_dir), *own[:split], "--", *program,
                   *own[split + 1:]]
        with self.console.open("w") as console:
            self.process = subprocess.Popen(command, stdout=console, stderr=subprocess.STDOUT, cwd=folder,
                                            env={**os.environ, **variables})

    def wait(self, timeout=60.0):
        """(status, what it printed, seconds since the start)."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the launcher hangs:\n{self.text}") from None
        return status, self.text, time.monotonic() - self.start

    @property
    def text(self):
        return self.console.read_text()

    def until(self, condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    @property
    def alive(self):
        """Pids of this launch's processes (not of the launcher itself)."""
        run_file = f"{self.log_dir}/attempt_1/checkpoint.txt"
        return [process.pid for process in psutil.process_iter(["environ"])
                if (process.info["environ"] or {}).get("FACEDET_RUN_FILE") == run_file]

    def worker(self, rank):
        """Pid of that rank: not of its data workers, whose parent is in another session."""
        for pid in self.alive:
            with suppress(psutil.Error, ProcessLookupError):
                variables = psutil.Process(pid).environ()
                if os.getpgid(pid) == pid and variables.get("RANK_ID") == str(rank) and "MS_SCHED" != variables.get(
                        "MS_ROLE"):
                    return pid
        raise AssertionError(f"rank {rank} does not run")


def launch(folder, *words, **options):
    """Run to the end: (status, console, seconds); no process may be left."""
    started = Launch(folder, *words, **options)
    result = started.wait()
    started.until(lambda: started.alive == [], seconds=2)       # they were killed: the kernel needs a moment
    return result
