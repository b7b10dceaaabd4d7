#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint for inference: AIR (Ascend 310, made on an Ascend host), MINDIR or ONNX, and verify it.

    python export.py 1 0-140_27720.ckpt                                  AIR, one image of 832 x 832 at a time
    python export.py --ckpt_file 0-140_27720.ckpt --file_format ONNX     any number of images of any size
    python export.py --ckpt_file 0-140_27720.ckpt --file_format ONNX --decode 1 --images photos/
    python export.py --ckpt_file 0-140_27720.ckpt --file_format ONNX --int8 1 --calibration train/ --images val/

The exported network takes uint8 BGR images [B, H, W, 3], as cv2.imread gives them, and normalises them itself; it gives
the raw maps that src/<model>/decoder.py reads, or with --decode 1 boxes, scores and landmarks. The file is then run in
its own runtime and compared with the checkpoint on images, at three sizes; <file>.verification.json keeps what was
measured. Exit status 1: it is not the same, and nothing was written. ONNX files carry their metadata inside, others in
<file>.json.
"""
from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import DETECTOR, LARGEST_SIDE, SIZE, whole
from dependency.errors import InputError
from src.cli.arguments import Parser, refuse_idle
from src.cli.options import Option, Table, convert
from src.cli.program import run
from src.common import log
from src.common.device import TARGETS
from src.export.images import Image, ImageSet, read_images
from src.models import MODELS

FORMATS = ("AIR", "MINDIR", "ONNX")
FIXED_SIDE = 832
# Without photographs: synthetic pictures of people, by event and seed.
SYNTHETIC = (("0--Portrait", 0), ("1--Group", 1), ("5--Street", 5))


OPTIONS: Table = {
    "Network": {
        "ckpt_file": Option(None, "The trained checkpoint.", aliases=("--ckpt",), metavar="FILE"),
        "model": Option("centerface", "Model of a checkpoint without metadata.", choices=MODELS),
        "device_target": Option("auto", "Device to trace the network on.", choices=TARGETS),
    },
    "File": {
        "file_name": Option(None, "File to write, without its suffix (default: the checkpoint's model, centerface).",
                            metavar="NAME"),
        "file_format": Option("AIR", "Format.", choices=FORMATS),
        "deploy_score": Option(None, "Score from which predict.py and FaceDetector report faces of this file, such as "
                                     "eval.py --want names (default: theirs, 0.35).", rule=DETECTOR["score_threshold"]),
        "batch_size": Option(None, "Images per forward pass, 0 = any number (default: 1, of ONNX 0).",
                             rule=whole(0, 4096)),
        "input_h": Option(None, f"Height of the images, 0 = any (default: {FIXED_SIDE}, of ONNX 0).",
                          rule=whole(0, LARGEST_SIDE)),
        "input_w": Option(None, f"Width of the images, 0 = any (default: {FIXED_SIDE}, of ONNX 0).",
                          rule=whole(0, LARGEST_SIDE)),
    },
    "Verification": {
        "images": Option(None, "Compare on all images below this folder (default: synthetic ones).", metavar="DIR"),
        "check_sizes": Option(["320", "500", "640"], "Sizes of the comparison, each as test.py's --test_size.",
                              rule=replace(SIZE, length=(1, 16), words=f"sizes, each {SIZE.words}"),
                              metavar="SIZE,..."),
        "gt": Option(None, "WIDER FACE's .mat files: also compare the AP on --images, which must be named "
                           "<event>/<image>.jpg.", metavar="DIR"),
        "verify": Option(True, "ONNX; 0 = do not compare, which is all that needs MindSpore.", aliases=("--certify",)),
    },
    "ONNX": {
        "decode": Option(False, "1 = boxes xyxy in pixels, scores and landmarks instead of raw maps; duplicates are "
                                "not suppressed."),
        "rows": Option(5000, "Maximum number of rows of --decode.", low=1, high=1_000_000),
        "int8": Option(False, "1 = 8-bit integers in most convolutions: a third of the size, but it loses or adds weak "
                              "faces, which --gt measures as AP. Faster with VNNI instructions only: 0.65 (CenterFace) "
                              "and 0.9 to 1.05 (RetinaFace) of float32's time there. The verification shows both."),
        "calibration": Option(None, "Choose the ranges of --int8 from all images below this folder: some dozens of "
                                    "photographs, not those of --images.", metavar="DIR"),
    },
}


def build_parser() -> Parser:
    """Make the parser; the positional arguments are the manual's spelling of --batch_size and --ckpt_file."""
    parser = Parser(OPTIONS, __doc__, prog="export.py", usage="export.py [options] [BATCH_SIZE] [CHECKPOINT]")
    parser.add_argument("positional", nargs="*", metavar="BATCH_SIZE PRETRAINED_BACKBONE", default=[],
                        help="The values of --batch_size and --ckpt_file.")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; return exit status 0, or 1 if the exported network does not compute what the checkpoint does."""
    parser = build_parser()
    args = parser.read(argv)
    batch, path = checkpoint_and_batch(args)
    sides = [FIXED_SIDE if side is None and args.file_format != "ONNX" else side or 0
             for side in (args.input_h, args.input_w)]
    refuse_idle(parser.options, args, [
        ("calibration", args.int8, "with --int8 1"), ("rows", args.decode, "with --decode 1"),
        ("images gt check_sizes", args.verify, "with --verify 1"),
        ("images gt check_sizes", args.file_format != "AIR", "with ONNX and MINDIR: AIR files cannot be compared"),
        ("check_sizes", not all(sides), "with --input_h 0 --input_w 0: a file for one size is compared at that one"),
        ("gt", args.images, "with --images")])
    log.setup()
    from dependency.centernet.src.lib.utils.image_file import read_image, read_photo
    from src.export.export import Export, ExportError
    read = read_image if args.gt else read_photo        # boxes of --gt are those of the pixels as they are stored
    if args.int8 and not args.calibration:
        raise InputError("--int8 1: give --calibration with a folder of some dozens of photographs")
    calibration = read_images(args.calibration, read) if args.int8 else None
    export = Export(args.file_format, (batch, *sides), args.device_target, args.rows if args.decode else 0,
                    calibration, args.check_sizes, args.verify, args.deploy_score)
    images = read_images(args.images, read) if args.images else synthetic_images()
    try:
        print(export.run(path, images, args.file_name, args.model, args.gt))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def checkpoint_and_batch(args: Any) -> tuple[int, str]:
    """Return (batch size, checkpoint file), given as positional arguments or as options."""
    usage = "python export.py BATCH_SIZE CHECKPOINT, or --batch_size N --ckpt_file CHECKPOINT"
    batch, path = args.batch_size, args.ckpt_file
    if args.positional:
        text, *files = args.positional
        if batch is not None or len(files) > 1 or files and path:
            raise InputError(f"'{' '.join(args.positional)}': batch size or checkpoint is there twice; expected "
                             f"{usage}")
        batch = convert("batch_size", text, OPTIONS["File"]["batch_size"])
        path = files[0] if files else path
    if batch is None:
        batch = 0 if args.file_format == "ONNX" else 1
    if args.file_format == "AIR" and batch == 0:
        raise InputError("--batch_size 0: an AIR file has one batch size; expected a whole number from 1")
    if not path:
        raise InputError(f"there is no checkpoint; expected {usage}")
    return batch, path


def synthetic_images() -> ImageSet:
    """Draw synthetic pictures of people, always the same ones."""
    import numpy as np

    from src.synthetic.scene import EVENTS, draw_scene
    events = {event.name: event for event in EVENTS}
    return ImageSet("synthetic people", [Image(name, draw_scene(events[name], np.random.default_rng(seed))[0])
                                         for name, seed in SYNTHETIC])


if __name__ == "__main__":
    sys.exit(run(main))
