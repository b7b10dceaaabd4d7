# SPDX-License-Identifier: Apache-2.0
"""Measure images a second of one training with one process and with several, and where the time of a step goes.

    python -m benchmarks.scaling          # CenterFace, 512 x 512, 8 images a step, 1 and 2 CPU processes
    python -m benchmarks.scaling --devices 1,2,4,8 --device_target Ascend --batch 64 --data_dir DATA

Each run has the same images a step, shared by its processes. Every process has cores of its own, as many as with the
largest number of processes; one more run has one process with all cores. The first epoch, which compiles, is left out;
medians of the others are shown. "waits for data" is counted by the training itself; "sums over processes" is measured
alone, with as many floats as the network has gradients.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from dependency.errors import InputError, TrainingError
from src.cli.program import run

ROOT = Path(__file__).resolve().parents[1]
GRADIENTS = 1_929_935           # floats of CenterFace
REPEATS = 20


class Step(NamedTuple):
    """Seconds of a step: in all, waiting for data, summing gradients; images of it."""
    seconds: float
    data: float
    reduce: float
    images: int


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="1,2", help="numbers of processes to compare (default 1,2)")
    parser.add_argument("--batch", type=int, default=8, help="images a step over all processes (default 8)")
    parser.add_argument("--size", type=int, default=512, help="side of the input (default 512)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each run, the first not counted (default 4)")
    parser.add_argument("--data_dir", type=Path, help="a data set (default: 48 synthetic images)")
    parser.add_argument("--device_target", default="CPU", help="default CPU")
    parser.add_argument("--reduce", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.reduce:
        return measure_reduction(args.reduce, args.device_target)
    with tempfile.TemporaryDirectory() as folder:
        data = args.data_dir or make_data(Path(folder) / "data")
        counts = sorted(map(int, args.devices.split(",")))
        every = os.cpu_count() or 1
        if counts[0] < 1 or args.batch < counts[-1] or args.epochs < 2:
            raise InputError(f"--devices {args.devices} --batch {args.batch} --epochs {args.epochs}: expected devices "
                             "from 1, at least one image for each, and two epochs")
        runs = list(dict.fromkeys([(1, every), *((count, max(1, every // counts[-1])) for count in counts)]))
        steps = {each: measure(args, *each, data, Path(folder)) for each in runs}
    print(table(steps, runs[-len(counts)]))
    return 0


def make_data(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "src.tools.synthetic", str(folder), "--train=48", "--val=0"], cwd=ROOT,
                   check=True)
    return folder


def measure(args: argparse.Namespace, count: int, cores: int, data: Path, folder: Path) -> Step:
    """Run one training with `count` processes of `cores` cores each."""
    out = folder / f"with_{count}_{cores}"
    program = ["train.py", "--model=centerface", f"--data_dir={data}", f"--input_res={args.size}", "--head_conv=64",
               f"--per_batch_size={args.batch // count}", f"--max_epoch={args.epochs}", "--log_interval=1000",
               f"--device_target={args.device_target}", f"--ckpt_path={out}"]
    python = ["taskset", "-c", f"0-{cores - 1}", sys.executable]
    if count > 1:
        python = [sys.executable, "scripts/launch.py", f"--devices={count}", "--task_set=1",
               f"--task_set_core={cores}", f"--log_dir={out}_logs", "--"]
    call([*python, *program])
    (metrics,) = out.glob("*/metrics.jsonl")
    epochs = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps = [after["step"] - before["step"] for before, after in zip(epochs, epochs[1:])]
    reduce = 0.0
    if count > 1:
        result = folder / f"reduce_{count}.json"
        call([*python, "-m", "benchmarks.scaling", f"--reduce={result}", f"--device_target={args.device_target}"])
        reduce = json.loads(result.read_text(encoding="utf-8"))
    return Step(statistics.median(epoch["seconds"] / number for epoch, number in zip(epochs[1:], steps)),
                statistics.median(epoch["data_seconds"] / number for epoch, number in zip(epochs[1:], steps)),
                reduce, args.batch // count * count)


def call(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrainingError(f"a run ended with status {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def measure_reduction(out: Path, target: str) -> int:
    """Measure, in each process, the median time of one sum of GRADIENTS floats; rank 0 writes it to `out`."""
    import numpy as np

    from src.common import device
    ms = device.setup(target)
    from src.training.distributed import connect
    ranks = connect(True)
    from src.training.distributed import Total
    total, values = Total(ranks.world_size), ms.Tensor(np.ones(GRADIENTS, np.float32))
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        total(values).asnumpy()
        seconds.append(time.perf_counter() - start)
    if ranks.rank == 0:
        out.write_text(json.dumps(statistics.median(seconds)), encoding="utf-8")
    return 0


def table(steps: dict[tuple[int, int], Step], reference: tuple[int, int]) -> str:
    """Return a row for each (processes, cores of each), with speeds relative to `reference`."""
    first = steps[reference]
    lines = ["processes  cores each  images/s  ratio  ms/step  waits for data  sums over processes"]
    for (count, cores), step in steps.items():
        speed = step.images / step.seconds
        lines.append(f"{count:9d}  {cores:10d}  {speed:8.2f}  {speed / (first.images / first.seconds):5.2f}  "
                     f"{step.seconds * 1e3:7.0f}  {step.data * 1e3:11.0f} ms  {step.reduce * 1e3:16.0f} ms")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run(main))
