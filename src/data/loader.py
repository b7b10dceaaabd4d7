# SPDX-License-Identifier: Apache-2.0
"""The batches of a training, made by data workers ahead of the step that needs them.

    for *columns, index, bad in batches(sample, plan, first_step=0): ...

Up to MOST_THREADS workers are threads (OpenCV releases the interpreter lock), more are processes. The pool is Python's
own, because `mindspore.dataset.GeneratorDataset` takes SIGTERM and SIGINT from the training, and waits forever for the
data of a killed worker process.
"""
from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Callable

import cv2
import numpy as np

from dependency.errors import TrainingError
from src.data.sampler import Sample, SamplePlan, first_readable

MOST_THREADS = 2
MOST_WORKERS = 8

Batch = tuple[np.ndarray, ...]


class DataError(TrainingError):
    """No more batches come; what was learnt so far is intact."""


@dataclass(frozen=True)
class _Maker:
    """Position in the training -> the sample's columns, its image index and the index of a bad image it replaces."""
    sample: Sample
    plan: SamplePlan
    skips: bool

    def __call__(self, position: int) -> tuple:
        columns, index, bad = first_readable(self.sample, self.plan.candidates(position), self.skips)
        return (*columns, np.int32(index), np.int32(bad))


def batches(sample: Sample, plan: SamplePlan, first_step: int = 0, workers: int = 0,
            bad_images: str = "error") -> Generator[Batch, None, None]:
    """Yield the batches from step `first_step` to the end of the last epoch.

    Each has one array [batch, ...] per column of the sample and two more, int32 [batch]: the image indices, and the
    index of the image that could not be read and that this one replaces, else NONE_BAD.

    Args:
        sample: (image index, generator) -> one array per column; called in the workers.
        workers: at most one per core; 0 = that, at most MOST_WORKERS.
        bad_images: "error": an image that cannot be read is an error; "skip": the next image of the epoch replaces it.

    Raises:
        DataError: a sample could not be made, or a worker process was killed.
    """
    workers = min(workers or MOST_WORKERS, os.cpu_count() or 1)
    pool, make = _start_pool(workers, _Maker(sample, plan, bad_images == "skip"))
    positions = iter(range(first_step * plan.batch, plan.total_steps * plan.batch))
    ahead = 2 * plan.batch + workers
    try:
        futures = deque(pool.submit(make, position) for position in islice(positions, ahead))
        while futures:
            rows = [_result(futures.popleft()) for _ in range(plan.batch)]
            futures.extend(pool.submit(make, position) for position in islice(positions, plan.batch))
            yield tuple(np.stack(column) for column in zip(*rows))
    except BrokenProcessPool as error:
        raise DataError("a data worker process was killed (possibly out of memory; check dmesg); fewer workers need "
                        "less memory") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_pool(workers: int, maker: _Maker) -> tuple[Executor, Callable[[int], tuple]]:
    """Start the workers: threads, or processes if there are many; return them with the function that they call."""
    if workers <= MOST_THREADS:
        return ThreadPoolExecutor(workers, "data worker"), maker
    return ProcessPoolExecutor(workers, _WorkerContext(), _start_worker, (maker,)), _make_in_worker


def _result(future: Future) -> tuple:
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:
        raise DataError(f"reading the training data failed: {error}") from error


class _WorkerProcess(SpawnProcess):
    """A process that SIGTERM, SIGINT and SIGHUP do not end.

    Batch systems, `timeout`, Ctrl+C and a closed terminal signal all processes of a job. The main process then
    finishes the running step and saves a checkpoint, for which it may need one more batch.
    """

    def start(self) -> None:
        numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        former = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)      # inherited
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)

    def terminate(self) -> None:
        self.kill()


class _WorkerContext(SpawnContext):
    """Starts fresh interpreters: a fork would copy MindSpore with its threads and locks."""
    Process = _WorkerProcess


_maker: _Maker


def _start_worker(maker: _Maker) -> None:
    """Keep the maker, with its records, in this worker process: it is sent once, not with every position."""
    global _maker
    _maker = maker
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _make_in_worker(position: int) -> tuple:
    return _maker(position)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
