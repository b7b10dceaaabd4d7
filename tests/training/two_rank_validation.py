# SPDX-License-Identifier: Apache-2.0
"""A program for two ranks: rank 0 validates for longer than a process may wait for another one on a CPU.

    scripts/launch.py --devices 2 -- -m tests.training.two_rank_validation FOLDER SECONDS
"""
import sys
import time
from pathlib import Path

from src.cli import program as cli
from src.common import device, log


def main() -> int:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    device.setup("CPU")
    from src.training.distributed import connect
    ranks = connect(True)
    from src.data.loader import batches
    from src.data.sampler import SamplePlan
    from src.run_folder.report import RunReport
    from src.training.trainer import Trainer
    from tests.training.small_training import METADATA, small_sample, small_settings, small_step
    from tests.training.test_validation import Values

    class Slow(Values):
        def run(self, path, should_stop):
            end = time.monotonic() + (seconds if not self.tested else 0)
            while time.monotonic() < end:
                time.sleep(1)
                should_stop()
            return super().run(path, should_stop)

    log.setup(0)
    plan = SamplePlan(8, 2, 9, seed=2, rank=ranks.rank, world_size=2)
    rates = [0.05] * plan.total_steps
    step, network = small_step(rates)
    settings = small_settings(folder / "run", plan, rates, patience=2)
    terms = ("square", "absolute")
    with settings.files(plan.steps_per_epoch, False, ranks) as files:
        report = RunReport(files, 0, plan.steps_per_epoch, terms, Slow({2: 0.5, 4: 0.4, 6: 0.3}),
                           patience=2) if ranks.rank == 0 else None
        Trainer(step, network, plan, rates, METADATA, terms, settings, files, "image_{}.jpg".format, None, report,
                ranks).fit(batches(small_sample, plan, workers=1))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
