# SPDX-License-Identifier: Apache-2.0
"""Make synthetic images with faces in the layout of WIDER FACE: no download, no licence, the same images for
the same seed.

    python -m src.tools.synthetic dataset/synthetic --train 500 --val 150 --seed 1

writes images/{train,val}/images/<event>/*.jpg, annotations/{train,val}.json, {train,val}_label.txt,
wider_face_{train,val}_bbx_gt.txt and ground_truth/*.mat. Heads are solids that are turned, lit and projected,
so their landmarks are exact. Not a face, so never annotated: heads seen from behind, mannequins without
features, smileys, cats, clocks, sockets, balls, plates, cars."""
from __future__ import annotations

import sys
from pathlib import Path

from easydict import EasyDict

from dependency.centernet.src.lib.detectors.option_rules import whole
from dependency.errors import InputError
from src.cli.arguments import Parser
from src.cli.options import Option, Table
from src.cli.program import run
from src.common.log import setup

OPTIONS: Table = {"": {
    "train": Option(500, "Number of training images.", low=0, high=1_000_000),
    "val": Option(150, "Number of test images.", low=0, high=1_000_000),
    "seed": Option(1, "Random seed: which data set.", low=0, high=2 ** 32 - 1),
    "size": Option(640, "Longer side of the images in pixels.", low=160, high=8192),
    "workers": Option(None, "Number of processes (default: one per processor, at most 16).", rule=whole(1, 1024)),
}}


def _check(args: EasyDict) -> None:
    if args.train + args.val == 0:
        raise InputError("--train 0 --val 0: nothing to make; give one of them a number")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(
            f"{args.out}: exists and is not an empty folder; give a new folder or remove it")


def main(argv: list[str] | None = None) -> int:
    """Make the set and print its counts."""
    parser = Parser(OPTIONS, __doc__, prog="python -m src.tools.synthetic")
    parser.add_argument("out", type=Path, help="Folder to write; must be absent or empty.")
    args = parser.read(argv)
    _check(args)
    from src.synthetic.dataset import generate, subsets  # --help stays quick
    setup()
    by_split = generate(args.out, {"train": args.train, "val": args.val}, args.seed, args.size, args.workers)
    for split, images in by_split.items():
        if not images:
            continue
        faces = sum(len(image.record.boxes) for image in images)
        ignored = sum(int(image.record.ignore.sum()) for image in images)
        counts = [sum(len(subsets(image)[name]) for image in images)
                  for name in ("easy", "medium", "hard")]
        print(f"{split}: {len(images)} images, {faces} faces ({ignored} ignored); easy/medium/hard "
              f"{'/'.join(str(count) for count in counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
