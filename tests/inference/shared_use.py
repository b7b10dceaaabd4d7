# SPDX-License-Identifier: Apache-2.0
"""Backends that several threads share, or that a forked child gets from its parent."""
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dependency.errors import InputError


def use_from_two_threads(backends, images):
    """Whether two threads, with a backend each or with one for both, get what one thread gets."""
    expected = backends[0](images)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda number: backends[number % len(backends)](images), range(6)))
    return all(np.array_equal(one, other) for outputs in found for one, other in zip(outputs, expected))


def is_refused_in_a_child(use):
    """Whether `use` raises one line about the fork in a forked child, within twenty seconds."""
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            use()
            os._exit(1)
        except InputError as error:
            os._exit(0 if "forked" in str(error) and "\n" not in str(error) else 2)
        finally:
            os._exit(3)
    return os.waitpid(child, 0)[1] == 0
