# SPDX-License-Identifier: Apache-2.0
"""Measure a train step of RetinaFace with MobileNet-0.25 against PyTorch's: same weights, batch, loss and threads.

    python -m benchmarks.step                              # 320 x 320, 4 images, 2 threads
    python -m benchmarks.step --size 640 --batch 8 --amp_level O2

Each runs in a process of its own, in turns, bound to as many cores as it has threads; MindSpore's setting of oneDNN
would slow PyTorch. Without PyTorch only ours is measured. The losses of the first steps are printed, and the exit
status is 1 where those of the first one differ: then the work is not the same. Later ones differ by a few thousandths.
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

from src.cli.program import run

ROOT = Path(__file__).resolve().parents[1]
RATE, MOMENTUM, NEGATIVES = 1e-3, 0.9, 7
TERM_WEIGHTS = (2.0, 1.0, 1.0)
WARMUP = 3          # steps that are not timed: they compile
LOSS_BAR = 1e-4     # relative difference of the losses of the first step, in float32


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 1 if the losses differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=320, help="Side of the input.")
    parser.add_argument("--batch", type=int, default=4, help="Images in a step.")
    parser.add_argument("--threads", type=int, default=2, help="Threads of PyTorch; cores of both.")
    parser.add_argument("--steps", type=int, default=10, help="Timed steps of a turn.")
    parser.add_argument("--turns", type=int, default=3, help="Processes of each.")
    parser.add_argument("--amp_level", default="O0", help="Mixed precision of ours, as train.py's.")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:args.threads])
        print(json.dumps(timed(args, {"ours": ours, "torch": theirs}[args.side](args))))
        return 0
    sides = ["ours"]
    if importlib.util.find_spec("torch"):
        sides.append("torch")
    else:
        print("PyTorch is not installed (pip install torch): only ours is measured")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_weights(Path(folder) / "weights.npz")
        words = [word for name in ("size", "batch", "threads", "steps", "amp_level")
                 for word in (f"--{name}", str(getattr(args, name)))]
        for _ in range(args.turns):
            for side in sides:
                command = [sys.executable, "-m", "benchmarks.step", *words, "--side", side]
                done = subprocess.run([*command, "--weights", f"{folder}/weights.npz"], cwd=ROOT,
                                      stdout=subprocess.PIPE, text=True, check=True)
                result = json.loads(done.stdout.splitlines()[-1])
                seconds[side] += result["seconds"]
                losses[side] = result["losses"]
                print(f"{side:6}{1e3 * statistics.median(result['seconds']):8.0f} ms a step, losses "
                      f"{', '.join(f'{loss:.5f}' for loss in result['losses'])}", flush=True)
    if len(sides) == 1:
        return 0
    ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["torch"])
    print(f"ratio of the medians, ours / PyTorch: {ratio:.3f}")
    same = np.isclose(losses["ours"][0], losses["torch"][0], rtol=LOSS_BAR if args.amp_level == "O0" else 0.1)
    print("" if same else "missed: the losses differ\n", end="")
    return 0 if same else 1


def write_weights(path: Path) -> None:
    """Write random weights by our names: He's for convolutions, BatchNorm as it begins."""
    from src.retinaface.layers import tensor_shapes
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in tensor_shapes("mobilenet025").items():
        if len(shape) == 4:
            value = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            value = np.full(shape, float(name.endswith(("gamma", "moving_variance"))))
        tensors[name] = value.astype(np.float32)
    np.savez(path, **tensors)


