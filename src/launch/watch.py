# SPDX-License-Identifier: Apache-2.0
"""The processes of one attempt: started, found, looked at twenty times a second, stopped.

    watch = Watch(commands, job.ranks, scheduler=True)
    watch.start()
    while (failure := watch.look()) is None and not watch.workers_ended: time.sleep(POLL)
    watch.kill()

Linux only. This process adopts what the launch tools leave behind (`adopt_orphans`), so that every worker ends as a
child of this one and its true exit status can be read, whoever else died or was killed after it.
"""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from src.launch.engines import SCHEDULER, Command
from src.launch.failure import Failure, describe, named_by_mpirun, sentence, shell_status
from src.launch.processes import Process, descendants, environment, parent, read_stat, send_signal

POLL = 0.05                 # seconds between two looks
FIND = 10.0                 # seconds for a launch tool's processes to be seen after it has ended
KILL = 5.0                  # seconds for killed processes to be gone


class Watch:
    """The processes of one attempt on this host."""

    def __init__(self, commands: Sequence[Command], ranks: Sequence[int] = (), scheduler: bool = False,
                 tail: int = 30, spare: Collection[int] = ()):
        """
        Args:
            commands: what to start; one with a rank is that worker.
            ranks: workers that the command starts, to be found (none: it answers for them, as mpirun does).
            scheduler: it starts MindSpore's scheduler here as well.
            tail: lines of the culprit's log in a failure.
            spare: children of this process that are none of the run: the guard, a shell's tee.
        """
        self.commands, self.tail, self.spare = commands, tail, spare
        self.processes: list[Process] = []
        self._missing: dict[str, int | None] = {SCHEDULER: None} if scheduler else {}
        self._missing.update({f"rank {rank}": rank for rank in ranks})
        self._children: list[subprocess.Popen] = []
        self._give_up = 0.0
        self._stopping = False

    def start(self) -> None:
        """Start the commands, each in a session of its own, so that Ctrl+C reaches this process only."""
        for command in self.commands:
            command.log.parent.mkdir(parents=True, exist_ok=True)
            with command.log.open("ab") as log:
                child = subprocess.Popen(command.words, env={**os.environ, **command.environment}, stdout=log,
                                         stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
            self._children.append(child)
            name = command.log.stem if command.rank is None else f"rank {command.rank}"
            self.processes.append(Process(name, child.pid, command.log, command.rank))

    def look(self) -> Failure | None:
        """One look at every process; the failure of the first that ended badly."""
        if self._missing:
            self._find()
        ended = [process for process in self.processes if process.has_ended()]
        bad = [process for process in ended if process.status and not self._is_past(process)]
        if bad:
            # Of several in one twentieth of a second, a worker rather than the scheduler, the lowest rank.
            return self._failure(min(bad, key=lambda process: (process.rank is None, process.rank or 0)))
        return self._not_found() if self._missing else None

    @property
    def workers_ended(self) -> bool:
        """Whether all workers ended well (every process but the scheduler)."""
        return not self._missing and all(process.status == 0 for process in self.processes
                                         if process.name != SCHEDULER)

    @property
    def all_ended(self) -> bool:
        return self.workers_ended and all(process.has_ended() for process in self.processes)

    def terminate(self) -> None:
        """Ask every worker to stop (SIGTERM): training saves a checkpoint after the running step and ends.

        One that is only starting is asked when it is found.
        """
        self._stopping = True
        workers = [process for process in self.processes if process.rank is not None]
        if not workers and not self._missing:       # mpirun's; told itself, it would kill them
            engines = {process.pid for process in self.processes}
            workers = [Process("", pid, Path()) for pid in descendants()
                       if parent(pid) in engines and "OMPI_COMM_WORLD_RANK" in environment(pid)] or self.processes
        for worker in workers:
            worker.signal(signal.SIGTERM)

    def kill(self) -> list[int]:
        """End everything that this process started, data workers and the scheduler too; the pids that did not die."""
        deadline = time.monotonic() + KILL
        while True:
            left = [pid for pid in descendants() if pid not in self.spare]
            for pid in left:
                send_signal(pid, signal.SIGKILL)
            self._reap(left)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(POLL / 2)

    def _reap(self, left: Sequence[int]) -> None:
        """Take the statuses of the dead: first of our own commands, then of what was adopted."""
        for child in self._children:
            child.poll()
        for pid in left:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:       # its parent is still there, or it is gone
                continue

    def _find(self) -> None:
        """Among the children of the launch tool, or ours once it has ended, find those that are workers by name."""
        parents = {os.getpid(), *(child.pid for child in self._children)}
        known = {*self.spare, *(process.pid for process in self.processes)}
        dead = []
        for pid in descendants():
            if pid in known or parent(pid) not in parents:
                continue
            name = _role(environment(pid))
            if name in self._missing:
                self._take(name, pid)
            elif (read_stat(pid) or "?")[0] == "Z":
                dead.append(pid)
        engine_ended = all(process.has_ended() for process in self.processes if process.rank is None
                           and process.name != SCHEDULER)
        if engine_ended and dead and len(dead) == len(self._missing):
            # A dead process has no environment to read; the launch tool starts them in this order.
            for name, pid in zip(list(self._missing), sorted(dead)):
                self._take(name, pid)

    def _take(self, name: str, pid: int) -> None:
        rank = self._missing.pop(name)
        folder = self.commands[0].log.parent
        log = folder / (f"{SCHEDULER}.log" if rank is None else f"worker_{rank}.log")
        self.processes.append(Process(name, pid, log, rank))
        if self._stopping and rank is not None:
            self.processes[-1].signal(signal.SIGTERM)

    def _not_found(self) -> Failure | None:
        engine = self.processes[0]
        if engine.status is None:
            return None
        self._give_up = self._give_up or time.monotonic() + FIND
        if time.monotonic() < self._give_up:
            return None
        rank = min((rank for rank in self._missing.values() if rank is not None), default=None)
        log = engine.log if rank is None else engine.log.with_name(f"worker_{rank}.log")
        return describe(f"{', '.join(self._missing)} on host {socket.gethostname()} ended while starting", 1, log,
                        self.tail)

    def _is_past(self, process: Process) -> bool:
        """The scheduler's complaint when all workers have ended well changes nothing."""
        return process.name == SCHEDULER and self.workers_ended

    def _failure(self, process: Process) -> Failure:
        seconds = time.monotonic() - process.started
        named = named_by_mpirun(process.log, seconds) if process.name == "mpirun" else None
        if named:
            return describe(*named, self.tail)
        where = f"process {process.pid} on host {socket.gethostname()}"
        return describe(sentence(process.name, where, process.status, seconds), shell_status(process.status),
                        process.log, self.tail)


def _role(variables: Mapping[str, str]) -> str:
    """The name of the process that msrun gave this environment."""
    if variables.get("MS_ROLE") == "MS_SCHED":
        return SCHEDULER
    return f"rank {variables.get('RANK_ID')}" if variables.get("MS_ROLE") == "MS_WORKER" else ""
