# SPDX-License-Identifier: Apache-2.0
"""test.py --processes: the checkpoints, or the images of few checkpoints, split over several processes.

    shards = split_work(candidates, images, processes=8)
    tested = predict_shards(shards, candidates, images, cfg, names, detector_loader)

Each process has a device of its own (DEVICE_ID 0, 1, ...), on a CPU its part of the cores. A process that fails or is
killed leaves only its own shard unfinished; a checkpoint with unfinished images is named and not scored.
"""
from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Callable, NamedTuple

from dependency.errors import InputError
from src.cli.exit_status import describe_exit
from src.common import device, log
from src.common.log import LOGGER
from src.common.progress import progress_bar
from src.evaluation.checkpoints import Candidate, nothing_tested
from src.evaluation.predict import Loader, UnusableCheckpoint, predict_checkpoint

RANK = "{rank}"
TAIL_LINES = 20

MakeLoader = Callable[[Any, set[str]], Loader]


class Shard(NamedTuple):
    """What the process `rank` of `world_size` tests: each of its checkpoints on each of its images."""
    rank: int
    world_size: int
    candidates: list[Candidate]
    images: list[str]


def split_work(candidates: Sequence[Candidate], images: Sequence[str], processes: int) -> list[Shard]:
    """Split the checkpoints, or the images where there are fewer checkpoints than processes, into shards.

    Every checkpoint meets every image in exactly one shard; there are at most `processes` shards, none is empty.
    """
    if len(candidates) >= min(processes, len(images)):
        size = min(processes, len(candidates))
        return [Shard(rank, size, list(candidates[rank::size]), list(images)) for rank in range(size)]
    size = min(processes, len(images))
    return [Shard(rank, size, list(candidates), list(images[rank::size])) for rank in range(size)]


@dataclass
class Outcome:
    """What the processes reported.

    complete: how many shards finished each checkpoint, by the folder of its `Candidate`.
    unusable: why a checkpoint could not be used, by folder.
    errors: why processes ended with bad input.
    """
    complete: Counter[str] = field(default_factory=Counter)
    unusable: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class RunningShard(NamedTuple):
    """A process, its shard, its log and the size of the log before it began."""
    process: Any
    shard: Shard
    log: Path
    log_start: int


def predict_shards(shards: Sequence[Shard], candidates: list[Candidate], images: Sequence[str], cfg: Any,
                   names: set[str], make_loader: MakeLoader) -> list[Candidate]:
    """Test all shards at once and return the checkpoints that were tested on every image, in their order.

    Args:
        shards: see `split_work`.
        candidates, images: what was split.
        cfg: the options of test.py.
        names: the options that the user set.
        make_loader: see `detector_loader`; a function of a module, since the processes import it.

    Raises:
        InputError: bad input (an unreadable image, a damaged checkpoint) left nothing complete; `--process_log` has
            no `{rank}`.
    """
    pattern = log_pattern(cfg, candidates)
    what = "checkpoints" if shards[0].images == list(images) else "images of every checkpoint"
    LOGGER.info("%d processes share the %s; their logs: %s", len(shards), what, pattern)
    title = candidates[0].path.name if len(candidates) == 1 else f"{len(candidates)} checkpoints"
    running: dict[Connection, RunningShard] = {}
    total = len(candidates) * len(images)
    start = time.monotonic()
    with exit_on_sigterm(), progress_bar(total, "images", title) as bar:
        try:
            for shard in shards:
                receiver, process = start_shard(shard, cfg, names, make_loader, pattern)
                running[receiver] = process
            outcome = collect(running, bar.update)
        finally:
            for each in running.values():
                each.process.terminate()
            for each in running.values():
                each.process.join()
    seconds = time.monotonic() - start
    LOGGER.info("%d images in %.1f s, %.2f a second, by %d processes", total, seconds, total / seconds, len(shards))
    return conclude(outcome, shards, candidates, Path(cfg.save_dir))


def start_shard(shard: Shard, cfg: Any, names: set[str], make_loader: MakeLoader,
                pattern: str) -> tuple[Connection, RunningShard]:
    """Start the process of a shard; the connection gives its messages, see `predict_shard`."""
    path = Path(pattern.replace(RANK, str(shard.rank)))
    path.parent.mkdir(parents=True, exist_ok=True)
    log_start = path.stat().st_size if path.is_file() else 0
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=predict_shard, daemon=True, args=(shard, cfg, names, make_loader, path, sender))
    with cores_of(shard, device.choose_target(cfg.device_target) == "CPU"):
        process.start()
    sender.close()
    return receiver, RunningShard(process, shard, path, log_start)


