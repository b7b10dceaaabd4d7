# SPDX-License-Identifier: Apache-2.0
"""A training of one step in a folder of its own, which is removed: `train.py --dry_run`.

    with one_step(settings, plan, validator) as (settings, plan, first_step): ...
"""
from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from src.common.log import LOGGER
from src.data.sampler import SamplePlan
from src.run_folder.validation import Validator


@contextmanager
def one_step(settings: Any, plan: SamplePlan, validator: Validator | None) -> Iterator[tuple[Any, SamplePlan, int]]:
    """Yield settings, plan and first step of a run of one step, where the real one would write.

    Args:
        settings: `RunSettings` of the real run, whose checkpoint to continue from is loaded already.
        plan: of the real run.
        validator: keeps its first image only.
    """
    if validator:
        validator.keep_first_image()
    existing = next(folder for folder in settings.run_dir.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".dry_run_", dir=existing) as folder:
        yield (replace(settings, run_dir=Path(folder) / "run", resume=""),
               replace(plan, count=min(plan.count, plan.batch * plan.world_size), max_epoch=1), 0)
    LOGGER.info("dry run: data, training step, %spictures and checkpoint work; %s is as it was",
                "validation, " if validator else "", existing)
