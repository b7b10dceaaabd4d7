# SPDX-License-Identifier: Apache-2.0
"""results.png: loss, its terms, learning rate and AP over the epochs of a run.

    plot(history, ("hm", "wh"), Path("results.png"))
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dependency.files import atomic_write
from src.run_folder.history import History
from src.run_folder.validation import IOU

# A loss that grows or falls by more is drawn on a logarithmic scale.
LOG_RATIO = 20


def has_matplotlib() -> bool:
    """Check whether matplotlib, which draws the plot, is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def plot(history: History, terms: Sequence[str], path: Path,
         unfinished: tuple[int, Sequence[float], int] | None = None) -> None:
    """Draw the plot; needs matplotlib.

    Args:
        history: the run's metrics; an epoch's "losses" are the mean losses of its equal parts.
        terms: names of the loss terms.
        path: a PNG file.
        unfinished: of an epoch that ended before its last step: epochs before it, its losses, steps of an epoch.
    """
    from matplotlib.figure import Figure
    figure = Figure(figsize=(13, 7.5), dpi=90, layout="constrained")
    (loss, parts), (rate, ap) = figure.subplots(2, 2)
    epochs = history.epochs
    numbers = [line["epoch"] for line in epochs]
    _draw_loss(loss, epochs)
    if unfinished:
        before, losses, steps = unfinished
        loss.plot(before + np.arange(1, len(losses) + 1) / steps, losses, color="tab:red", linewidth=1,
                  label="unfinished epoch")
    for term in terms:
        parts.plot(numbers, [line[term] for line in epochs], marker="o", label=term)
    rate.plot(numbers, [line["lr"] for line in epochs], marker="o", color="tab:purple")
    rate.set_ylim(bottom=0)
    _draw_ap(ap, history)
    for axes, title in ((loss, "loss"), (parts, "loss terms"), (rate, "learning rate"),
                        (ap, f"AP on the val set at IoU {IOU:g}")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_xlim(0, 1.03 * max([1, *numbers]))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    skipped = sum(line["skipped"] for line in epochs)
    if skipped:
        loss.set_title(f"loss; {skipped} steps were skipped: their gradients were not finite", color="tab:red")
    for axes in (loss, parts):
        _choose_scale(axes)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png")


def _draw_loss(axes: Any, epochs: Sequence[dict[str, Any]]) -> None:
    """Draw the mean loss of each epoch, and thin that of its parts, which end where they are drawn."""
    positions = [line["epoch"] - 1 + (part + 1) / len(line["losses"])
                 for line in epochs if line.get("losses") for part in range(len(line["losses"]))]
    values = [value for line in epochs for value in line.get("losses", [])]
    axes.plot(positions, values, color="tab:blue", alpha=0.5, linewidth=1, label="parts of an epoch")
    axes.plot([line["epoch"] for line in epochs], [line["loss"] for line in epochs], marker="o", color="tab:blue",
              label="mean of the epoch")


def _draw_ap(axes: Any, history: History) -> None:
    lines = history.validations
    if not lines:
        axes.text(0.5, 0.5, "no validation", ha="center", va="center", transform=axes.transAxes, color="gray")
        return
    for name in lines[0]["ap"]:
        values = [np.nan if line["ap"][name] is None else line["ap"][name] for line in lines]
        axes.plot([line["epoch"] for line in lines], values, marker="o", label=name,
                  **({"color": "black", "linewidth": 2} if name == "mean" else {}))
    axes.set_ylim(-0.02, 1)
    best = history.best
    if best:
        axes.plot(best["epoch"], best["ap"]["mean"], "k*", markersize=14,
                  label=f"best: {best['ap']['mean']:.4f}, epoch {best['epoch']}")


def _choose_scale(axes: Any) -> None:
    """Make the scale of a loss logarithmic where its values differ much."""
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()] or [np.zeros(0)]).astype(float)
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) and values.max() > LOG_RATIO * values.min():
        axes.set_yscale("log")
    elif len(values):
        axes.set_ylim(bottom=0)
