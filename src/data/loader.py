# SPDX-License-Identifier: Apache-2.0
"""The batches of a training, made by data workers.

    plan = SamplePlan(count=len(records), batch=8, max_epoch=140, seed=1)
    for batch in batches(create_loader(sample, columns, plan, first_step=0)): ...
"""
from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from src.data.data_workers import outlive_sigterm, watched
from src.data.sampler import Sample, SamplePlan, first_readable

# More workers than these are processes.
MOST_THREADS = 2


class _Source:
    """What GeneratorDataset calls: position -> columns."""

    def __init__(self, sample: Sample, plan: SamplePlan, first_step: int, skips: bool):
        self.sample, self.plan, self.skips = sample, plan, skips
        self.first = first_step * plan.batch
        self.creator = os.getpid()
        self.is_ready = False
        self.total = plan.max_epoch * plan.steps_per_epoch * plan.batch

    def __len__(self) -> int:
        return self.total - self.first

    def __getitem__(self, item: int) -> tuple:
        if not self.is_ready:
            outlive_sigterm(self.creator)
            self.is_ready = True
        columns, index, bad = first_readable(self.sample, self.plan.candidates(int(item) + self.first), self.skips)
        return (*columns, np.array(index, np.int32), np.array(bad, np.int32))


def create_loader(sample: Sample, columns: Sequence[str], plan: SamplePlan, first_step: int = 0,
                  workers: int = 0, bad_images: str = "error") -> Any:
    """A `mindspore.dataset` of the batches from step `first_step` to the end of the last epoch.

    Args:
        sample: (image index, generator) -> one array per column; called in the workers.
        columns: their names; two columns are added, int32 [batch]: "index", the image indices, and "bad", the index of
            the image that could not be read and that this one replaces, else NONE_BAD.
        workers: at most one per core; 0 = that, at most 8. Up to MOST_THREADS are threads (OpenCV frees the interpreter
            lock), more are processes.
        bad_images: "error": a `BadImageError` ends the epoch; "skip": the next image of the epoch takes the place.
    """
    import mindspore.dataset as ds
    workers = min(workers or 8, os.cpu_count() or 1)
    processes = workers > MOST_THREADS
    if processes:
        ds.config.set_enable_watchdog(False)        # see data_workers
    source = _Source(sample, plan, first_step, bad_images == "skip")
    data = ds.GeneratorDataset(source, [*columns, "index", "bad"], shuffle=False, num_parallel_workers=workers,
                               python_multiprocessing=processes, max_rowsize=-1)
    return data.batch(plan.batch, drop_remainder=True)


def batches(loader: Any) -> Iterator[tuple]:
    """The loader's batches as tuples of tensors, image indices and bad images last."""
    return watched(loader.create_tuple_iterator(num_epochs=1))
