# SPDX-License-Identifier: Apache-2.0
"""AP of several predictions side by side: the table, the best of each kind, the curve over epochs.

    rows = [ApRow("89", 89, report.ap), ...]
    print(format_table(rows)); print(format_best(rows, compare_rows(rows))); plot(rows, "ap.png")

AP is kept as {IoU: {"easy": .., "medium": .., "hard": ..}}.
"""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.errors import InputError
from dependency.evaluate.bootstrap import Replicates, compare
from src.common.log import LOGGER

SUBSETS = ("easy", "medium", "hard")
MAIN_IOU = 0.5


class ApRow(NamedTuple):
    """The AP of one prediction tree or checkpoint; `epoch` where it has one.

    replicates, left_out: of the `Report`; rows that leave out other images are not compared.
    """
    name: str
    epoch: int | None
    ap: dict[float, dict[str, float]]
    replicates: dict[float, dict[str, Replicates]] | None = None
    left_out: tuple[str, ...] = ()

    def values(self, iou: float) -> dict[str, float]:
        """Return the AP by "easy", "medium", "hard", and their "sum"; a subset without faces (NaN) counts as 0."""
        values = {subset: 0.0 if np.isnan(self.ap[iou][subset]) else self.ap[iou][subset] for subset in SUBSETS}
        return {**values, "sum": sum(values.values())}

    def samples(self, iou: float) -> dict[str, np.ndarray]:
        """Return the replicates of `values` [R]."""
        samples = {subset: each.ap for subset, each in self.replicates[iou].items()} if self.replicates else {}
        return {**samples, "sum": np.nansum(list(samples.values()), axis=0)}


class Comparison(NamedTuple):
    """The best row of a kind ("easy", "medium", "hard", "sum") at an IoU, and one of the others.

    difference: AP of the best less that of the other; low, high: its 95 % interval, paired by image.
    probability: that the best is better; a tie counts half.
    """
    iou: float
    kind: str
    best: str
    other: str
    difference: float
    low: float
    high: float
    probability: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def format_table(rows: list[ApRow]) -> str:
    """Format a table: name, then easy, medium and hard at each IoU threshold, with half the width of the interval."""
    ious = list(rows[0].ap)
    width = max(len("checkpoint"), *(len(row.name) for row in rows))
    cell = 13 if any(row.replicates for row in rows) else 6
    head = "  ".join(f"{f'IoU {iou:g}':<{3 * cell + 4}}" for iou in ious)
    lines = [f"{'':<{width}}  {head}".rstrip(),
             f"{'checkpoint':<{width}}  " + "  ".join(f"{name:<{cell}}" for _ in ious for name in SUBSETS).rstrip()]
    for row in rows:
        cells = "  ".join(f"{_cell(row, iou, subset):<{cell}}" for iou in ious for subset in SUBSETS)
        lines.append(f"{row.name:<{width}}  {cells}".rstrip())
    return "\n".join([*lines, "±: half the 95 % interval"] if cell > 6 else lines)


def _cell(row: ApRow, iou: float, subset: str) -> str:
    value = f"{row.ap[iou][subset]:.4f}"
    if not row.replicates:
        return value
    _, low, high = row.replicates[iou][subset]
    return f"{value}±{(high - low) / 2:.4f}"


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


def compare_rows(rows: list[ApRow], floors: dict[str, float] | None = None) -> list[Comparison]:
    """Compare the best row of each kind with the others, at every IoU, the closest first; rows without replicates not.

    Rows that leave out other images than the best one are not compared.
    """
    comparisons = []
    for iou in rows[0].ap:
        for kind, best in find_best(rows, floors, iou).items():
            if best is None or not best.replicates:
                continue
            samples, value = best.samples(iou)[kind], best.values(iou)[kind]
            others = [row for row in rows if row is not best and row.replicates and row.left_out == best.left_out]
            for row in sorted(others, key=lambda row: -row.values(iou)[kind]):
                difference = compare(samples, row.samples(iou)[kind])
                if np.isfinite(difference.low):
                    comparisons.append(Comparison(iou, kind, best.name, row.name, value - row.values(iou)[kind],
                                                  *difference))
    return comparisons


def format_best(rows: list[ApRow], comparisons: list[Comparison], floors: dict[str, float] | None = None) -> str:
    """Format a line for each kind: the best checkpoint and its three APs; and those that cannot be told from it."""
    iou = MAIN_IOU if MAIN_IOU in rows[0].ap else next(iter(rows[0].ap))
    lines = []
    for kind, row in find_best(rows, floors, iou).items():
        if row is None:
            lines.append(f"best by {kind:<6}: none passes the filters {floors}")
            continue
        values = " / ".join(f"{row.ap[iou][subset]:.4f}" for subset in SUBSETS)
        lines.append(f"best by {kind:<6}: {row.name}  ({values} at IoU {iou:g})")
        of_kind = [each for each in comparisons if (each.iou, each.kind) == (iou, kind)]
        equal, worse = ([each for each in of_kind if each.is_sure is sure] for sure in (False, True))
        if equal:
            lines.append(f"    cannot be told from it: {'; '.join(map(_format_comparison, equal))}")
        if worse:
            more = f"; and {len(worse) - 1} more" if len(worse) > 1 else ""
            lines.append(f"    better than: {_format_comparison(worse[0])}{more}")
    apart = len({row.left_out for row in rows}) > 1 and any(row.replicates for row in rows)
    return "\n".join([*lines, "runs over different images are not compared"] if apart else lines)


def _format_comparison(each: Comparison) -> str:
    return (f"{each.other} by {each.difference:.4f} [{each.low:.4f}, {each.high:.4f}], better with probability "
            f"{each.probability:.2f}")


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
