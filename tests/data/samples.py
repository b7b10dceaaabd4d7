# SPDX-License-Identifier: Apache-2.0
"""Sample functions that worker processes can import."""
import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from src.data.training_set import BadImageError


def sample(index, rng):
    return np.array([index, rng.integers(1 << 30)], np.int64), np.full((2, 2), index, np.uint8)


@dataclass(frozen=True)
class Unreadable:
    """A sample function for which these images cannot be read."""
    bad: tuple

    def __call__(self, index, rng):
        if index in self.bad:
            raise BadImageError(f"{index}.jpg: not a readable image", index)
        return sample(index, rng)


def unreadable(*bad):
    return Unreadable(bad)


def signalled(index, rng):
    """Each worker gets the signals of a stop of the whole job."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    return sample(index, rng)


def slow(index, rng):
    time.sleep(0.2)
    return sample(index, rng)
