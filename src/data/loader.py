# SPDX-License-Identifier: Apache-2.0
"""The batches of a training, made by data workers ahead of the step that needs them.

    for *columns, index, bad in batches(sample, plan, first_step=0): ...

Up to MOST_THREADS workers are threads (OpenCV releases the interpreter lock), more are processes. The pool is Python's
own, because `mindspore.dataset.GeneratorDataset` takes SIGTERM and SIGINT from the training, and waits forever for the
data of a killed worker process. The arrays of the annotations are in one file that all worker processes map.
"""
from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import accumulate, islice
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Callable

import cv2
import numpy as np

from dependency.errors import TrainingError
from src.data.sampler import Sample, SamplePlan, first_readable

MOST_THREADS = 2
MOST_WORKERS = 8
# Bytes: arrays in the shared file begin at multiples of it.
ALIGNMENT = 64
# glibc's numbers of settings, and bytes: of a block that is a mapping of its own, of free memory that is kept.
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 32 << 20), (-1, 256 << 20)

Batch = tuple[np.ndarray, ...]


class DataError(TrainingError):
    """No more batches come; what was learnt so far is intact."""


@dataclass(frozen=True)
class _Maker:
    """Position in the training -> the sample's columns, its image index and the index of a bad image it replaces."""
    sample: Sample
    plan: SamplePlan
    skips: bool
    late: tuple[int, Sample] | None

    def __call__(self, position: int) -> tuple:
        epoch, _ = self.plan.image(position)
        sample = self.late[1] if self.late and epoch >= self.late[0] else self.sample
        columns, index, bad = first_readable(sample, self.plan.candidates(position), self.skips)
        return (*columns, np.int32(index), np.int32(bad))


def batches(sample: Sample, plan: SamplePlan, first_step: int = 0, workers: int = 0,
            bad_images: str = "error", late: tuple[int, Sample] | None = None) -> Generator[Batch, None, None]:
    """Yield the batches from step `first_step` to the end of the last epoch.

    Each has one array [batch, ...] per column of the sample and two more, int32 [batch]: the image indices, and the
    index of the image that could not be read and that this one replaces, else NONE_BAD.

    Args:
        sample: (image index, generator) -> one array per column; called in the workers.
        workers: at most one per core; 0 = that, at most MOST_WORKERS.
        bad_images: "error": an image that cannot be read is an error; "skip": the next image of the epoch replaces it.
        late: an epoch, counted from 0, and what makes the samples from this epoch on instead of `sample`.

    Raises:
        DataError: a sample could not be made, or a worker process was killed.
    """
    workers = min(workers or MOST_WORKERS, os.cpu_count() or 1)
    keep_freed_memory()
    stack = ExitStack()
    pool, make = _start_pool(workers, _Maker(sample, plan, bad_images == "skip", late), stack)
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
        stack.close()


def _start_pool(workers: int, maker: _Maker, stack: ExitStack) -> tuple[Executor, Callable[[int], tuple]]:
    """Start the workers: threads, or processes if there are many; return them with the function that they call.

    Args:
        stack: removes the file of the shared arrays when it is closed.
    """
    if workers <= MOST_THREADS:
        return ThreadPoolExecutor(workers, "data worker"), maker
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    shared = share(maker, os.path.join(folder, "arrays"))
    return ProcessPoolExecutor(workers, _WorkerContext(), _start_worker, shared), _make_in_worker


def share(value: Any, path: str) -> tuple[str, bytes, list[int]]:
    """Pickle a value with its NumPy arrays in a file; return what `load_shared` takes."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    sizes = []
    with open(path, "wb") as file:
        for buffer in buffers:
            sizes.append(file.write(buffer.raw()))
            sizes.append(file.write(bytes(-sizes[-1] % ALIGNMENT)))
    return path, pickled, sizes


def load_shared(path: str, pickled: bytes, sizes: list[int]) -> Any:
    """Load what `share` pickled; its arrays are those of the file, in memory once for all processes, and read-only."""
    if not sum(sizes):
        return pickle.loads(pickled, buffers=[b""] * (len(sizes) // 2))
    with open(path, "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    starts = list(accumulate(sizes, initial=0))
    return pickle.loads(pickled, buffers=[whole[start:start + size]
                                          for start, size in zip(starts[::2], sizes[::2])])


def keep_freed_memory() -> None:
    """Let this process use the memory of one image for the next one, instead of giving it back and asking for it anew.

    With glibc only; elsewhere nothing changes.
    """
    with suppress(AttributeError, OSError, TypeError):
        for setting in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(*setting)


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


def _start_worker(*shared: Any) -> None:
    """Keep the maker, with its records, in this worker process: it is sent once, not with every position."""
    global _maker
    _maker = load_shared(*shared)
    keep_freed_memory()
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _make_in_worker(position: int) -> tuple:
    return _maker(position)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
