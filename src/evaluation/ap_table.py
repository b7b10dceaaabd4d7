# SPDX-License-Identifier: Apache-2.0
"""AP of several predictions side by side: the table, the best of each kind, the curve over epochs.

    rows = [ApRow("89", 89, report.ap), ...]
    print(format_table(rows)); print(format_best(rows)); plot(rows, "ap.png")

AP is kept as {IoU: {"easy": .., "medium": .., "hard": ..}}.
"""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.errors import InputError
from src.common.log import LOGGER

SUBSETS = ("easy", "medium", "hard")
MAIN_IOU = 0.5


class ApRow(NamedTuple):
    """The AP of one prediction tree or checkpoint; `epoch` where it has one."""
    name: str
    epoch: int | None
    ap: dict[float, dict[str, float]]

    def values(self, iou: float) -> dict[str, float]:
        """Return the AP by "easy", "medium", "hard", and their "sum"; a subset without faces (NaN) counts as 0."""
        values = {subset: 0.0 if np.isnan(self.ap[iou][subset]) else self.ap[iou][subset] for subset in SUBSETS}
        return {**values, "sum": sum(values.values())}


def format_table(rows: list[ApRow]) -> str:
    """Format a table: name, then easy, medium and hard at each IoU threshold."""
    ious = list(rows[0].ap)
    width = max(len("checkpoint"), *(len(row.name) for row in rows))
    head = "  ".join(f"{f'IoU {iou:g}':<22}" for iou in ious)
    lines = [f"{'':<{width}}  {head}".rstrip(),
             f"{'checkpoint':<{width}}  " + "  ".join("easy    medium  hard  " for _ in ious).rstrip()]
    for row in rows:
        cells = "  ".join("  ".join(f"{row.ap[iou][subset]:.4f}" for subset in SUBSETS) for iou in ious)
        lines.append(f"{row.name:<{width}}  {cells}")
    return "\n".join(lines)


def find_best(rows: list[ApRow], floors: dict[str, float] | None = None,
              iou: float = MAIN_IOU) -> dict[str, ApRow | None]:
    """Find the best row by easy, medium, hard and their sum at one IoU; the later row wins a tie.

    Args:
        rows: in order of epoch.
        floors: only rows with a higher AP count, by "easy", "medium", "hard", "sum".
        iou: the IoU threshold of the AP; the rows' first one where they do not hold it.

    Returns:
        the row by kind; None where no row passes the floors.
    """
    iou = iou if iou in rows[0].ap else next(iter(rows[0].ap))
    passing = [row for row in rows if all(row.values(iou)[kind] > floor for kind, floor in (floors or {}).items())]
    return {kind: max(reversed(passing), key=lambda row: row.values(iou)[kind]) if passing else None
            for kind in (*SUBSETS, "sum")}


def format_best(rows: list[ApRow], floors: dict[str, float] | None = None) -> str:
    """Format a line for each kind: the best checkpoint and its three APs."""
    iou = MAIN_IOU if MAIN_IOU in rows[0].ap else next(iter(rows[0].ap))
    lines = []
    for kind, row in find_best(rows, floors, iou).items():
        if row is None:
            lines.append(f"best by {kind:<6}: none passes the filters {floors}")
            continue
        values = " / ".join(f"{row.ap[iou][subset]:.4f}" for subset in SUBSETS)
        lines.append(f"best by {kind:<6}: {row.name}  ({values} at IoU {iou:g})")
    return "\n".join(lines)


def plot(rows: list[ApRow], path: str | Path, iou: float = MAIN_IOU) -> bool:
    """Draw AP over epochs as a PNG; return False where there are no two epochs or no matplotlib (logged)."""
    rows = [row for row in rows if row.epoch is not None]
    if len(rows) < 2:
        return False
    try:
        from matplotlib.figure import Figure
    except ImportError:
        LOGGER.info("%s is not drawn: matplotlib is not installed (pip install matplotlib)", path)
        return False
    iou = iou if iou in rows[0].ap else next(iter(rows[0].ap))
    figure = Figure(figsize=(7, 4.2), dpi=120)
    axes = figure.add_subplot()
    epochs = np.array([row.epoch for row in rows])
    for subset in SUBSETS:
        axes.plot(epochs, [row.ap[iou][subset] for row in rows], marker=".", label=subset)
    axes.set(xlabel="epoch", ylabel=f"AP at IoU {iou:g}", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    return True


def subset_floors(easy: float, medium: float, hard: float, total: float) -> dict[str, float] | None:
    """Make the floors of `find_best` from the four filter options; those at 0 or below do not count."""
    floors = {"easy": easy, "medium": medium, "hard": hard, "sum": total}
    if not all(np.isfinite(value) for value in floors.values()):
        raise InputError(f"the filters must be numbers, not {floors}")
    return {kind: value for kind, value in floors.items() if value > 0} or None