def batch(args: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """Make random images and targets as `matching.match` does: image, loc, conf, landm; 20 anchors with a face."""
    from src.retinaface.anchors import anchor_count
    rng, anchors = np.random.default_rng(1), anchor_count(args.size)
    conf = np.zeros((args.batch, anchors), np.int32)
    for row in conf:
        row[rng.permutation(anchors)[:20]] = 1
    loc, landm = (rng.normal(size=(args.batch, anchors, numbers)).astype(np.float32) for numbers in (4, 10))
    return rng.integers(0, 256, (args.batch, args.size, args.size, 3), dtype=np.uint8), loc, conf, landm


def timed(args: argparse.Namespace, step: Callable[[], float]) -> dict[str, list[float]]:
    """Run the steps; return the losses of the first ones, and the seconds of the others."""
    losses, seconds = [], []
    for _ in range(WARMUP + args.steps):
        start = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    return {"losses": losses[:WARMUP], "seconds": seconds[WARMUP:]}


def ours(args: argparse.Namespace) -> Callable[[], float]:
    """Build our train step; a call makes one and returns its loss."""
    from src.common import device
    ms = device.setup("CPU")
    from src.retinaface.anchors import anchor_count
    from src.retinaface.loss import MultiBoxLoss, RetinaFaceTerms
    from src.retinaface.network import RetinaFace, build_backbone
    from src.training.optim import build_optimizer
    from src.training.train_step import TrainStep
    from src.weights.checkpoint import set_parameters
    network = RetinaFace("train", build_backbone("mobilenet025"))
    set_parameters(network, dict(np.load(args.weights)))
    ms.amp.auto_mixed_precision(network, args.amp_level)
    optimizer = build_optimizer("sgd", network.trainable_params(), [RATE] * (WARMUP + args.steps), 0.0, MOMENTUM)
    loss = RetinaFaceTerms(network, MultiBoxLoss(2, anchor_count(args.size), NEGATIVES), TERM_WEIGHTS)
    step = TrainStep(loss, optimizer, 1.0 if args.amp_level == "O0" else 1024.0)
    step.set_train(True)
    columns = batch(args)
    return lambda: float(step(*map(ms.Tensor, columns))[0].asnumpy())


def theirs(args: argparse.Namespace) -> Callable[[], float]:
    """Build PyTorch's train step; a call makes one and returns its loss."""
    import torch

    from benchmarks.torch_retinaface import build_for_training
    from src.retinaface.layers import NETWORK_INPUT
    torch.set_num_threads(args.threads)
    network = build_for_training(torch, dict(np.load(args.weights)))
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM)
    mean = torch.tensor(NETWORK_INPUT["mean"], dtype=torch.float32).reshape(1, 3, 1, 1)
    columns = batch(args)

    def step() -> float:
        image, loc, conf, landm = map(torch.from_numpy, columns)
        outputs = network(image.permute(0, 3, 1, 2).float() - mean)
        loss = sum(weight * term for weight, term in zip(TERM_WEIGHTS, torch_terms(torch, outputs, loc, conf, landm)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def torch_terms(torch: Any, outputs: tuple, loc_t: Any, conf_t: Any, landm_t: Any) -> tuple:
    """Compute `src.retinaface.loss.MultiBoxLoss` in PyTorch, for targets without ignored anchors."""
    loc, logits, landm = outputs
    face = (conf_t != 0).float()
    smooth = torch.nn.functional.smooth_l1_loss
    faces = face.sum().clamp(min=1)
    loss_loc = (smooth(loc, loc_t, reduction="none").sum(-1) * face).sum() / faces
    loss_landm = (smooth(landm, landm_t, reduction="none").sum(-1) * face).sum() / faces
    entropy = torch.logsumexp(logits, -1) - torch.where(face > 0, logits[..., 1], logits[..., 0])
    with torch.no_grad():
        hardness = torch.where(face > 0, torch.full_like(entropy, -1.0), entropy)
        quota = (NEGATIVES * face.sum(1, keepdim=True)).clamp(max=entropy.shape[1] - 1)
        rank = hardness.argsort(1, descending=True).argsort(1)
        mined = (rank < quota).float() * (1 - face)
    return loss_loc, (entropy * (face + mined)).sum() / faces, loss_landm


if __name__ == "__main__":
    sys.exit(run(main))
