# SPDX-License-Identifier: Apache-2.0
"""A sweep in several processes: starts one for each share, watches them, and says what was tested.

    shares = deal(candidates, images, processes=8)
    results = run_shares(shares, candidates, images, [sys.executable, "test.py", *sys.argv[1:]], settings)

A process that fails or is killed loses its own share only; whatever is not complete then is named and is not tested.
"""
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dependency.errors import InputError
from src.cli.process_end import describe_exit
from src.common.log import LOGGER
from src.evaluation.sweep import Candidate
from src.evaluation.sweep_shares import GRACE_SECONDS, VARIABLE, Share
from src.training.progress import Progress

RANK = "{rank}"
POLL_SECONDS = 0.2
TAIL_LINES = 20
# Checkpoints named in a message.
NAMED = 4


class Settings(NamedTuple):
    """How the processes run.

    save_dir: holds the trees.
    log: file of each process's output, with `{rank}`.
    on_cpu: give each its part of the cores.
    """
    save_dir: Path
    log: str
    on_cpu: bool


class Results(NamedTuple):
    """What came of a sweep: checkpoints whose tree is complete, those that could not be tested, and whether a process
    failed."""
    tested: list[Candidate]
    failed: list[Candidate]
    is_lost: bool


class Ledger:
    """What the processes told about each checkpoint, by the folder of its `Candidate`.

    Args:
        candidates: the checkpoints.
        images: the images that each is tested on.
        save_dir: for log lines.
    """

    def __init__(self, candidates: Sequence[Candidate], images: Sequence[str], save_dir: Path):
        self.candidates, self.images, self.save_dir = candidates, images, save_dir
        self.names = {candidate.folder: candidate.path.name for candidate in candidates}
        self.begun: dict[str, float] = {}
        self.written: dict[str, set[str]] = {folder: set() for folder in self.names}
        self.absent: set[str] = set()
        self.failed: set[str] = set()
        self.errors: list[str] = []

    def note(self, kind: str, subject: str, detail: str = "") -> bool:
        """Take one message; True if an image was written."""
        if kind == "error":
            self.errors.append(subject)
        elif kind == "begun":
            self.begun.setdefault(subject, time.monotonic())
        elif kind == "absent":
            self.absent.add(subject)
        elif kind == "failed" and subject not in self.failed:
            self.failed.add(subject)
            LOGGER.error("%s", detail)
        elif kind == "written":
            self.written[subject].add(detail)
            if len(self.written[subject]) == len(self.images):
                LOGGER.info("%s: %d images in %.1f s, written to %s", self.names[subject], len(self.images),
                            time.monotonic() - self.begun[subject], self.save_dir / subject)
        return kind == "written"

    def missing(self, candidate: Candidate, images: Sequence[str]) -> list[str]:
        """Those of `images` that the checkpoint has not been tested on; none if it could not be or is not there."""
        if candidate.folder in self.failed or self.is_absent(candidate):
            return []
        written = self.written[candidate.folder]
        return [image for image in images if image not in written]

    def is_absent(self, candidate: Candidate) -> bool:
        """Whether the checkpoint's file had gone before anyone tested it."""
        return candidate.folder in self.absent and not self.written[candidate.folder]

    def lost_text(self, share: Share) -> str:
        """What of a share was not tested."""
        lost = [(candidate, self.missing(candidate, share.images)) for candidate in share.candidates]
        parts = [f"{candidate.path.name}: {len(images)} of {len(share.images)} images, first {images[0]}"
                 for candidate, images in lost if images]
        if len(parts) > NAMED:
            parts[NAMED:] = [f"and {len(parts) - NAMED} checkpoints more"]
        return "; ".join(parts) or "nothing, it was done"


