# SPDX-License-Identifier: Apache-2.0
"""The learning rates of RetinaFace, one float per optimiser step.

    rates = adjust_learning_rate(0.01, 0.1, (70, 90), steps_pre_epoch=402, total_epochs=100, warmup_epoch=5)
"""
from __future__ import annotations

import math
from collections.abc import Sequence

from dependency.errors import InputError
from src.training.lr_schedule import SCHEDULES, schedule

# The rate of standard_lr in the warm-up's first epoch, as a share, and its growth per epoch: 10 ** (1 / 5).
WARMUP_START, WARMUP_GROWTH = 0.1, 1.5849
# Where the warm-up of dynamic_lr begins.
DYNAMIC_START = 1 / 3


def adjust_learning_rate(initial_lr: float, gamma: float, stepvalues: Sequence[int], steps_pre_epoch: int,
                         total_epochs: int, warmup_epoch: float = 5, lr_type: str | None = None) -> list[float]:
    """Compute the learning rate of each of the total_epochs * steps_pre_epoch steps.

    Args:
        initial_lr: the highest rate.
        gamma: standard_lr: the factor of a fall.
        stepvalues: standard_lr, epochs counted from 1: the first fall is at the start of the first of them, later
            ones after the end of theirs.
        warmup_epoch: epochs of rising rate; 0 or -1: none.
        lr_type: "dynamic_lr" = by step, linear from a third, then a cosine whose period is the whole run, so that it
            ends a little above 0; "standard_lr" = by epoch; or a schedule of `src.training.lr_schedule`, of which
            "cosine" ends at 0. None takes cfg_res50['lr_type'].

    Raises:
        InputError: no such lr_type.
    """
    if lr_type is None:
        from src.retinaface.config import cfg_res50
        lr_type = cfg_res50["lr_type"]
    warmup_epoch = max(0, warmup_epoch)
    if lr_type == "dynamic_lr":
        return _dynamic(initial_lr, round(warmup_epoch * steps_pre_epoch), total_epochs * steps_pre_epoch)
    if lr_type == "standard_lr":
        return [rate for epoch in range(1, total_epochs + 1)
                for rate in [_standard(initial_lr, gamma, stepvalues, epoch, warmup_epoch)] * steps_pre_epoch]
    if lr_type not in SCHEDULES:
        raise InputError(f"--lr_type: '{lr_type}' is not one of dynamic_lr, standard_lr, {', '.join(SCHEDULES)}")
    return schedule(lr_type, lr=initial_lr, steps_per_epoch=steps_pre_epoch, max_epoch=total_epochs,
                    warmup_epochs=warmup_epoch, lr_epochs=stepvalues, lr_gamma=gamma)


def _dynamic(lr: float, warmup: int, total: int) -> list[float]:
    rising = [lr * (DYNAMIC_START + (1 - DYNAMIC_START) * step / warmup) for step in range(min(warmup, total))]
    falling = [lr * (1 + math.cos(math.pi * (step - warmup) / total)) / 2 for step in range(warmup, total)]
    return rising + falling


def _standard(lr: float, gamma: float, stepvalues: Sequence[int], epoch: int, warmup_epoch: float) -> float:
    if epoch <= warmup_epoch:
        return WARMUP_START * lr * WARMUP_GROWTH ** (epoch - 1)
    falls = sum(epoch > value for value in stepvalues)
    if stepvalues and epoch == stepvalues[0]:
        falls += 1
    return lr * gamma ** falls
