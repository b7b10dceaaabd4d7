# SPDX-License-Identifier: Apache-2.0
"""Learning rates as plain lists: one float per optimiser step, computed before training.

    rates = schedule("multistep", lr=4e-3, steps_per_epoch=198, max_epoch=140, lr_epochs=[90, 120])
"""
import math
from collections.abc import Sequence
from typing import Callable

from dependency.errors import InputError

# The reference's "sample" schedule skips every second of these epochs of a longer cosine.
SKIPPED_EPOCHS = range(60, 180, 2)


def schedule(name: str, *, lr: float, steps_per_epoch: int, max_epoch: int, warmup_epochs: float = 0.0,
             lr_epochs: Sequence[int] = (), lr_gamma: float = 0.1, eta_min: float = 0.0,
             t_max: int = 0) -> list[float]:
    """Compute the learning rate of each of the max_epoch * steps_per_epoch steps.

    Args:
        name: one of SCHEDULES. `multistep` and `exponential` multiply by lr_gamma at the first step of each epoch in
            lr_epochs (counted from 0); `cosine` falls with every step to eta_min at the end; `cosine_annealing` is
            the manual's, constant within an epoch, with period t_max (at least max_epoch) epochs.
        warmup_epochs: linear rise (i + 1) / n over the first n = warmup_epochs * steps_per_epoch steps.
        eta_min: the final rate of the cosines.
    """
    if name not in SCHEDULES:
        raise InputError(f"--lr_scheduler: '{name}' is not one of {', '.join(SCHEDULES)}")
    total = max_epoch * steps_per_epoch
    warmup = min(int(warmup_epochs * steps_per_epoch), total)
    if name == "cosine":
        rates = [_cosine(lr, eta_min, step - warmup, max(1, total - warmup)) for step in range(total)]
    elif name in ("multistep", "exponential"):
        rates = [lr * lr_gamma ** sum(step // steps_per_epoch >= epoch for epoch in lr_epochs)
                 for step in range(total)]
    else:
        by_epoch = EPOCH_SCHEDULES[name](lr, eta_min, max_epoch, max(t_max, max_epoch))
        rates = [by_epoch[step // steps_per_epoch] for step in range(total)]
    rates[:warmup] = [lr * (step + 1) / warmup for step in range(warmup)]
    return rates


def _cosine(lr: float, eta_min: float, position: float, period: float) -> float:
    """Compute the rate at `position` of a cosine (Loshchilov and Hutter 2017, equation 5)."""
    return eta_min + (lr - eta_min) * (1 + math.cos(math.pi * max(position, 0) / period)) / 2


def _annealing(lr: float, eta_min: float, max_epoch: int, t_max: int) -> list[float]:
    return [_cosine(lr, eta_min, epoch, t_max) for epoch in range(max_epoch)]


def _annealing_v2(lr: float, eta_min: float, max_epoch: int, t_max: int) -> list[float]:
    """Compute two thirds of a cosine, then a second cosine of max_epoch / 3 epochs from the rate reached."""
    first = math.ceil(max_epoch * 2 / 3)
    rates = _annealing(lr, eta_min, first, t_max)
    rest = max(1, max_epoch // 3)
    return rates + [_cosine(rates[-1], eta_min, epoch - (first - 1), rest) for epoch in range(first, max_epoch)]


def _annealing_sample(lr: float, eta_min: float, max_epoch: int, t_max: int) -> list[float]:
    """Compute a cosine over max_epoch + 60 epochs and leave out 60 of them: every second one from the 60th."""
    period = max_epoch + len(SKIPPED_EPOCHS)
    kept = [epoch for epoch in range(period) if epoch not in SKIPPED_EPOCHS]
    return [_cosine(lr, eta_min, epoch, period) for epoch in kept[:max_epoch]]


# (lr, eta_min, max_epoch, t_max) -> the rate of each epoch.
EPOCH_SCHEDULES: dict[str, Callable[[float, float, int, int], list[float]]] = {
    "cosine_annealing": _annealing, "cosine_annealing_V2": _annealing_v2, "cosine_annealing_sample": _annealing_sample,
}
SCHEDULES = ("multistep", "exponential", "cosine", *EPOCH_SCHEDULES)
