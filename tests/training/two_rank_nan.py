# SPDX-License-Identifier: Apache-2.0
"""A program for two ranks: training whose second rank meets a loss that is not a number, and is slow to draw its batch.

    scripts/launch.py --devices 2 -- -m tests.training.two_rank_nan FOLDER
"""
import sys
import time
from pathlib import Path

import numpy as np

from src.cli import program as cli
from src.common import device, log

IMAGES, BAD = 8, 5


def main() -> int:
    folder = Path(sys.argv[1])
    device.setup("CPU")
    from src.training.distributed import connect
    ranks = connect(True)
    from src.data.loader import batches
    from src.data.sampler import SamplePlan
    from src.training.trainer import Trainer
    from tests.training.small_training import small_sample, small_settings, small_step

    def poisoned(index, rng):
        x, y = small_sample(index, rng)
        return x, np.full_like(y, np.nan if index == BAD else 0)

    def draw(_):
        time.sleep(3)       # longer than the launcher needs to end all when a process has ended
        (folder / f"run/rank_{ranks.rank}.png").touch()
        return [np.zeros((8, 8, 3), np.uint8)]

    log.setup(0)
    plan = SamplePlan(IMAGES, 2, 1, seed=2, rank=ranks.rank, world_size=2)
    rates = [0.05] * plan.steps_per_epoch
    step, network = small_step(rates)
    settings = small_settings(folder / "run", plan, rates)
    with settings.files(1, False, ranks) as files:
        Trainer(step, network, plan, rates, {"model": "small"}, ("square", "absolute"), settings, files,
                "image_{}.jpg".format, draw, None, ranks).fit(batches(poisoned, plan, workers=1))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
