# SPDX-License-Identifier: Apache-2.0
"""The processes of one attempt on this host: started, watched, asked to stop, ended.

    status = Attempt(commands, local_size=8, tail=30, stop=StopSignal()).run()

msrun and mpirun watch over their processes, but msrun names a dead one by its process id only and then waits half a
minute for MindSpore's scheduler, and a SIGTERM would end them instead of reaching the training. Hence this file looks
for the workers among their children, sends signals to the workers themselves, and ends all at the first failure.
"""
from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from src.cli.exit_status import describe_exit
from src.launch.commands import Command

POLL = 0.1                  # seconds
# What msrun says of the first worker that failed, and mpirun of one that failed or was killed.
_MSRUN_REPORT = re.compile(r"Worker process (\d+) exit with exception. Error code: (-?\d+)")
_MPIRUN_STATUS = re.compile(r"Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+)")
_MPIRUN_SIGNAL = re.compile(r"process rank (\d+) with PID \d+ on node\s+\S+\s+exited on\s+signal (\d+)")


class StopSignal:
    """The first SIGTERM, SIGINT or SIGHUP that came, as `number`; a Ctrl+C after it raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:      # as nohup asks
                signal.signal(number, self._receive)

    def _receive(self, number: int, _: object) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number or number


class Attempt:
    """The processes of one attempt on this host."""

    def __init__(self, commands: Sequence[Command], local_size: int, tail: int, stop: StopSignal):
        """
        Args:
            commands: what to start.
            local_size: number of workers on this host.
            tail: how many lines of a failed process's log to show.
            stop: asks for the end of the training once its number is not 0.
        """
        self.commands, self.local_size, self.tail, self.stop = commands, local_size, tail, stop
        self.log_dir = commands[0].log.parent
        self.processes: list[subprocess.Popen] = []
        self.workers: dict[int, psutil.Process] = {}
        self.started = time.monotonic()
        self.is_stopping = False
        self._shown: IO[bytes] | None = None

    def run(self) -> int:
        """Start all, show the log of rank 0, and wait for the end.

        Returns:
            0 if all ended well; else the status of the first that failed, 128 + signal for one that was killed.
        """
        try:
            for command in self.commands:
                self._start(command)
            while True:
                self._find_workers()
                self._show_rank_0()
                failure = self._find_failure()
                if failure:
                    return self._report(*failure)
                if all(process.returncode == 0 for process in self.processes):
                    self._show_rank_0()
                    say(f"All {self.local_size} processes finished successfully.")
                    return 0
                if self.stop.number:
                    self._request_stop()
                time.sleep(POLL)
        finally:
            self._kill()

    def _start(self, command: Command) -> None:
        """Start a command in a session of its own, which Ctrl+C does not reach, with SIGTERM ignored.

        Batch systems send SIGTERM to every process: it must not end msrun or the scheduler before the workers, which
        handle it while they train.
        """
        with command.log.open("wb") as log:
            process = subprocess.Popen(["sh", "-c", 'trap "" TERM && exec "$0" "$@"', *command.words],
                                       env={**os.environ, **command.environment}, stdout=log,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(process)
        if command.rank is not None:
            self.workers[command.rank] = psutil.Process(process.pid)

    def _find_workers(self) -> None:
        """Find the workers that msrun or mpirun has started; their rank is in their environment."""
        if len(self.workers) == self.local_size:
            return
        for child in psutil.Process(self.processes[0].pid).children():
            with suppress(psutil.Error):
                variables = child.environ()
                rank = variables.get("RANK_ID" if variables.get("MS_ROLE") == "MS_WORKER" else "OMPI_COMM_WORLD_RANK")
                if rank is not None:
                    self.workers[int(rank)] = child

    def _find_failure(self) -> tuple[int | None, int] | None:
        """Return (rank, status) of the first worker that failed; the rank is None where only msrun or mpirun did."""
        for command, process in zip(self.commands, self.processes):
            failure = self._read_report(command.log) if command.rank is None else None
            if failure or process.poll():
                return failure or (command.rank, process.returncode)
        return None

    def _read_report(self, log: Path) -> tuple[int | None, int] | None:
        """Return (rank, status) of the first failure that msrun or mpirun reports in its log."""
        text = log.read_text(encoding="utf-8", errors="replace")
        if report := _MSRUN_REPORT.search(text):
            pid, status = map(int, report.groups())
            return next((rank for rank, worker in self.workers.items() if worker.pid == pid), None), status
        if report := _MPIRUN_SIGNAL.search(text):
            return int(report[1]), -int(report[2])
        if report := _MPIRUN_STATUS.search(text):
            return int(report[1]), int(report[2])
        return None

    def _report(self, rank: int | None, status: int) -> int:
        """Say which process failed, how, and what its log says last; return the exit status of this attempt.

        What its log says is left out where it ends with an error that the log of rank 0 has shown already.
        """
        shown = last_lines(self.log_dir / "worker_0.log", self.tail)
        self._show_rank_0()
        log = self.commands[0].log if rank is None else self.log_dir / f"worker_{rank}.log"
        name = log.stem if rank is None else f"rank {rank}"
        if rank in self.workers:
            name += f" (process {self.workers[rank].pid} on host {socket.gethostname()})"
        say(f"{name} {describe_exit(status)} after {time.monotonic() - self.started:.0f} s")
        lines = last_lines(log, self.tail)
        errors = [line for line in lines if line.startswith("error: ")]
        if lines and not (errors and set(errors) <= set(shown)):
            say(f"the last lines of {log}:", *(f"    {line}" for line in lines))
        return 128 - status if status < 0 else status

    def _request_stop(self) -> None:
        """Send SIGTERM to the workers, at each look: one that does not train yet ignores it."""
        if not self.is_stopping:
            self.is_stopping = True
            say(f"stopped by {signal.Signals(self.stop.number).name}: training ends after the running step, with a "
                "checkpoint; Ctrl+C kills it")
        for worker in self.workers.values():
            with suppress(psutil.Error):
                worker.send_signal(signal.SIGTERM)

    def _show_rank_0(self) -> None:
        """Copy to standard output what is new in the log of rank 0, if that runs on this host."""
        path = self.log_dir / "worker_0.log"
        if self._shown is None and path.is_file():
            self._shown = path.open("rb")
        if self._shown is not None:
            sys.stdout.buffer.write(self._shown.read())
            sys.stdout.buffer.flush()

    def _kill(self) -> None:
        """Kill every process of this attempt: each worker leads a process group, to which its data workers belong."""
        for pid in (process.pid for process in (*self.processes, *self.workers.values())):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        if self._shown is not None:
            self._shown.close()


def say(*lines: str) -> None:
    """Print lines of the launcher."""
    for line in lines:
        print(f"launch: {line}", file=sys.stderr, flush=True)


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log; of a progress line its last state."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        return [line.rstrip().rsplit("\r", 1)[-1] for line in deque(file, maxlen=count)]
