# SPDX-License-Identifier: Apache-2.0
"""Which checkpoints test.py tests, and the folder of each one's predictions.

    for candidate in find_checkpoints(cfg, names_set_by_user):
        print(candidate.path, save_dir / candidate.folder)
"""
from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from dependency.errors import InputError
from src.common.log import LOGGER
from src.weights.checkpoint import checkpoint_name, list_checkpoints

ARITHMETIC = ("device_num", "steps_per_epoch", "start", "end")


class Candidate(NamedTuple):
    """A checkpoint to test and its sub-folder of the save folder ("" for a single one)."""
    path: Path
    folder: str

    @property
    def epoch(self) -> int | None:
        """The epoch in the file's name, if it has one."""
        match = re.search(r"-(\d+)_\d+\.ckpt$", self.path.name)
        return int(match[1]) if match else None


def find_checkpoints(cfg: Any, names: set[str]) -> list[Candidate]:
    """List the checkpoints that the options of test.py mean, in order of epoch.

    Args:
        cfg: ckpt, test_model, ckpt_path, ckpt_name, device_num, rank, steps_per_epoch, start, end.
        names: the options that the user set; with one of `ARITHMETIC` the manual's formula gives the names, and some
            of the files may not exist.

    Raises:
        InputError: the folder is absent or holds none; `--start` and `--end` mean none.
    """
    if cfg.ckpt:
        return [Candidate(Path(cfg.ckpt), "")]
    folder = Path(cfg.test_model or cfg.ckpt_path)
    if cfg.ckpt_name:
        inside, outside = folder / cfg.ckpt_name, Path(cfg.ckpt_name)
        return [Candidate(outside if outside.is_file() and not inside.is_file() else inside, "")]
    if folder.is_file():
        return [Candidate(folder, "")]
    if names.intersection(ARITHMETIC):
        epochs = [loop * cfg.device_num + cfg.rank + 1 for loop in range(cfg.start, cfg.end)]
        if not epochs:
            raise InputError(f"--start {cfg.start} --end {cfg.end}: no loop is in this range; end is not included")
        return [Candidate(folder / checkpoint_name(0, epoch, epoch * cfg.steps_per_epoch), str(epoch))
                for epoch in epochs]
    paths = list_checkpoints(folder)
    if not paths:
        below = sorted({path.parent for path in folder.glob("*/*.ckpt")})
        hint = f"did you mean --test_model {below[-1]}?" if below else "name one with --ckpt_name"
        raise InputError(f"{folder}: holds no checkpoint named like 0-125_24750.ckpt; {hint}")
    candidates = [Candidate(path, "") for path in paths]
    per_epoch = Counter(candidate.epoch for candidate in candidates)
    return [candidate._replace(folder=str(candidate.epoch) if per_epoch[candidate.epoch] == 1 else candidate.path.stem)
            for candidate in candidates]


def keep_existing(candidates: list[Candidate]) -> list[Candidate]:
    """Leave out checkpoints whose file is absent, with the manual's log line for each; a single one is kept.

    Raises:
        InputError: none of several is there.
    """
    if len(candidates) == 1:
        return candidates
    existing = []
    for candidate in candidates:
        if candidate.path.is_file():
            existing.append(candidate)
        else:
            LOGGER.info("%s not set/exists or not a pre-trained file", candidate.path)
    if not existing:
        raise nothing_tested(candidates)
    return existing


def nothing_tested(candidates: list[Candidate]) -> InputError:
    """Make the error of a run without any result."""
    return InputError(f"none of {len(candidates)} checkpoints was tested, first {candidates[0].path}; "
                      "check --test_model, --start, --end, --device_num and --steps_per_epoch")
