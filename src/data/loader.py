# SPDX-License-Identifier: Apache-2.0
"""Training data of all epochs as one endless-looking sequence of samples, the same whatever the number of workers.

    plan = SamplePlan(count=len(records), batch=8, max_epoch=140, seed=1)
    for batch in create_loader(sample, columns, plan, first_step=0): ...

Position -> (epoch, image) is a pure function, and every sample's random generator is seeded by (seed, epoch, image):
a resumed run sees exactly what an uninterrupted one would have seen. A step's images do not depend on how many devices
share them. An image that cannot be read may be replaced by the next one of the epoch, by the same pure function.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Callable

import numpy as np

from dependency.errors import InputError
from src.data.bad_images import MOST_IN_A_ROW, NONE_BAD, BadImageError
from src.data.data_workers import outlive_sigterm, watched
from src.training.settings import OptionNames

# More workers than these are processes.
MOST_THREADS = 2

Sample = Callable[[int, np.random.Generator], tuple]


@dataclass(frozen=True)
class SamplePlan:
    """Which image is used when.

    count: images in the set; batch: images per step on one device; rank, group: this device among `group` devices.
    shuffle: False = every epoch is in the order of the set.
    An epoch is a permutation of all images, filled up from its start to a multiple of `group`, dealt out in turn to
    the devices; images that do not fill a last batch wait for a later epoch's permutation.
    """
    count: int
    batch: int
    max_epoch: int
    seed: int = 1
    rank: int = 0
    group: int = 1
    shuffle: bool = True

    @property
    def steps_per_epoch(self) -> int:
        """Steps that every device makes in an epoch; at least 1, a set smaller than a batch is repeated in it."""
        return max(1, -(-self.count // self.group) // self.batch)

    @property
    def _sharing(self) -> str:
        """What two plans must have in common to use the same images in every step."""
        return f"{self.batch * self.group} on all devices with {self.steps_per_epoch} steps an epoch"

    def first_step(self, position: dict[str, Any] | None, names: OptionNames = OptionNames()) -> int:
        """The step at which a checkpoint's run goes on (0 without one).

        Another number of devices is fine as long as they share the same images a step, and as many steps an epoch.

        Raises:
            InputError: the data, images a step or seed differ, so that the run could not be the same.
        """
        if position is None:
            return 0
        former = replace(self, batch=position["batch"], rank=0, group=position["group"])
        for name, option, had, mine in (
                ("images", names.annotations, position["images"], self.count),
                ("seed", "--seed", position["seed"], self.seed),
                ("batch", f"{names.batch} and number of devices", former._sharing, self._sharing)):
            if had != mine:
                raise InputError(f"{names.resume}: the run had {name} {had}, now it is {mine} ({option}): "
                                 "the order of the data would change. Give the same value, or start anew from the "
                                 "weights alone: "
                                 f"python -m src.tools.convert CKPT WEIGHTS.ckpt, then {names.resume} WEIGHTS.ckpt")
        return int(position["step"])

    def image(self, position: int, further: int = 0) -> tuple[int, int]:
        """(epoch counted from 0, image index) of this device's sample at `position`, counted over all epochs.

        Args:
            further: so many places further in the order of the epoch that all devices share.
        """
        per_epoch = self.steps_per_epoch * self.batch
        epoch, place = divmod(position, per_epoch)
        place = (place * self.group + self.rank + further) % self.count
        return epoch, int(_permutation(self.count, self.seed, epoch)[place]) if self.shuffle else place

    def candidates(self, position: int) -> Iterator[tuple[int, np.random.Generator]]:
        """The image of `position` and its generator, then those to take instead where it cannot be read."""
        for further in range(MOST_IN_A_ROW + 1):
            epoch, index = self.image(position, further)
            # A stand-in looks different from the same image at its own place.
            yield index, np.random.default_rng((self.seed, epoch, index) + ((further,) if further else ()))


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


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


def first_readable(sample: Sample, candidates: Iterable[tuple[int, np.random.Generator]],
                   skips: bool) -> tuple[tuple, int, int]:
    """The first candidate's sample; with `skips` the first one whose images can all be read.

    Returns:
        the columns, the image's index, and the index of the first image that could not be read (NONE_BAD: all could).

    Raises:
        BadImageError: an image cannot be read, without `skips`.
        InputError: not one candidate can be read.
    """
    bad = NONE_BAD
    for index, rng in candidates:
        try:
            return sample(index, rng), index, bad
        except BadImageError as error:
            if not skips:
                raise
            bad, last = (error.index if bad == NONE_BAD else bad), error
    raise InputError(f"{MOST_IN_A_ROW + 1} images in a row cannot be read, the last one: {last}. The data folder looks "
                     "gone (a disk that is no longer mounted?)") from last


def create_loader(sample: Sample, columns: Sequence[str], plan: SamplePlan, first_step: int = 0,
                  workers: int = 0, names: OptionNames = OptionNames(), bad_images: str = "error") -> Any:
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
    if plan.count == 0:
        raise InputError("the training set holds no image with a face: check "
                         f"{names.annotations} and --img_dir with `python -m src.tools.prepare_wider --validate`")
    workers = min(workers or 8, os.cpu_count() or 1)
    processes = workers > MOST_THREADS
    if processes:
        ds.config.set_enable_watchdog(False)        # see data_workers
    source = _Source(sample, plan, first_step, bad_images == "skip")
    if len(source) <= 0:
        raise InputError(f"nothing left to train: step {first_step} is the end of epoch {plan.max_epoch}; "
                         f"raise {names.epochs} to go on")
    data = ds.GeneratorDataset(source, [*columns, "index", "bad"], shuffle=False, num_parallel_workers=workers,
                               python_multiprocessing=processes, max_rowsize=-1)
    return data.batch(plan.batch, drop_remainder=True)


def batches(loader: Any) -> Iterator[tuple]:
    """The loader's batches as tuples of tensors, image indices and bad images last."""
    return watched(loader.create_tuple_iterator(num_epochs=1))
