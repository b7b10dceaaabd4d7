# SPDX-License-Identifier: Apache-2.0
"""Compare eval.py with the evaluation loop that people run: whole processes, CPU seconds, peak memory.

    python -m benchmarks.evaluation --pred output/centerface/999 --gt dataset/centerface/ground_truth

Three programs score one tree: eval.py with the compiled overlaps, eval.py with their NumPy twin, and
benchmarks/reference_evaluation.py, the loops of the public Python ports.  eval.py reports two IoU thresholds, the port
one.  CPU seconds are user and system time of the process from its start to its end, the least of a few runs
(the port runs once, for up to a minute); one thread each, since nothing here uses more and idle threads of
a linear algebra library would be counted.  Exits with 1 when a bar is missed or an average precision differs.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from dependency.errors import InputError
from dependency.evaluate import overlaps
from src.cli.program import run

ROOT = Path(__file__).resolve().parents[1]
SPEED_BARS = {"eval.py, compiled": 100, "eval.py, Python": 40}
MEMORY_BAR = 250                                    # MB
TOLERANCE = 1e-9
# One thread each, and compiled modules are cached, as by default in Python.
ENVIRONMENT = {**{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
               **{name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}}
# A module that is None in sys.modules cannot be imported, as if it had never been built.
WITHOUT_COMPILED = """
import runpy, sys
sys.modules.update({"dependency.evaluate.box_overlaps": None, "dependency.evaluate.decimal_rows": None})
sys.argv[0] = "eval.py"
runpy.run_path("eval.py", run_name="__main__")
"""


class Cost(NamedTuple):
    """What a process used: CPU and wall seconds, peak resident memory in MB; and average precisions at IoU 0.5."""
    cpu: float
    wall: float
    memory: float
    ap: dict[str, float]


def measure(command: list[str], folder: Path, repeat: int) -> Cost:
    """Return the cheapest of `repeat` runs of a program that prints its APs, or writes them where --json says."""
    return min((_run_once([sys.executable, *command], folder) for _ in range(repeat)), key=lambda cost: cost.cpu)


def _run_once(command: list[str], folder: Path) -> Cost:
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    if "benchmarks.reference_evaluation" not in command:
        command = [*command, "--json", str(report)]
    start = os.times().elapsed
    with open(folder / "output.txt", "w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = os.times().elapsed - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise InputError(f"{' '.join(command[1:3])} ended with {process.returncode}: {printed[-500:]}")
    if report.exists():
        ap = json.loads(report.read_text(encoding="utf-8"))["reports"][0]["ap"]["0.5"]
    else:
        ap = json.loads(printed)
    memory = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return Cost(usage.ru_utime + usage.ru_stime, wall, memory, ap)


def compare(costs: dict[str, Cost]) -> tuple[list[str], list[str]]:
    """Return the lines of the table, and what is missed; the last entry of `costs` is the literal port."""
    name, port = list(costs.items())[-1]
    lines = [f"{'':<20}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'faster':>9}   easy, medium, hard at IoU 0.5"]
    missed = []
    for program, cost in costs.items():
        ratio = port.cpu / cost.cpu
        lines.append(f"{program:<20}{cost.cpu:>8.2f}{cost.wall:>8.2f}{cost.memory:>9.0f}{f'{ratio:.0f}x':>9}   "
                     + ", ".join(f"{value:.6f}" for value in cost.ap.values()))
        if program == name:
            continue
        if ratio < SPEED_BARS[program]:
            missed.append(f"{program}: {ratio:.1f} times as fast as the port, the bar is {SPEED_BARS[program]}")
        if cost.memory >= MEMORY_BAR:
            missed.append(f"{program}: {cost.memory:.0f} MB, the bar is {MEMORY_BAR}")
        far = {subset: cost.ap[subset] - port.ap[subset] for subset in port.ap
               if not abs(cost.ap[subset] - port.ap[subset]) <= TOLERANCE}
        if far:
            missed.append(f"{program}: average precision differs from the port's by {far}")
    return lines, missed


def main(argv: list[str] | None = None) -> int:
    """Measure and print the table; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred", type=Path, required=True, help="Folder of predictions, <event>/<image>.txt.")
    parser.add_argument("--gt", type=Path, required=True, help="Folder of the four .mat files.")
    parser.add_argument("--repeat", type=int, default=5, help="Number of runs of eval.py; the cheapest counts.")
    args = parser.parse_args(argv)
    if not overlaps.kernels():
        raise InputError("the compiled overlaps are what is measured: python dependency/evaluate/setup.py install")
    places = ["--pred", str(args.pred.resolve()), "--gt", str(args.gt.resolve())]
    with tempfile.TemporaryDirectory() as folder:
        costs = {program: measure([*command, *places], Path(folder), repeat) for program, command, repeat in (
            ("eval.py, compiled", ["eval.py"], args.repeat),
            ("eval.py, Python", ["-c", WITHOUT_COMPILED], args.repeat),
            ("literal port", ["-m", "benchmarks.reference_evaluation"], 1))}
    lines, missed = compare(costs)
    print("\n".join([*lines, *(f"missed: {line}" for line in missed)]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(run(main))
