# SPDX-License-Identifier: Apache-2.0
"""Train for a given time from a pretrained backbone, and print the AP over the minutes.

    python -m benchmarks.speedrun --model centerface --minutes 30 --seeds 1,2 --data my.yaml \\
        --pretrained backbone.ckpt --data_dir DATA/val/images --ground_truth_mat DATA/ground_truth/wider_face_val.mat

The rules: the photographs of --data's train set and no others; the backbone's weights are the only pretrained ones; no
image of the test is seen in training, and none chooses a checkpoint: the last one counts. The clock runs from the start
of train.py to its end, compiling included; a trial of two epochs before says how many epochs fit, and the schedule ends
with them. The checkpoints are tested afterwards, at original size, IoU 0.5.

Before the training it prints how much of the input is photograph, and the sizes of the faces in it; after it AP by the
height of the faces. Options that are not listed below are passed to train.py.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dependency.errors import InputError
from src import models
from src.cli.arguments import parse
from src.cli.options import Config
from src.cli.program import run
from src.run_folder.files import METRICS
from src.run_folder.history import History

ROOT = Path(__file__).resolve().parents[1]
SUBSETS = ("easy", "medium", "hard")


# Options without which what is outside of the photograph has one colour.
WITHOUT_COLOUR = {"centerface": {"color_aug": 0.0, "lighting": 0.0}, "retinaface": {"color_distort": False}}
SAMPLES = 200


class Point(NamedTuple):
    """A checkpoint of a run: minutes since its start, steps, AP of each subset at IoU 0.5."""
    minutes: float
    steps: int
    ap: list[float]

    def describe(self) -> str:
        """Return the row of the table."""
        return f"{self.minutes:8.1f}{self.steps:8d}   " + " / ".join(f"{value:.4f}" for value in self.ap)


def describe_samples(model: str, options: list[str]) -> str:
    """Say what the network sees: the share of the input that is photograph, and the faces that it learns from.

    Args:
        options: of train.py.
    """
    cfg, _ = parse(models.options(model), options, __doc__, presets=models.presets(model))
    cfg.update(WITHOUT_COLOUR[model])
    samples = models.training(model).build_samples(cfg)
    rng = np.random.default_rng(cfg.seed)
    covered, sides, without = [], [], 0
    for index in rng.integers(len(samples), size=SAMPLES):
        image, *targets = samples(int(index), rng)
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        colours, counts = np.unique(border, axis=0, return_counts=True)
        # Photographs have hardly two neighbouring pixels of one colour at their border.
        covered.append(1.0 if counts.max() < len(image) / 4 else
                       (image != colours[counts.argmax()]).any(axis=2).mean())
        boxes = _faces(model, cfg, image, targets)
        without += not len(boxes)
        sides += (boxes[:, 2:] - boxes[:, :2]).max(axis=1).tolist()
    quantiles = " / ".join(f"{side:.0f}" for side in np.quantile(sides or [0], [0.1, 0.5, 0.9]))
    return (f"{cfg.image_size} x {cfg.image_size} pixels, {np.mean(covered):.0%} of them photograph; "
            f"{len(sides) / SAMPLES:.1f} faces an image, none in {without / SAMPLES:.0%}; longer sides at 10 / 50 / 90 "
            f"%: {quantiles} pixels")


def _faces(model: str, cfg: Config, image: np.ndarray, targets: list[np.ndarray]) -> np.ndarray:
    """Return the boxes [N, 4] that a sample's targets describe, in pixels of the input."""
    training = import_module(f"src.{model}.training")
    if model == "centerface":
        heatmap, cells, values, weights = targets
        return training.target_faces(cells, values, weights, heatmap.shape[0]).boxes
    return training.target_faces(*targets, len(image), cfg.variance, cfg.clip).boxes


def call(program: str, options: list[str], log: Path) -> float:
    """Run a program of the repository with its output in `log`; return the seconds.

    Raises:
        InputError: it fails.
    """
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        status = subprocess.run([sys.executable, str(ROOT / program), *options], stdout=file, stderr=subprocess.STDOUT,
                                check=False).returncode
    if status:
        raise InputError(f"{program} {' '.join(options)} ended with status {status}; see the end of {log}")
    return time.monotonic() - start


def train(out: Path, options: list[str]) -> tuple[float, History]:
    """Train into `out`; return the seconds that the program took, and its metrics."""
    out.mkdir(parents=True)
    seconds = call("train.py", [*options, "--eval_every=0", f"--ckpt_path={out}/run"], out / "train.log")
    return seconds, History.read(next((out / "run").rglob(f"*{METRICS}")), sys.maxsize)


