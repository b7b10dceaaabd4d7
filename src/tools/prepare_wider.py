# SPDX-License-Identifier: Apache-2.0
"""Make, check and repair the annotation files that training reads, and lay out a WIDER FACE download.

    python -m src.tools.prepare_wider --annotation label.txt --image_dir WIDER_train/images --out train.json
    python -m src.tools.prepare_wider --annotation label.txt --image_dir WIDER_train/images --validate
    python -m src.tools.prepare_wider --annotation label.txt --image_dir WIDER_train/images --repair fixed.txt
    python -m src.tools.prepare_wider --wider DOWNLOADS --layout dataset/centerface --annotation label.txt

    python -m src.tools.prepare_wider --annotation my.yaml --validate              # one's own images

Reads RetinaFace label.txt, SCRFD labelv2.txt, wider_face_*_bbx_gt.txt, wider_face_*.mat, COCO json, CVAT xml, folders
of YOLO, Pascal VOC or LabelMe files, and data files; docs/formats.md shows them. Of several files the faces with the
same box become one, so that label.txt brings the landmarks and wider_face_train.mat the invalid flags. Sizes are in
pixels of the original image.
"""
from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from easydict import EasyDict

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import Problem
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.detectors.option_rules import LARGEST_SIDE, one_of
from dependency.centernet.src.lib.utils.image_file import missing_text
from dependency.errors import InputError
from src.annotations.check import DROPPED, IMAGE_LEFT_OUT
from src.annotations.image_frame import SHOWN, STORED
from src.annotations.read_write import (
    FORMATS,
    Annotations,
    Repair,
    merge,
    read_annotations,
    repair,
    validate,
    write_records,
)
from src.cli.arguments import Parser
from src.cli.options import Option, Table
from src.cli.program import run
from src.common.log import LOGGER
from src.data.data_file import SPLITS, YAML_SUFFIXES, read_data_file
from src.tools.wider_layout import make_layout

TRAIN_IMAGES = 12880  # the official WIDER FACE train split
MANUAL_IMAGES = 12671  # of these in the train.json that the CenterFace manual's step count comes from
MOST_MISSING = 3  # images that are named one by one