class Process:
    """A running share.

    Args:
        share: its work.
        command: see `run_shares`.
        settings: see `Settings`.
    """

    def __init__(self, share: Share, command: Sequence[str], settings: Settings):
        self.share = share
        self.log = Path(settings.log.replace(RANK, str(share.rank)))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.is_closed = False
        self._rest = b""
        self.pipe, told = os.pipe()
        os.set_blocking(self.pipe, False)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as work, self.log.open("ab") as output, on_cores(
                share, settings.on_cpu) as environment:
            work.write(share.to_json())
            work.seek(0)
            self._log_start = output.tell()
            try:
                # A session of its own: Ctrl+C comes to this process alone, which then stops the others.
                self.process = subprocess.Popen(
                    list(command), stdin=work, stdout=output, stderr=subprocess.STDOUT, pass_fds=[told],
                    start_new_session=True, env={**environment, "DEVICE_ID": str(share.rank), VARIABLE: str(told)})
            finally:
                os.close(told)

    def messages(self) -> Iterator[list[str]]:
        """What came since the last call; sets `is_closed` at the end."""
        while not self.is_closed:
            try:
                content = os.read(self.pipe, 1 << 16)
            except BlockingIOError:
                return
            self.is_closed = not content
            *lines, self._rest = (self._rest + content).split(b"\n")
            yield from map(json.loads, lines)

    def tail(self) -> str:
        """The last lines that this process logged."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (empty)"


def run_shares(shares: Sequence[Share], candidates: Sequence[Candidate], images: Sequence[str], command: Sequence[str],
               settings: Settings) -> Results:
    """Work on all shares at once and wait for them; with SIGTERM or Ctrl+C all processes end.

    Args:
        shares: see `deal`.
        candidates, images: what was dealt.
        command: the command line of a share's process.
        settings: see `Settings`.

    Raises:
        InputError: bad input (an unreadable image, a damaged single checkpoint) left nothing complete; the log file
            of the processes has no `{rank}`.
        OSError: a process cannot be started.
    """
    if RANK not in settings.log:
        raise InputError(f"--process_log {settings.log}: expected a file name with {RANK} in it, the process's number")
    what = "checkpoints" if shares[0].images == list(images) else "images of every checkpoint"
    LOGGER.info("%d processes share the %s; their logs: %s", len(shares), what, settings.log)
    ledger = Ledger(candidates, images, settings.save_dir)
    title = candidates[0].path.name if len(candidates) == 1 else f"{len(candidates)} checkpoints"
    processes: list[Process] = []
    with terminable(), Progress(len(candidates) * len(images), "images", title) as progress:
        try:
            for share in shares:
                processes.append(Process(share, command, settings))
            watch(processes, ledger, progress)
        finally:
            stop(processes)
    LOGGER.info("%d images in %.1f s, %.2f a second, by %d processes", progress.done, progress.seconds, progress.rate,
                len(shares))
    return conclude(ledger, processes)


def watch(processes: Sequence[Process], ledger: Ledger, progress: Progress) -> None:
    """Take the messages of all processes until the last one has ended; one that fails is reported at once."""
    running = list(processes)
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process.pipe, selectors.EVENT_READ, process)
        while running:
            told = [key.data for key, _ in selector.select(POLL_SECONDS)]
            ended = [process for process in running if process.process.poll() is not None]
            for process in {*told, *ended}:         # what an ended one told before is all there now
                for message in process.messages():
                    if ledger.note(*message):
                        progress.advance()
                if process.is_closed and process.pipe in selector.get_map():
                    selector.unregister(process.pipe)
            for process in ended:
                running.remove(process)
                if process.process.returncode:
                    report_lost(process, ledger)


def report_lost(process: Process, ledger: Ledger) -> None:
    """Say how a process failed, what is lost with it, and the end of its log."""
    share = process.share
    LOGGER.error("process %d of %d (pid %d) %s; of its share is lost: %s\nthe end of its log %s:\n%s", share.rank,
                 share.processes, process.process.pid, describe_exit(process.process.returncode),
                 ledger.lost_text(share), process.log, process.tail())


def conclude(ledger: Ledger, processes: Sequence[Process]) -> Results:
    """What is complete; see `run_shares`."""
    tested, failed = [], []
    for candidate in ledger.candidates:
        missing = ledger.missing(candidate, ledger.images)
        if missing:
            LOGGER.error("%s: not tested on %d of %d images, first %s: incomplete, not scored", candidate.path,
                         len(missing), len(ledger.images), missing[0])
        if missing or candidate.folder in ledger.failed:
            failed.append(candidate)
        elif not ledger.is_absent(candidate):
            tested.append(candidate)
    bad = [process.process.returncode for process in processes if process.process.returncode]
    if not tested and ledger.errors and set(bad) == {2}:
        raise InputError(ledger.errors[0])
    return Results(tested, failed, bool(bad))


def stop(processes: Sequence[Process]) -> None:
    """End whatever still runs, with what it started: asked first, forced after GRACE_SECONDS."""
    running = [process.process for process in processes if process.process.poll() is None]
    if running:
        LOGGER.warning("stops %d processes", len(running))
    try:
        for each in running:
            os.killpg(each.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while any(each.poll() is None for each in running) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        for each in running:
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGKILL)
                each.wait()
        for process in processes:
            os.close(process.pipe)


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM ends this program as an exception does, so that it can clean up; status 143."""
    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def on_cores(share: Share, on_cpu: bool) -> Iterator[dict[str, str]]:
    """The environment for a process started within the block. On a CPU that process has cores of its own.

    Two processes whose thread pools each fill the machine slow each other down. The pools of OpenMP, MindSpore and
    OpenCV all count the cores that the process may use; an OMP_NUM_THREADS that the user set is left alone.
    """
    environment = dict(os.environ)
    if not on_cpu:
        yield environment
        return
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    count = len(available) or os.cpu_count() or 1
    first, last = (rank * count // share.processes for rank in (share.rank, share.rank + 1))
    environment.setdefault("OMP_NUM_THREADS", str(max(1, last - first)))
    if not available[first:last]:       # more processes than cores, or no such call here
        yield environment
        return
    os.sched_setaffinity(0, available[first:last])      # inherited; this thread gets its own back
    try:
        yield environment
    finally:
        os.sched_setaffinity(0, available)
