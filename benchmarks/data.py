# SPDX-License-Identifier: Apache-2.0
"""How many training samples one core makes, against the published programs; how much memory; a set of ten times WIDER.

    python -m benchmarks.data --labels train/label.txt --images train/images
    python -m benchmarks.data --tenfold

A sample is decoded, cropped, changed in colour, and gets its targets. Ours against benchmarks/reference_data.py, a
transcription of the published MindSpore programs with the colours of the PyTorch one, over the same photographs: CPU
time of one process with one thread. Parts are in ms a sample. Memory is the resident set of a process that does nothing
else, after a fifth of --samples and after all of them. --tenfold writes and reads a label.txt of random numbers, of
128,800 images and 1.55 million faces. The exit status is 1 where a bar is missed.
"""
from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Callable
from unittest import mock

import cv2
import numpy as np

from benchmarks.reference_data import CenterFaceReference, RetinaFaceReference
from src.cli.program import run
from src.data.loader import keep_freed_memory
from src.data.training_set import training_records

RATIO_BAR, GROWTH_BAR, TENFOLD_BARS = 3.0, 1.1, (5.0, 400.0)
SIZES = {"centerface": 512, "retinaface": 840}
TURNS = 3
TENFOLD_IMAGES, TENFOLD_FACES = 128_800, 1_550_000
# Part of a sample -> where it is made, by side and model.
PARTS = {
    ("ours", "centerface"): {
        "decode": ("src.data.training_set.TrainingImage.__init__", "src.data.training_set.TrainingImage.read"),
        "crop": ("dependency.centernet.src.lib.utils.augment.cut",),
        "colour": ("dependency.centernet.src.lib.utils.augment.colour_jitter",),
        "targets": ("src.centerface.dataset.centre_targets",)},
    ("ours", "retinaface"): {
        "decode": ("src.data.training_set.TrainingImage.__init__", "src.data.training_set.TrainingImage.read"),
        "crop": ("src.retinaface.dataset.choose_crop", "src.retinaface.augmentation._resample"),
        "colour": ("src.retinaface.augmentation.distort_colours",),
        "targets": ("src.retinaface.dataset.match",)},
    ("published", "centerface"): {part: (f"benchmarks.reference_data.CenterFaceReference.{part}",)
                                  for part in ("decode", "crop", "colour", "targets")},
    ("published", "retinaface"): {
        "decode": ("benchmarks.reference_data.RetinaFaceReference.decode",),
        "crop": ("benchmarks.reference_data.RetinaFaceReference.crop",
                 "benchmarks.reference_data.RetinaFaceReference.resample"),
        "colour": ("benchmarks.reference_data.RetinaFaceReference.colour",),
        "targets": ("benchmarks.reference_data.RetinaFaceReference.targets",)},
}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, help="Annotation file of the photographs.")
    parser.add_argument("--images", type=Path, help="Folder of the photographs; those that are missing are left out.")
    parser.add_argument("--centerface_size", type=int, default=SIZES["centerface"], help="Input of CenterFace.")
    parser.add_argument("--retinaface_size", type=int, default=SIZES["retinaface"], help="Input of RetinaFace.")
    parser.add_argument("--samples", type=int, default=5000, help="Samples for the memory; 0 = no such measurement.")
    parser.add_argument("--tenfold", action="store_true", help="Measure the reading of a large set instead.")
    args = parser.parse_args(argv)
    if not args.tenfold and not (args.labels and args.images):
        parser.error("give --labels and --images, or --tenfold")
    missed = tenfold() if args.tenfold else []
    for model in [] if args.tenfold else SIZES:
        size = getattr(args, f"{model}_size")
        missed += compare(model, args.labels, args.images, size)
        if args.samples:
            first, last = in_process(memory, model, args.labels, args.images, size, args.samples)
            print(f"memory of a worker: {first:.0f} MB after {args.samples // 5:,} samples, {last:.0f} MB after "
                  f"{args.samples:,}", flush=True)
            missed += [f"{model}: memory grows from {first:.0f} to {last:.0f} MB"] * (last > GROWTH_BAR * first)
    print("\n".join(f"missed: {line}" for line in missed), end="\n" * bool(missed))
    return 1 if missed else 0


