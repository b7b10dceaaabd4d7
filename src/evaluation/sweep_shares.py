# SPDX-License-Identifier: Apache-2.0
"""A sweep in shares: who tests what, and how the process of one share works and reports.

    shares = deal(candidates, images, processes=8)          # the process that shares: sweep_processes.py
    received = receive()                                    # the process of a share; None in any other
    if received:
        return work(*received, make_load, test)

A share comes as JSON on standard input, and the environment variable FACEDET_TEST_SHARE holds the file descriptor of
a pipe that takes the reports, a JSON list a line: ["begun", folder], ["written", folder, image],
["absent", folder], ["failed", folder, why], ["error", why]. `folder` is that of the `Candidate`.
When the pipe's other end closes, the process that shares is gone, and this one ends too.
"""
from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from dependency.errors import InputError
from src.common.log import LOGGER
from src.evaluation.sweep import Candidate, UnusableCheckpoint, test_one

VARIABLE = "FACEDET_TEST_SHARE"
# What SIGTERM interrupts may take this long to end: writing a file, reading an image.
GRACE_SECONDS = 5.0


class Share(NamedTuple):
    """What one process tests: each of its checkpoints on each of its images.

    rank: the number of the process, from 0.
    processes: how many there are.
    candidates, images: this share's.
    single: the whole run has one checkpoint, so that its errors are the run's.
    """
    rank: int
    processes: int
    candidates: list[Candidate]
    images: list[str]
    single: bool

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps(self._replace(candidates=[[str(path), folder] for path, folder in self.candidates])._asdict())

    @classmethod
    def from_json(cls, text: str) -> Share:
        """The share that `to_json` wrote."""
        share = cls(**json.loads(text))
        return share._replace(candidates=[Candidate(Path(path), folder) for path, folder in share.candidates])


def deal(candidates: Sequence[Candidate], images: Sequence[str], processes: int, single: bool = False) -> list[Share]:
    """Deal the work out in turn: the checkpoints, or the images where there are fewer checkpoints than processes.

    Args:
        candidates: the checkpoints to test.
        images: the images of the split.
        processes: most shares wanted; there are fewer if some would be empty.
        single: see `Share`.

    Returns:
        shares of nearly equal size; every checkpoint meets every image in exactly one of them.

    Raises:
        InputError: fewer than one process.
    """
    if processes < 1:
        raise InputError(f"--processes {processes}: expected 1 or more, such as one for each device")
    if len(candidates) >= min(processes, len(images)):
        count = min(processes, len(candidates))
        return [Share(rank, count, list(candidates[rank::count]), list(images), single) for rank in range(count)]
    count = min(processes, len(images))
    return [Share(rank, count, list(candidates), list(images[rank::count]), single) for rank in range(count)]


class Reports:
    """The way back to the process that shares; ends this process when that one is gone.

    Args:
        handle: the pipe's file descriptor.
    """

    def __init__(self, handle: int):
        os.set_inheritable(handle, False)
        self._pipe = os.fdopen(handle, "w", encoding="utf-8")
        threading.Thread(target=self._end_with_reader, args=(handle,), daemon=True).start()

    def tell(self, *message: str) -> None:
        """Send one message."""
        self._pipe.write(json.dumps(message) + "\n")
        self._pipe.flush()

    @staticmethod
    def _end_with_reader(handle: int) -> None:
        watch = select.poll()
        watch.register(handle, 0)       # nothing but the end of the other side
        watch.poll()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(128 + signal.SIGTERM)


def receive() -> tuple[Share, Reports] | None:
    """The share of this process and where to report; None if it was not started for a share."""
    handle = os.environ.pop(VARIABLE, None)
    if handle is None:
        return None
    # An ordinary exit, so that a file being written is not left half way.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    return Share.from_json(sys.stdin.read()), Reports(int(handle))


def work(share: Share, reports: Reports, make_load: Callable[[], Callable[[Path], Any]],
         test: Callable[[Any, Candidate, Sequence[str], Callable[[str], None]], None]) -> int:
    """Test a share; a checkpoint among several that cannot be used is told, and the next one comes.

    Args:
        share, reports: see `receive`.
        make_load: starts the device and gives the function from a checkpoint file to its detector.
        test: (detector, candidate, images, on_written) -> None; see `predict_images`.

    Returns:
        the exit status, 0.

    Raises:
        InputError, OSError: what ends the whole share; it was told.
    """
    def one(detector: Any, candidate: Candidate) -> None:
        test(detector, candidate, share.images, lambda image: reports.tell("written", candidate.folder, image))

    try:
        load = make_load()
        for candidate in share.candidates:
            reports.tell("begun", candidate.folder)
            if share.single:
                one(load(candidate.path), candidate)
                continue
            try:
                if not test_one(candidate, load, one):
                    reports.tell("absent", candidate.folder)
            except UnusableCheckpoint as error:
                LOGGER.error("%s", error)
                reports.tell("failed", candidate.folder, str(error))
    except (InputError, OSError) as error:
        reports.tell("error", str(error))
        raise
    return 0
