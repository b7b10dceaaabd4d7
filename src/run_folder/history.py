# SPDX-License-Identifier: Apache-2.0
"""What a run has reached so far: the lines of its metrics.jsonl.

    history = History.read(files.path(METRICS), until=594)
    history.add({"epoch": 4, "step": 792, "loss": 1.3})
    history.add({"epoch": 4, "step": 792, "ap": {"easy": 0.9, "medium": 0.9, "hard": 0.8, "mean": 0.87}})
    history.best["step"], history.since_best

An epoch is a line with "loss", a validation a line with "ap".
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dependency.files import append_line, atomic_write


@dataclass
class History:
    """The lines of a run's metrics, in the file `path` and in memory."""
    path: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, until: int) -> History:
        """Read the file, where there is one, and remove the lines after step `until` from it.

        A run that resumes a checkpoint writes those of the steps after it again.
        """
        if not path.is_file():
            return cls(path)
        texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [text for text in texts if _step_of(text) <= until]
        with atomic_write(path) as file:
            file.writelines(kept)
        return cls(path, list(map(json.loads, kept)))

    def add(self, line: dict[str, Any]) -> None:
        """Add a line."""
        append_line(self.path, json.dumps(line))
        self.lines.append(line)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The lines of the epochs."""
        return [line for line in self.lines if "loss" in line]

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The lines of the validations."""
        return [line for line in self.lines if "ap" in line]

    @property
    def best(self) -> dict[str, Any] | None:
        """The first of the validations with the highest mean AP, which decides what `best.ckpt` is."""
        return max((line for line in self.validations if line["ap"]["mean"] is not None),
                   key=lambda line: line["ap"]["mean"], default=None)

    @property
    def since_best(self) -> int:
        """Number of validations after the best one."""
        best = self.best
        return len(self.validations) - 1 - self.validations.index(best) if best else 0


def _step_of(text: str) -> float:
    """Read the step from a line of the metrics; return infinity for a line that a crash cut off."""
    try:
        return json.loads(text)["step"]
    except ValueError:
        return math.inf