OPTIONS: Table = {"Options": {
    "format": Option(None, "Format of --annotation (default: detected from the content).",
                     rule=one_of(*sorted(FORMATS))),
    "split": Option("all", "Of a data file (my.yaml): the images to take.", choices=("all", *SPLITS)),
    "headers_only": Option(False, "--validate, --repair: read the images' headers, do not decode them."),
    "exif": Option(None, "Photographs with an EXIF orientation: the boxes are those of the stored pixels, or of the "
                         "picture as shown, turned (default: decided by the annotated size; an error where that is not "
                         "possible).",
                   choices=(STORED, SHOWN)),
    "only_existing": Option(False, "Skip images missing from --image_dir."),
    "min_size": Option(0.0, "Drop faces whose shorter side is below this many pixels.", low=0, high=LARGEST_SIDE),
    "ignore_small": Option(0.0, "Mark faces whose shorter side is below this many pixels as ignored.", low=0,
                           high=LARGEST_SIDE),
    "drop_invalid": Option(False, "Drop faces flagged invalid or ignored."),
}}
PATHS = {
    "image_dir": "Image folder; holds <event>/<name>.jpg.",
    "layout": "Make the manual's tree here by links: annotations, images/{train,val}/images, ground_truth; "
              "--annotation then becomes annotations/train.json.",
    "wider": "--layout: holds WIDER_train, WIDER_val, wider_face_split and eval_tools.",
    "ground_truth": "--layout: holds wider_{easy,medium,hard,face}_val.mat, where not under --wider.",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 1 where --validate or --layout find a problem, else 0."""
    args = _parser().read(argv)
    if not (args.out or args.validate or args.repair or args.layout):
        raise InputError("nothing to do; add --out train.json, --validate, --repair FILE or --layout FOLDER")
    if not (args.annotation or args.layout):
        raise InputError("no annotation file; add --annotation label.txt")
    status = 0
    if bool(args.layout) != bool(args.wider):
        raise InputError("--layout and --wider FOLDER go together; --wider holds WIDER_train and WIDER_val")
    if args.layout:
        status = _lay_out(args)
    if not args.annotation:
        return status
    if args.validate:
        return _validate(args) or status
    _convert(args, args.repair or args.out, thorough=bool(args.repair))
    return status


def _parser() -> Parser:
    parser = Parser(OPTIONS, __doc__, prog="python -m src.tools.prepare_wider")
    parser.add_argument("--annotation", nargs="+", type=Path, default=[], metavar="FILE",
                        help="Files to read: annotations, a folder of labels, or a data file (my.yaml).")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--out", type=Path, default=None, metavar="FILE",
                        help="File to write: .json for CenterFace, .txt for RetinaFace; problems are repaired and "
                             "counted.")
    action.add_argument("--validate", action="store_true", default=False,
                        help="Only list problems; exit status 1 if there are any.")
    action.add_argument("--repair", type=Path, default=None, metavar="FILE",
                        help="Like --out, but decode the images, and list each problem with what was done.")
    for name, text in PATHS.items():
        parser.add_argument(f"--{name}", type=Path, default=None, metavar="DIR", help=text)
    return parser


def _validate(args: EasyDict) -> int:
    problems = []
    for path in args.annotation:
        for source in _read(path, args, some=True):
            problems += validate(source, args.image_dir, check_images=not args.headers_only, exif=args.exif)
    _print_list(problems)
    if args.image_dir is None:
        print("images not checked; add --image_dir to check them too")
    print(f"{len(problems)} problems" + _kinds(problem.kind for problem in problems))
    return 1 if problems else 0


def _convert(args: EasyDict, out: Path, thorough: bool) -> None:
    """Read, repair, merge, filter and write; prints what happened."""
    sources: list[Annotations] = []
    repairs: list[Repair] = []
    lost: Counter[str] = Counter()
    for source in [source for path in args.annotation for source in _read(path, args, some=thorough)]:
        repaired, done = repair(source, args.image_dir, thorough and not args.headers_only, args.exif)
        sources.append(repaired)
        repairs += done
        lost += _lost_faces(source, done)
    merged = merge(sources)
    filtered, dropped = filter_faces(merged, args.min_size, args.ignore_small, args.drop_invalid)
    # An image that lost all its faces must not look like one without a face: training may use that as background.
    annotated = {record.path for record in merged if len(record.boxes)}
    annotated.update(item.problem.image for item in repairs if item.action == DROPPED)
    records = [record for record in filtered if len(record.boxes) or record.path not in annotated]
    dropped += lost
    _check_losses(args.annotation, records, repairs, dropped)
    sized = all(record.height and record.width for record in records)
    if out.suffix.lower() == ".json" and args.image_dir is None and not sized:
        raise InputError("json needs the size of every image; add --image_dir FOLDER")
    write_records(out, records)
    shown = repairs if thorough else repairs[:10]
    _print_list(shown)
    if len(repairs) > len(shown):
        print(f"... and {len(repairs) - len(shown)} more; --validate lists all")
    print(summary(out, records, repairs, dropped))
    if len(records) < len(filtered):
        print(f"left out  {len(filtered) - len(records):,} images that lost all their faces")


def _read(path: Path, args: EasyDict, some: bool) -> list[Annotations]:
    """Read a file, or the splits of a data file; raise where images are missing, with `some` only where all are."""
    if path.suffix.lower() in YAML_SUFFIXES:
        return _read_data_file(path, args)
    source = read_annotations(path, args.format, args.image_dir, on_problem="collect", fit=False)
    if args.only_existing:
        return [only_existing(source, args.image_dir)]
    if args.image_dir is not None:
        missing = [record.path for record in source if not os.path.isfile(args.image_dir / record.path)]
        if missing and not (some and len(missing) < len(source)):
            raise InputError(f"{path}: {missing_text(missing, len(source), args.image_dir)}; check --image_dir or add "
                             "--only_existing")
    return [source]


def _read_data_file(path: Path, args: EasyDict) -> list[Annotations]:
    """Read the splits of a data file that --split names; the folder of the images becomes --image_dir.

    Raises:
        InputError: --image_dir, or another data file before it, names another folder.
    """
    data = read_data_file(path, on_problem="collect")
    if args.image_dir not in (None, data.image_dir):
        raise InputError(f"--image_dir {args.image_dir}: the images of {path} are in {data.image_dir}; leave it out")
    args.image_dir = data.image_dir
    splits = {"train": data.train, "val": data.val}
    if args.split != "all":
        return [splits[args.split]]
    if data.train and data.val and args.out:
        LOGGER.warning("%s: %d images to train on and %d to validate on go into one file; --split train takes only the "
                       "first", path, len(data.train), len(data.val))
    return [split for split in splits.values() if split]


def _print_list(items: Sequence[Problem | Repair]) -> None:
    """Print a line for each item; of missing images for the first three."""
    missing = 0
    for item in items:
        problem = item.problem if isinstance(item, Repair) else item
        missing += problem.kind == "image_missing"
        if problem.kind != "image_missing" or missing <= MOST_MISSING:
            print(item)
    if missing > MOST_MISSING:
        print(f"... and {missing - MOST_MISSING:,} more images that do not exist")


def _lost_faces(annotations: Annotations, repairs: Sequence[Repair]) -> Counter[str]:
    """Count the faces that repairs leave out, by the kind of the problem."""
    faces = {record.path: len(record.boxes) for record in annotations}
    lost: Counter[str] = Counter()
    for problem, action in repairs:
        lost[problem.kind] += {DROPPED: 1, IMAGE_LEFT_OUT: faces.get(problem.image, 0)}.get(action, 0)
    return lost


def _check_losses(files: Sequence[Path], records: Sequence[Record], repairs: Sequence[Repair],
                  dropped: Counter[str]) -> None:
    """Raise where no face is left; warn where most faces are dropped, with the reason of most of them."""
    kept, lost = sum(len(record.boxes) for record in records), sum(dropped.values())
    names, counts = ", ".join(map(str, files)), _kinds(dropped.elements())
    reason = dropped.most_common(1)[0][0] if dropped else ""
    first = next((f"; the first: {item.problem}" for item in repairs if item.problem.kind == reason), "")
    if not kept:
        what, remedy = ("face", "") if records else ("image", "; check --image_dir")
        raise InputError(f"no {what} is left of {names}: {lost:,} faces dropped{counts}{first}{remedy}")
    if lost > kept:
        LOGGER.warning("most faces of %s are dropped%s%s", names, counts, first)


def only_existing(annotations: Annotations, image_dir: Path | None) -> Annotations:
    """Keep the Records whose image is under `image_dir`, with their lines and problems; print how many.

    Raises:
        InputError: no `image_dir`.
    """
    if image_dir is None:
        raise InputError("--only_existing needs --image_dir FOLDER")
    keep = [os.path.isfile(image_dir / record.path) for record in annotations]
    faces = sum(len(record.boxes) for record, here in zip(annotations, keep) if not here)
    print(f"{annotations.file}: {sum(keep):,} of {len(keep):,} images are under {image_dir}"
          + (f"; those that are not have {faces:,} faces" if faces else ""))
    return annotations.renamed({record.path: record.path for record, here in zip(annotations, keep) if here})


def filter_faces(records: Sequence[Record], min_size: float = 0, ignore_small: float = 0,
                 drop_invalid: bool = False) -> tuple[list[Record], Counter]:
    """Drop or ignore faces by size and flag; images stay, even without faces.

    Args:
        records: what to filter.
        min_size: drop faces whose shorter side is below this, in pixels.
        ignore_small: mark faces whose shorter side is below this, in pixels, as ignored.
        drop_invalid: drop the faces that come in as ignored.

    Returns:
        The records, and how many faces were dropped for which reason.
    """
    filtered: list[Record] = []
    dropped: Counter[str] = Counter()
    for record in records:
        shorter = (record.boxes[:, 2:] - record.boxes[:, :2]).min(axis=1, initial=np.inf)
        invalid = record.ignore if drop_invalid else np.zeros_like(record.ignore)
        small = (shorter < min_size) & ~invalid
        dropped["invalid"] += int(invalid.sum())
        dropped["below --min_size"] += int(small.sum())
        keep = ~(invalid | small)
        filtered.append(replace(record, boxes=record.boxes[keep], landmarks=record.landmarks[keep],
                                visibility=record.visibility[keep],
                                ignore=(record.ignore | (shorter < ignore_small))[keep]))
    return filtered, +dropped


def summary(out: Path, records: Sequence[Record], repairs: Sequence[Repair], dropped: Counter) -> str:
    """Format the counts of a conversion as text.

    Where the images look like the WIDER train split, compare the counts with those that it should have.
    """
    faces = sum(len(record.boxes) for record in records)
    with_faces = sum(len(record.boxes) > 0 for record in records)
    landmarks = sum(int(record.visibility.any(axis=1).sum()) for record in records)
    ignored = sum(int(record.ignore.sum()) for record in records)
    lines = [f"wrote     {out}",
             f"images    {len(records):,}: {with_faces:,} with faces, {len(records) - with_faces:,} without",
             f"faces     {faces:,}: {landmarks:,} with landmarks, {ignored:,} ignored",
             f"repaired  {len(repairs):,}" + _kinds(f"{item.problem.kind} {item.action}" for item in repairs),
             f"dropped   {sum(dropped.values()):,}" + _kinds(dropped.elements())]
    if len(records) > 10000 and all(re.match(r"\d+--", record.path) for record in records):
        lines.append(f"WIDER FACE train has {TRAIN_IMAGES:,} images, the train.json of the CenterFace manual "
                     f"{MANUAL_IMAGES:,} with faces: here {len(records) - TRAIN_IMAGES:+,} and "
                     f"{with_faces - MANUAL_IMAGES:+,}")
    return "\n".join(lines)


def _kinds(kinds: Iterable[str]) -> str:
    counts = Counter(kinds)
    return ": " + ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common()) if counts else ""


def _lay_out(args: EasyDict) -> int:
    """Make the tree; fill in --out and --image_dir from it; write val.json where there are val images."""
    links, missing = make_layout(args.layout, args.wider, args.ground_truth)
    for line in links:
        print(line)
    for line in missing:
        print(f"not found: {line}")
    val_images, val_mat = args.layout / "images/val/images", args.layout / "ground_truth/wider_face_val.mat"
    if val_images.is_dir() and val_mat.is_file():
        val = EasyDict(annotation=[val_mat], image_dir=val_images, format="mat", min_size=0, exif=args.exif,
                                 ignore_small=0, drop_invalid=False, only_existing=args.only_existing)
        _convert(val, args.layout / "annotations/val.json", thorough=False)
    args.image_dir = args.image_dir or args.layout / "images/train/images"
    args.out = args.out or args.layout / "annotations/train.json"
    if not args.annotation:
        print(f"{args.out} is not made: add --annotation label.txt, with landmarks, or "
              "wider_face_split/wider_face_train.mat, with boxes only")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(run(main))