def compare(model: str, labels: Path, images: Path, size: int) -> list[str]:
    """Print what a sample of a model costs, ours and the published program's in turns; return the missed bar."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    makers = {"ours": ours(model, labels, images, size), "published": published(model, labels, images, size)}
    costs: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(TURNS):
        for side, (make, count) in makers.items():
            with timed_parts(PARTS[side, model]) as seconds:
                start = time.process_time()
                for index in range(count):
                    make(index)
                whole = time.process_time() - start
            seconds.update(other=whole - sum(seconds.values()), all=whole)
            costs[side].append({part: 1e3 * value / count for part, value in seconds.items()})
    best = {side: min(turns, key=lambda turn: turn["all"]) for side, turns in costs.items()}
    names = ["decode", "crop", "colour", "targets", "other", "all"]
    print(f"\n{model}, {size} x {size}, {makers['ours'][1]} photographs, best of {TURNS} turns\n"
          f"{'':<12}{'images/s':>9}" + "".join(f"{name:>9}" for name in names))
    for side, cost in best.items():
        print(f"{side:<12}{1e3 / cost['all']:>9.1f}" + "".join(f"{cost[name]:>9.2f}" for name in names))
    ratio = best["published"]["all"] / best["ours"]["all"]
    print(f"ratio {ratio:.2f}", flush=True)
    return [f"{model}: {ratio:.2f} times as fast, the bar is {RATIO_BAR:g}"] * (ratio < RATIO_BAR)


def ours(model: str, labels: Path, images: Path, size: int) -> tuple[Callable[[int], Any], int]:
    """Build our samples; return index -> sample, and their number."""
    records = training_records(labels, images, only_existing=True)
    if model == "centerface":
        from src.centerface.dataset import Augmentation, CenterFaceSamples
        samples: Any = CenterFaceSamples(records, images, Augmentation(input_size=size))
    else:
        from src.retinaface.dataset import RetinaFaceSamples, SampleOptions
        samples = RetinaFaceSamples(records, images, SampleOptions(image_size=size))
    return lambda index: samples(index % len(records), np.random.default_rng((1, index))), len(records)


def published(model: str, labels: Path, images: Path, size: int) -> tuple[Callable[[int], Any], int]:
    """Build the published programs' samples; return index -> sample, and their number."""
    records = training_records(labels, images, only_existing=True)
    random.seed(1)
    np.random.seed(1)
    maker = CenterFaceReference if model == "centerface" else RetinaFaceReference
    return maker(records, images, size), len(records)


@contextmanager
def timed_parts(parts: dict[str, tuple[str, ...]]) -> Iterator[dict[str, float]]:
    """Add the CPU seconds of the named functions, part by part, while the block runs."""
    seconds = dict.fromkeys(parts, 0.0)
    patches = [mock.patch(place, _timed(place, part, seconds)) for part, places in parts.items() for place in places]
    for patch in patches:
        patch.start()
    try:
        yield seconds
    finally:
        for patch in patches:
            patch.stop()


def _timed(place: str, part: str, seconds: dict[str, float]) -> Callable:
    function = resolve_name(place)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.process_time() - start
    return timed


def in_process(function: Callable, *args: Any) -> Any:
    """Call a function in a process of its own, so that its memory is that of nothing else."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def memory(model: str, labels: Path, images: Path, size: int, samples: int) -> tuple[float, float]:
    """Return the resident memory in MB after a fifth of the samples and after all."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    make, _ = ours(model, labels, images, size)
    found = []
    for index in range(samples):
        make(index)
        if index + 1 in (samples // 5, samples):
            found.append(resident())
    return found[0], found[1]


def resident() -> float:
    """Return the resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def tenfold() -> list[str]:
    """Write, read and measure a set of ten times WIDER's; return the missed bars."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "label.txt"
        in_process(write_labels, path, TENFOLD_IMAGES, TENFOLD_FACES)
        images, faces, seconds, kept, peak = in_process(read, path)
    print(f"{images:,} images, {faces:,} faces: {seconds:.1f} CPU seconds, {kept:.0f} MB of memory, at most {peak:.0f}")
    return [f"{value:.1f} {what}, the bar is {bar:g}"
            for value, bar, what in zip((seconds, peak), TENFOLD_BARS, ("CPU seconds", "MB")) if value > bar]


def read(path: Path) -> tuple[int, int, float, float, float]:
    """Return numbers of images and faces, CPU seconds of reading, and the process's memory in MB: then, and at most."""
    from src.annotations.read_write import read_annotations
    start = time.process_time()
    records = read_annotations(path)
    seconds = time.process_time() - start
    return (len(records), sum(len(record.boxes) for record in records), seconds, resident(),
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def write_labels(path: Path, images: int, faces: int) -> None:
    """Write a label.txt of random faces, half of them with landmarks."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(faces, np.full(images, 1 / images))
    boxes = np.concatenate([rng.integers(0, 900, (faces, 2)), rng.integers(4, 120, (faces, 2))], axis=1)
    shares = rng.random((faces, 5, 2))
    # Left is left in the image.
    shares[:, [0, 1], 0], shares[:, [3, 4], 0] = np.sort(shares[:, [0, 1], 0]), np.sort(shares[:, [3, 4], 0])
    points = boxes[:, None, :2] + shares * boxes[:, None, 2:]
    unlabelled = " -1.0 -1.0 -1.0" * 5
    with open(path, "w", encoding="utf-8") as file:
        for image, (first, last) in enumerate(zip(np.cumsum(counts) - counts, np.cumsum(counts))):
            file.write(f"# {image % 61}--Event/{image % 61}_Event_{image}.jpg\n")
            for face in range(first, last):
                landmarks = "".join(f" {x:.3f} {y:.3f} 0.0" for x, y in points[face]) if face % 2 else unlabelled
                file.write(" ".join(map(str, boxes[face])) + landmarks + " 0.5\n")


if __name__ == "__main__":
    sys.exit(run(main))
