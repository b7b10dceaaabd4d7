# SPDX-License-Identifier: Apache-2.0
"""Draw a face data set in the layout of WIDER FACE: no download, no licence, the same pictures for the same
seed.

    python -m src.tools.synthetic dataset/drawn --train 500 --val 150 --seed 1

writes images/{train,val}/images/<event>/*.jpg, annotations/{train,val}.json, {train,val}_label.txt,
wider_face_{train,val}_bbx_gt.txt and ground_truth/*.mat. Heads are solids that are turned, lit and projected,
so their landmarks are exact. Not a face, so never annotated: heads seen from behind, mannequins without
features, smileys, cats, clocks, sockets, balls, plates, cars."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dependency.errors import InputError
from src.cli.program import run
from src.common.log import setup


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m src.tools.synthetic", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write; must be absent or empty")
    parser.add_argument("--train", type=int, default=500, help="pictures to train on (default 500)")
    parser.add_argument("--val", type=int, default=150, help="pictures to test on (default 150)")
    parser.add_argument("--seed", type=int, default=1, help="which data set (default 1)")
    parser.add_argument("--size", type=int, default=640, help="pixels of the longer side (default 640)")
    parser.add_argument("--workers", type=int, help="processes (default: one a processor, at most 16)")
    return parser


def _check(args: argparse.Namespace) -> None:
    for name, low in (("train", 0), ("val", 0), ("seed", 0), ("size", 160), ("workers", 1)):
        value = getattr(args, name)
        if value is not None and value < low:
            raise InputError(f"--{name} {value}: expected {low} or more")
    if args.train + args.val == 0:
        raise InputError("--train 0 --val 0: nothing to draw; give one of them a number")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(
            f"{args.out}: is there already and not an empty folder; give a new folder or remove it")


def main(argv: list[str] | None = None) -> int:
    """Draw the set and print what it holds."""
    args = _parser().parse_args(argv)
    _check(args)
    from src.tools.synthetic.dataset import generate, subsets  # --help stays quick
    setup()
    drawn = generate(args.out, {"train": args.train, "val": args.val}, args.seed, args.size, args.workers)
    for split, pictures in drawn.items():
        if not pictures:
            continue
        faces = sum(len(picture.record.boxes) for picture in pictures)
        ignored = sum(int(picture.record.ignore.sum()) for picture in pictures)
        counts = [sum(len(subsets(picture)[name]) for picture in pictures)
                  for name in ("easy", "medium", "hard")]
        print(f"{split}: {len(pictures)} pictures, {faces} faces ({ignored} to ignore); easy/medium/hard "
              f"{'/'.join(str(count) for count in counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
