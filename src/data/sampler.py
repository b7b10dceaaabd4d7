# SPDX-License-Identifier: Apache-2.0
"""Which image is used when: position in the training -> (epoch, image), the same whatever the number of workers.

    plan = SamplePlan(count=len(records), batch=8, max_epoch=140, seed=1)
    columns, index, bad = first_readable(sample, plan.candidates(position), skips=True)

Position -> (epoch, image) is a pure function, and every sample's random generator is seeded by (seed, epoch, image): a
resumed run sees exactly what an uninterrupted one would have seen. A step's images do not depend on how many devices
share them. An image that cannot be read may be replaced by the next one of the epoch, by the same pure function.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable

import numpy as np

from dependency.errors import InputError
from src.data.training_set import NONE_BAD, BadImageError

# So many images in a row that cannot be read are not bad images: something is wrong with all of them.
MOST_IN_A_ROW = 20

# (image index, its random generator) -> one array per column.
Sample = Callable[[int, np.random.Generator], tuple]


@dataclass(frozen=True)
class SamplePlan:
    """Which image is used when.

    count: images in the set; batch: images per step on one device; rank, world_size: this device and the number of
    devices; shuffle: False = every epoch is in the order of the set.
    An epoch is a permutation of all images, filled up from its start to a multiple of `world_size`, dealt out in
    turn to the devices; images that do not fill a last batch wait for a later epoch's permutation.
    """
    count: int
    batch: int
    max_epoch: int
    seed: int = 1
    rank: int = 0
    world_size: int = 1
    shuffle: bool = True

    @property
    def steps_per_epoch(self) -> int:
        """Steps of every device in an epoch; at least 1, a set smaller than a batch is repeated in it."""
        return max(1, -(-self.count // self.world_size) // self.batch)

    @property
    def total_steps(self) -> int:
        """Steps of all epochs."""
        return self.max_epoch * self.steps_per_epoch

    def image(self, position: int, offset: int = 0) -> tuple[int, int]:
        """Return (epoch counted from 0, image index) of this device's sample at `position`, counted over all epochs.

        Args:
            offset: added to the position in the order of the epoch that all devices share.
        """
        epoch, position = divmod(position, self.steps_per_epoch * self.batch)
        position = (position * self.world_size + self.rank + offset) % self.count
        return epoch, int(_permutation(self.count, self.seed, epoch)[position]) if self.shuffle else position

    def candidates(self, position: int) -> Iterator[tuple[int, np.random.Generator]]:
        """Yield the image of `position` and its random generator, then those to take instead if it cannot be read."""
        for offset in range(MOST_IN_A_ROW + 1):
            epoch, index = self.image(position, offset)
            # A replacement looks different from the same image at its own position.
            yield index, np.random.default_rng((self.seed, epoch, index) + ((offset,) if offset else ()))


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def first_readable(sample: Sample, candidates: Iterable[tuple[int, np.random.Generator]],
                   skips: bool) -> tuple[tuple, int, int]:
    """Return the sample of the first candidate; with `skips`, of the first one whose images can all be read.

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