def collect(running: dict[Connection, RunningShard], on_written: Callable[[], None]) -> Outcome:
    """Take the messages of all processes until the last one has ended; a process that failed is logged at once.

    Args:
        running: processes by connection; those that ended are removed.
        on_written: called for every image that was written.
    """
    outcome = Outcome()
    while running:
        receivers: list[Any] = wait(list(running))
        for receiver in receivers:
            try:
                kind, folder, text = receiver.recv()
            except EOFError:
                ended = running.pop(receiver)
                ended.process.join()
                if ended.process.exitcode:
                    log_failure(ended)
                continue
            if kind == "written":
                on_written()
            elif kind == "complete":
                outcome.complete[folder] += 1
            elif kind == "unusable" and folder not in outcome.unusable:
                outcome.unusable[folder] = text
                LOGGER.error("%s", text)
            elif kind == "error":
                outcome.errors.append(text)
    return outcome


def conclude(outcome: Outcome, shards: Sequence[Shard], candidates: list[Candidate],
             save_dir: Path) -> list[Candidate]:
    """Return the checkpoints that were tested on every image, and name those that are incomplete.

    Raises:
        InputError: see `predict_shards`.
    """
    tested = []
    for candidate in candidates:
        expected = sum(candidate in shard.candidates for shard in shards)
        if outcome.complete[candidate.folder] == expected:
            tested.append(candidate)
        elif candidate.folder not in outcome.unusable:
            LOGGER.error("%s: not tested on all images; its predictions in %s are not scored", candidate.path,
                         save_dir / candidate.folder)
    if not tested and len(outcome.unusable) == len(candidates):
        raise (InputError(outcome.unusable[candidates[0].folder]) if len(candidates) == 1
               else nothing_tested(candidates))
    if not tested and outcome.errors:
        raise InputError(outcome.errors[0])
    return tested


def predict_shard(shard: Shard, cfg: Any, names: set[str], make_loader: MakeLoader, path: Path,
                  messages: Connection) -> None:
    """Test a shard in a process of its own.

    Args:
        shard, cfg, names, make_loader: see `predict_shards`.
        path: gets everything that the process prints.
        messages: gets (kind, folder of the candidate, text): "written" for each image, "complete" or "unusable" for
            each checkpoint, "error" before the process ends with status 2.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C reaches the parent, which ends this process
    with path.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ["DEVICE_ID"] = str(shard.rank)
    log.setup().setLevel("DEBUG" if cfg.verbose else "INFO")
    try:
        load = make_loader(cfg, names)
        for candidate in shard.candidates:
            def on_written(_: str, folder: str = candidate.folder) -> None:
                messages.send(("written", folder, ""))

            try:
                predict_checkpoint(candidate, shard.images, load, cfg, on_written)
            except UnusableCheckpoint as error:
                LOGGER.error("%s", error)
                messages.send(("unusable", candidate.folder, str(error)))
            else:
                messages.send(("complete", candidate.folder, ""))
    except BrokenPipeError:                             # the parent was killed
        sys.exit(1)
    except (InputError, OSError) as error:
        LOGGER.error("%s", error)
        messages.send(("error", "", str(error)))
        sys.exit(2)


def log_pattern(cfg: Any, candidates: Sequence[Candidate]) -> str:
    """Give the log file of each process, with `{rank}` in its name."""
    if cfg.process_log:
        if RANK not in cfg.process_log:
            raise InputError(f"--process_log {cfg.process_log}: expected a file name with {RANK} in it, the "
                             "process's number")
        return cfg.process_log
    save_dir = Path(cfg.save_dir)
    # Where the save folder is itself the prediction tree, logs inside would be read as predictions.
    logs = save_dir / "logs" if candidates[0].folder else Path(f"{save_dir.absolute()}_logs")
    return str(logs / f"test_{RANK}.log")


def log_failure(ended: RunningShard) -> None:
    """Log how a process failed, and the end of what it printed."""
    with ended.log.open("rb") as file:
        file.seek(ended.log_start)
        lines = file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    tail = "\n".join(f"    {line}" for line in lines) or "    (empty)"
    LOGGER.error("process %d of %d (pid %d) %s; its part is not complete\nthe end of its log %s:\n%s", ended.shard.rank,
                 ended.shard.world_size, ended.process.pid, describe_exit(ended.process.exitcode), ended.log, tail)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """End this program on SIGTERM within the block as an exception does, so that it can clean up; status 143."""
    def handle(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def cores_of(shard: Shard, on_cpu: bool) -> Iterator[None]:
    """Give its own cores to a process that is started within the block, if it runs on the CPU.

    Two processes whose thread pools each fill the machine slow each other down. The pools of OpenMP, MindSpore and
    OpenCV all count the cores that the process may use; an OMP_NUM_THREADS that the user set is left alone.
    """
    if not on_cpu:
        yield
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    count = len(cores) or os.cpu_count() or 1
    first, last = (rank * count // shard.world_size for rank in (shard.rank, shard.rank + 1))
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = threads or str(max(1, last - first))
    if cores[first:last]:                               # empty: more processes than cores
        os.sched_setaffinity(0, cores[first:last])      # inherited; this thread gets its own back
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
