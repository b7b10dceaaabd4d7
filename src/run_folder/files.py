# SPDX-License-Identifier: Apache-2.0
"""The names of a run's files.

    files = RunFiles(Path("outputs/2026-11-28_time_22_42_33"))
    files.checkpoint(epoch=3, done=594)     # outputs/.../0-3_594.ckpt
    files.path(BEST)                        # outputs/.../best.ckpt
"""
from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from src.weights.checkpoint import checkpoint_name

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
# In a run with validation: the checkpoint of the highest AP, and the newest one. Their names are not those of an epoch:
# test.py's evaluation of all checkpoints of a folder does not test them twice.
BEST, LAST = "best.ckpt", "last.ckpt"
RESULTS = "results.png"


@dataclass(frozen=True)
class RunFiles:
    """The files of a run in `run_dir`: checkpoints `<checkpoint_prefix>-<epoch>_<step>.ckpt`, others `<prefix><name>`.

    steps_per_epoch: checkpoint names end with the step within the epoch; 0: with the steps since training began.
    """
    run_dir: Path
    checkpoint_prefix: str = "0"
    steps_per_epoch: int = 0
    prefix: str = ""

    def checkpoint(self, epoch: int, done: int) -> Path:
        """Return the path of the checkpoint after `done` steps, in epoch `epoch` (counted from 1)."""
        step = done - (epoch - 1) * self.steps_per_epoch if self.steps_per_epoch else done
        return self.run_dir / checkpoint_name(self.checkpoint_prefix, epoch, step)

    def path(self, name: str) -> Path:
        """Return the path of any other file of the run."""
        return self.run_dir / f"{self.prefix}{name}"

    def describe_checkpoints(self, count: int, keep: int, size: int, is_validated: bool) -> str:
        """Say how many checkpoints a run leaves, and how large they are together.

        Args:
            count: of the checkpoints that it will write; keep: of the newest ones that stay, 0 = all; size: of one, in
                bytes; is_validated: BEST and LAST are written, too.
        """
        kept = min(count, keep or count)
        # Best and last one are second names of files; that of a file which goes is all that holds it.
        total = size * (kept + 2 * (is_validated and kept < count)) / 1e9
        free = shutil.disk_usage(self.run_dir).free / 1e9
        stay = f"the newest {kept} of {count} checkpoints stay" if kept < count else f"all checkpoints stay: {count}"
        names = f"with {BEST} and {LAST}" if is_validated else "together"
        return (f"{stay}, each {size / 1e6:.1f} MB, {names} at most {total:.2f} GB; the disk has "
                f"{free:.1f} GB free" + ("" if total < free else ", TOO LITTLE: give a smaller --keep_checkpoint_max"))