def epochs_that_fit(minutes: float, seconds: float, trial: History) -> int:
    """Compute how many epochs end in time.

    Args:
        minutes: the limit. seconds: how long the whole trial took. trial: its metrics; its first epoch includes
            compiling, its last one does not.

    Raises:
        InputError: none does.
    """
    epoch = trial.epochs[-1]["seconds"]
    start = seconds - epoch * len(trial.epochs)
    epochs = int((60 * minutes - start) // epoch)
    if epochs < 1:
        raise InputError(f"--minutes {minutes:g}: one epoch takes {(start + epoch) / 60:.1f} minutes")
    return epochs


def speedrun(out: Path, minutes: float, checkpoints: int, options: list[str], test_options: list[str]) -> list[Point]:
    """Train for so many minutes and test; return a point for each checkpoint.

    Args:
        out: a folder of its own. checkpoints: how many are tested. options: of train.py. test_options: of test.py.
    """
    seconds, trial = train(out / "trial", [*options, "--epochs=2"])
    epochs = epochs_that_fit(minutes, seconds, trial)
    every = -(-epochs // checkpoints) * trial.epochs[0]["step"]
    seconds, history = train(out / "full", [*options, f"--epochs={epochs}", f"--ckpt_interval={every}",
                                            "--keep_checkpoint_max=0"])
    folder = next((out / "full/run").rglob("*.ckpt")).parent
    call("test.py", [f"--test_model={folder}", f"--save_dir={out}/found", "--test_size=original", "--eval=1",
                     *test_options], out / "test.log")
    before = seconds - sum(epoch["seconds"] for epoch in history.epochs)
    reached = {}
    for epoch in history.epochs:
        before += epoch["seconds"]
        reached[epoch["epoch"]] = before / 60, epoch["step"]
    lines = map(json.loads, (out / "found/metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return sorted(Point(*reached[line["epoch"]], [line["ap"]["0.5"][name] for name in SUBSETS]) for line in lines)


def by_height(out: Path, truth: Path) -> str:
    """Return a line with the AP of the faces of each height, of the last checkpoint that was tested.

    Args:
        out: folder of a `speedrun`. truth: WIDER's main file of ground truth.
    """
    last = json.loads((out / "found/metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    call("eval.py", [f"--pred={last['pred']}", f"--gt={truth.parent}", "--only_predicted=1", f"--report={out}/report"],
         out / "eval.log")
    analysis = json.loads((out / "report/analysis.json").read_text(encoding="utf-8"))
    return ", ".join(f"{group['name']} {group['ap']:.3f}" for group in analysis["runs"][0]["groups"]["height"])


def main(argv: list[str] | None = None) -> int:
    """Train with each seed, print AP over minutes, and the mean of the last checkpoints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speedrun", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("centerface", "retinaface"), required=True)
    parser.add_argument("--data_dir", type=Path, required=True, help="test images, <event>/<image>.jpg")
    parser.add_argument("--ground_truth_mat", type=Path, required=True, help="of the test, the other three beside it")
    parser.add_argument("--minutes", type=float, default=30, help="of training (30)")
    parser.add_argument("--seeds", default="1", help="a training with each: 1,2 (1)")
    parser.add_argument("--checkpoints", type=int, default=5, help="how many are tested (5)")
    parser.add_argument("--out", type=Path, default=Path("speedrun"), help="folder of trainings and tests (speedrun)")
    args, options = parser.parse_known_args(argv)
    test_options = [f"--data_dir={args.data_dir}", f"--ground_truth_mat={args.ground_truth_mat}", "--only_existing=1",
                    "--backend=onnx"]
    last = []
    for seed in args.seeds.split(","):
        out = args.out / f"{args.model}_{seed}_{time.strftime('%H_%M_%S')}"
        print(f"{args.model}, seed {seed}, {out}: {describe_samples(args.model, [f'--seed={seed}', *options])}")
        points = speedrun(out, args.minutes, args.checkpoints, [f"--model={args.model}", f"--seed={seed}", *options],
                          test_options)
        print(f"{'minutes':>8}{'steps':>8}   AP at IoU 0.5: {' / '.join(SUBSETS)}")
        print("\n".join(point.describe() for point in points))
        print(f"AP by height, hard subset: {by_height(out, args.ground_truth_mat)}", flush=True)
        last.append(points[-1].ap)
    print(f"mean of the last: {' / '.join(f'{statistics.mean(values):.4f}' for values in zip(*last))}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
