# SPDX-License-Identifier: Apache-2.0
"""Training data of all epochs as one endless-looking sequence of samples, the same whatever the number of workers.

    plan = SamplePlan(count=len(records), batch=8, max_epoch=140, seed=1)
    for batch in create_loader(sample, columns, plan, first_step=0): ...

Position -> (epoch, image) is a pure function, and every sample's random generator is seeded by (seed, epoch, image):
a resumed run sees exactly what an uninterrupted one would have seen.
"""
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Iterator, Optional, Sequence

import numpy as np

from dependency.errors import InputError
from src.common.run_settings import OptionNames

Sample = Callable[[int, np.random.Generator], tuple]


@dataclass(frozen=True)
class SamplePlan:
    """Which image is used when.

    count: images in the set; batch: images per step on one device; rank, group: this device among `group` devices.
    An epoch is a permutation of all images, filled up from its start to a multiple of `group`, dealt out in turn to
    the devices; images that do not fill a last batch wait for a later epoch's permutation.
    """
    count: int
    batch: int
    max_epoch: int
    seed: int = 1
    rank: int = 0
    group: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Steps that every device makes in an epoch; at least 1, a set smaller than a batch is repeated in it."""
        return max(1, -(-self.count // self.group) // self.batch)

    def first_step(self, position: Optional[dict[str, Any]], names: OptionNames = OptionNames()) -> int:
        """The step at which a checkpoint's run goes on (0 without one).

        Raises:
            InputError: the data, batch size or seed differ, so that the run could not be the same.
        """
        if position is None:
            return 0
        for name, option, mine in (("images", names.annotations, self.count), ("batch", names.batch, self.batch),
                                   ("group", "number of devices", self.group), ("seed", "--seed", self.seed)):
            if position[name] != mine:
                raise InputError(f"{names.resume}: the run had {name} {position[name]}, now it is {mine} ({option}): "
                                 "the order of the data would change. Give the same value, or start anew from the "
                                 "weights alone: "
                                 f"python -m src.tools.convert CKPT WEIGHTS.ckpt, then {names.resume} WEIGHTS.ckpt")
        return int(position["step"])

    def image(self, position: int) -> tuple[int, int]:
        """(epoch counted from 0, image index) of this device's sample at `position`, counted over all epochs."""
        per_epoch = self.steps_per_epoch * self.batch
        epoch, place = divmod(position, per_epoch)
        order = _permutation(self.count, self.seed, epoch)
        return epoch, int(order[(place * self.group + self.rank) % self.count])


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


class _Source:
    """What GeneratorDataset calls: position -> columns."""

    def __init__(self, sample: Sample, plan: SamplePlan, first_step: int):
        self.sample, self.plan = sample, plan
        self.first = first_step * plan.batch
        self.total = plan.max_epoch * plan.steps_per_epoch * plan.batch

    def __len__(self) -> int:
        return self.total - self.first

    def __getitem__(self, item: int) -> tuple:
        epoch, index = self.plan.image(int(item) + self.first)
        rng = np.random.default_rng((self.plan.seed, epoch, index))
        return (*self.sample(index, rng), np.array(index, np.int32))


def create_loader(sample: Sample, columns: Sequence[str], plan: SamplePlan, first_step: int = 0,
                  workers: int = 0, names: OptionNames = OptionNames()) -> Any:
    """A `mindspore.dataset` of the batches from step `first_step` to the end of the last epoch.

    Args:
        sample: (image index, generator) -> one array per column; called in the workers.
        columns: their names; a last column "index" (int32 [batch], the image indices) is added.
        workers: 0 = one per core, at most 8. Up to two are threads (OpenCV frees the interpreter lock), more are
            processes.
    """
    import mindspore.dataset as ds
    if plan.count == 0:
        raise InputError("the training set holds no image with a face: check "
                         f"{names.annotations} and --img_dir with `python -m src.tools.prepare_wider --validate`")
    workers = workers or min(8, os.cpu_count() or 1)
    source = _Source(sample, plan, first_step)
    if len(source) <= 0:
        raise InputError(f"nothing left to train: step {first_step} is the end of epoch {plan.max_epoch}; "
                         f"raise {names.epochs} to go on")
    data = ds.GeneratorDataset(source, [*columns, "index"], shuffle=False, num_parallel_workers=workers,
                               python_multiprocessing=workers > 2, max_rowsize=-1)
    return data.batch(plan.batch, drop_remainder=True)


def batches(loader: Any) -> Iterator[tuple]:
    """The loader's batches as tuples of tensors, image indices last."""
    return loader.create_tuple_iterator(num_epochs=1)
