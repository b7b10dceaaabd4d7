# SPDX-License-Identifier: Apache-2.0
"""The attempts of one training: started on all hosts together, watched, ended together, started again.

    status = Supervisor(plan, tag).run()
"""
from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.launch import guard, hosts
from src.launch.console import Console
from src.launch.engines import SCHEDULER
from src.launch.failure import Failure, shell_status
from src.launch.plan import Plan
from src.launch.processes import adopt_orphans, descendants
from src.launch.watch import POLL, Watch
from src.training import run_file

BAD_INPUT = 2               # the status that says: the same command fails again
INSIST = 60.0               # seconds from asking workers to stop to killing them
SCHEDULER_ENDS = 30.0       # seconds for MindSpore's scheduler to end after the last worker
RETURN = 60.0               # seconds for hosts to be ready for another attempt


class Ended(Exception):
    """There will be no (other) attempt; carries the status and why."""

    def __init__(self, status: int, why: str = ""):
        super().__init__(why)
        self.status = status


class Supervisor:
    """Runs a plan's attempts and answers for their status."""

    def __init__(self, plan: Plan, tag: str):
        """
        Args:
            plan: places, options and commands of this host.
            tag: tells this launch's processes from those of others.
        """
        self.plan, self.tag = plan, tag
        self.is_first = plan.place.rank == 0
        self.attempts = plan.args.max_restarts + 1
        self.signals: list[int] = []
        self.asked_at = 0.0             # when the workers were asked to stop
        self.console = Console()
        self.link: Any = hosts.Alone()
        self.spare: set[int] = set()
        self._inbox: deque[dict[str, Any]] = deque()

    def run(self) -> int:
        """All attempts; the status of the last one."""
        adopt_orphans()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:      # as nohup asks
                signal.signal(number, lambda number, _: self.signals.append(number))
        if self.plan.is_linked:
            kind = hosts.FirstHost if self.is_first else hosts.OtherHost
            self.link = kind(self.plan.place, self.plan.args.master_port + 1, self.plan.size)
        self.plan.log_dir.mkdir(parents=True, exist_ok=True)
        if self.is_first:
            move_aside(self.plan.run_file)
        watcher = guard.start(self.tag)
        # What a shell left to this process when it became it: scripts/common.sh's tee.
        self.spare = set(descendants())
        status = 1
        try:
            status = self._attempts()
        finally:
            if self.is_first:
                self.link.send("end", status=status, why="")
            self.link.close()
            watcher.stdin.close()
            watcher.wait()
            self._keep_unread(self.console.close())
            for number in set(self.signals):    # sent again they change no status; Python drops its handlers at exit
                signal.signal(number, signal.SIG_IGN)
        return status

    def _keep_unread(self, lines: str) -> None:
        """What could not be shown goes to a file; where that fails too, the status is all that is left to tell."""
        with suppress(OSError):
            if lines:
                with (self.plan.log_dir / "unread.log").open("a", encoding="utf-8") as file:
                    file.write(lines)

    def _attempts(self) -> int:
        number, failure = 1, None
        while True:
            try:
                port = self._gather(number) if self.is_first else self._join(number)
            except Ended as end:
                if str(end):
                    self.console.say(str(end))
                return failure.status if failure else end.status
            failure = self._attempt(port)
            if failure is None:
                self.console.say(f"all {self.plan.local} processes ended well")
                return 0
            number += 1
            if not self.is_first:
                if not self.link.connected and number > self.attempts:
                    return failure.status
            else:
                if not self._may_restart(number, failure):
                    return failure.status
                self.console.say(f"attempt {number} of {self.attempts}, {goes_on_from(self.plan.run_file)}")

    def _may_restart(self, number: int, failure: Failure) -> bool:
        """Whether attempt `number` follows this failure."""
        if self.asked_at or self.attempts == 1:
            return False
        if failure.status == BAD_INPUT:
            self.console.say("status 2 is bad input: starting again cannot help")
            return False
        if number > self.attempts:
            self.console.say(f"this was the last of {self.attempts} attempts")
            return False
        return True

    def _gather(self, number: int) -> int:
        """First host: wait until all are ready, tell them to start; the scheduler's port."""
        shown: list[str] = []
        deadline = time.monotonic() + (self.plan.args.wait if number == 1 else RETURN)
        while self.link.absent:
            if list(self.link.absent) != shown:
                shown = list(self.link.absent)
                self.console.say(f"waiting for {', '.join(shown)}")
            self._inbox += self.link.poll()
            self._end_if_stopped()
            if time.monotonic() > deadline:
                raise Ended(1, f"{', '.join(shown)} did not come; start the same command there, and let it reach "
                               f"{self.plan.place.master} at ports {self.plan.args.master_port} and following")
            time.sleep(POLL)
        self._end_if_stopped()
        self._inbox.clear()     # of the former attempt: who is ready has said all about it
        port = wanted = self.plan.args.master_port
        if self.plan.args.launcher == "msrun":
            # Another port each time: the former scheduler's may be kept by the kernel for a minute.
            port = hosts.free_port(wanted if number == 1 else wanted + number, taken=(wanted + 1,))
            if number == 1 and port != wanted:
                self.console.say(f"port {wanted} is taken; using {port}")
        self.link.begin(port)
        return port

    def _join(self, number: int) -> int:
        """Another host: tell the first one that this one is ready; wait for its word, the scheduler's port."""
        deadline = time.monotonic() + (self.plan.args.wait if number == 1 else RETURN)
        if number == 1:
            self.console.say(f"waiting for the first host ({self.plan.place.master})")
        told = False
        while True:
            told = (told and self.link.connected) or self.link.hello()
            for message in self._messages():
                if message["word"] == "start":
                    return message["port"]
                if message["word"] == "end":
                    raise Ended(message["status"], message["why"])
            if told and not self.link.connected and number > self.attempts:
                raise Ended(1, "the first host has gone")
            self._end_if_stopped()
            if time.monotonic() > deadline:
                raise Ended(1, f"the first host ({self.plan.place.master}) did not answer at port "
                               f"{self.plan.args.master_port + 1}; start the same command there")
            time.sleep(POLL)

    def _messages(self) -> Iterator[dict[str, Any]]:
        """What other hosts said, each once, even if what one of them says ends the loop that reads them."""
        self._inbox += self.link.poll()
        while self._inbox:
            yield self._inbox.popleft()

    def _end_if_stopped(self) -> None:
        if any(message["word"] == "interrupt" for message in self._inbox):
            raise Ended(1, "stopped on another host")
        if self.signals or self.asked_at:
            self.link.send("interrupt")
            raise Ended(128 + self.signals[0] if self.signals else 1, "stopped")

    def _attempt(self, port: int) -> Failure | None:
        """One attempt on this host; None: it ended well everywhere."""
        plan, folder = self.plan, self.plan.attempt_folder()
        folder.mkdir(parents=True)
        job = plan.job(folder, port, {guard.VARIABLE: self.tag})
        uses_msrun = plan.args.launcher == "msrun"
        watch = Watch(plan.commands(job), job.ranks if uses_msrun else (), uses_msrun and self.is_first,
                      plan.args.tail, self.spare)
        self.console.say(f"starting {plan.local} processes by {plan.args.launcher}; logs: {folder}")
        if not self.is_first:
            self.console.say(f"rank 0, whose log is shown, runs on the first host ({plan.place.master})")
        self.console.follow(job.log(0))
        try:
            watch.start()
            return self._supervise(watch)
        finally:
            left = watch.kill()
            if left:
                self.console.say(f"processes that cannot be killed: {' '.join(map(str, left))}")

    def _supervise(self, watch: Watch) -> Failure | None:
        """Look at processes, hosts and signals until the attempt is over."""
        done_at = 0.0
        while True:
            for message in self._messages():
                if message["word"] == "failed":
                    return self._failed_elsewhere(message)
                if message["word"] == "end":
                    return None if message["status"] == 0 else Failure(message["why"] or "ended", message["status"])
                if message["word"] == "interrupt":
                    self._ask_to_stop(watch, "another host")
            failure = watch.look()
            if failure:
                self.console.say(*failure.lines)
                self.link.send("failed", **failure._asdict())
                return failure
            failure = self._heed_signals(watch)
            if failure:
                return failure
            if watch.workers_ended and not done_at:
                done_at = time.monotonic()
                self.link.send("done")
            if self.is_first and done_at and self.link.all_done and self._scheduler_ended(watch, done_at):
                return None
            time.sleep(POLL)

    def _failed_elsewhere(self, message: dict[str, Any]) -> Failure:
        fields = {name: message[name] for name in Failure._fields}
        failure = Failure(**fields)
        self.console.say(*failure.lines)
        if self.is_first:
            self.link.send("failed", **failure._asdict())
        return failure

    def _heed_signals(self, watch: Watch) -> Failure | None:
        """Pass the first signal on to the workers; insist at the second, or when a minute has passed."""
        if self.signals and not self.asked_at:
            self._ask_to_stop(watch, signal.Signals(self.signals[0]).name)
        # Batch systems send SIGTERM, a closing terminal SIGHUP more than once; only a person sends SIGINT again.
        insists = signal.SIGINT in self.signals[1:]
        if self.asked_at and (insists or time.monotonic() - self.asked_at > INSIST):
            number = self.signals[0] if self.signals else signal.SIGTERM
            failure = Failure("the processes were killed: a second signal came" if insists else
                              f"the processes were killed: they did not end within {INSIST:.0f} s",
                              shell_status(-number))
            self.console.say(*failure.lines)
            self.link.send("failed", **failure._asdict())
            return failure
        return None

    def _ask_to_stop(self, watch: Watch, by: str) -> None:
        if self.asked_at:
            return
        self.asked_at = time.monotonic()
        self.console.say(f"stopped by {by}: training ends after the running step, with a checkpoint; Ctrl+C kills it")
        self.link.send("interrupt")
        watch.terminate()

    def _scheduler_ended(self, watch: Watch, done_at: float) -> bool:
        if watch.all_ended:
            return True
        if time.monotonic() - done_at > SCHEDULER_ENDS:
            self.console.say(f"all workers ended well, MindSpore's {SCHEDULER} has not for {SCHEDULER_ENDS:.0f} s: "
                             "killed")
            return True
        return False


def goes_on_from(path: Path) -> str:
    """What the note of rank 0 says about the next attempt."""
    checkpoint = run_file.noted(str(path))
    return f"goes on from {checkpoint}" if checkpoint else "from the start: there is no checkpoint yet"


def move_aside(path: Path) -> None:
    """A file of an earlier launch gets the first free of the names <path>.1, <path>.2, ..."""
    number = 1
    while path.with_name(f"{path.name}.{number}").exists():
        number += 1
    if path.exists():
        os.replace(path, path.with_name(f"{path.name}.{number}"))
