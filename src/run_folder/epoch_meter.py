# SPDX-License-Identifier: Apache-2.0
"""Means over the steps of an epoch.

    meter = EpochMeter(terms=4)
    meter.add(loss, terms, finite=True, bad_images=0)
    meter.loss, meter.means, meter.part_means
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# Parts of an epoch whose mean losses the metrics keep.
PARTS = 20


@dataclass
class EpochMeter:
    """Running means over one epoch; data_seconds: time spent waiting for batches; losses: of each step."""
    terms: int
    steps: int = 0
    skipped: int = 0
    bad_images: int = 0
    data_seconds: float = 0.0
    loss: float = 0.0
    losses: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def add(self, loss: float, terms: Sequence[float], finite: bool, bad_images: int) -> None:
        self.steps += 1
        self.bad_images += bad_images
        self.skipped += not finite
        self.loss += (loss - self.loss) / self.steps
        self.losses.append(loss)
        self.sums = [total + term for total, term in zip(self.sums or [0.0] * self.terms, terms)]

    @property
    def means(self) -> list[float]:
        return [total / max(1, self.steps) for total in self.sums]

    @property
    def part_means(self) -> list[float]:
        """The mean losses of at most PARTS equal parts of the epoch."""
        return [round(float(np.mean(part)), 6) for part in np.array_split(self.losses, min(PARTS, self.steps))]
