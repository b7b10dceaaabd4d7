# SPDX-License-Identifier: Apache-2.0
"""Make the ground truth folder that test.py and eval.py score against, from any annotation file: AP on your own data.

    python -m src.tools.make_ground_truth val.json ground_truth/ [--image_dir images/]

Subsets by box height in pixels, as WIDER FACE's own are roughly: easy from 50, medium from 30, hard from 10; faces
below or marked as ignored do not count.
"""
from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.files import atomic_write
from src.cli.arguments import Parser
from src.cli.program import run


def main(argv: list[str] | None = None) -> int:
    """Write the folder and print what it holds."""
    parser = Parser({}, __doc__, prog="python -m src.tools.make_ground_truth")
    parser.add_argument("annotation", type=Path,
                        help="Annotation file: label.txt, *_bbx_gt.txt, .mat or train.json (docs/formats.md).")
    parser.add_argument("folder", type=Path,
                        help="Output folder; gets wider_{face,easy,medium,hard}_val.mat and val.mat.")
    parser.add_argument("--image_dir", type=Path, default=None, metavar="DIR",
                        help="Image folder: boxes of turned and resized images are brought to the files' pixels.")
    args = parser.read(argv)
    from src.annotations.read_write import read_annotations  # --help stays quick
    counts = make(read_annotations(args.annotation, image_dir=args.image_dir), args.folder)
    print(f"{args.folder}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0


def make(records: Sequence[Record], folder: Path) -> dict[str, int]:
    """Write the five .mat files; returns the number of images, and of faces by subset.

    Raises:
        InputError: see `truth_images`.
    """
    from dependency.evaluate.ground_truth import write_ground_truth
    from src.evaluation.evaluation_set import HEIGHTS, truth_images
    images = truth_images(records)
    events: dict[str, list] = defaultdict(list)
    for image in images:
        events[image.event].append((image.name, image.boxes, *image.subsets.values()))
    write_ground_truth(folder, list(events.items()))
    # The manual's name for the same file.
    with atomic_write(folder / "val.mat", "wb") as file:
        file.write((folder / "wider_face_val.mat").read_bytes())
    return {"images": len(images), **{name: sum(len(image.subsets[name]) for image in images) for name in HEIGHTS}}


if __name__ == "__main__":
    sys.exit(run(main))
