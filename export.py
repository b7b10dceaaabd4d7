#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint for inference: AIR (Ascend 310, made on an Ascend host), MINDIR or ONNX, proven equal.

    python export.py 1 0-140_27720.ckpt                                  AIR, one image of 832 x 832 at a time
    python export.py --ckpt_file 0-140_27720.ckpt --file_format ONNX     any number of images of any size
    python export.py --ckpt_file 0-140_27720.ckpt --file_format ONNX --decode 1 --images photos/
    python export.py --ckpt_file 0-140_27720.ckpt --file_format ONNX --int8 1 --calibration train/ --images val/

The exported network takes uint8 BGR images [B, H, W, 3], as cv2.imread gives them, and normalises them itself; it gives
the raw maps that src/<model>/decoder.py reads, or with --decode 1 boxes, scores and landmarks. The file is then run in
its own runtime and compared with the checkpoint on images, at three sizes; <file>.certificate.json keeps what was
measured. Exit status 1: it is not the same, and nothing was written. ONNX files carry their metadata inside, others in
<file>.json.
"""
from __future__ import annotations

import argparse
import sys
from typing import Any

from dependency.errors import InputError
from src.cli.arguments import number, refuse_idle
from src.cli.program import run
from src.common import log
from src.common.device import TARGETS

FORMATS = ("AIR", "MINDIR", "ONNX")
FIXED_SIDE = 832
# Without photographs: drawn people, by event and seed.
DRAWN = (("0--Portrait", 0), ("1--Group", 1), ("5--Street", 5))


def build_parser() -> argparse.ArgumentParser:
    """The options; the positional arguments are the manual's spelling of --batch_size and --ckpt_file."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("positional", nargs="*", metavar="BATCH_SIZE PRETRAINED_BACKBONE",
                        help="--batch_size and --ckpt_file, when not given by option")
    parser.add_argument("--ckpt_file", metavar="FILE", help="the trained checkpoint")
    parser.add_argument("--batch_size", metavar="INT",
                        help="images at once, 0 for any number (default: 1, of ONNX 0)")
    parser.add_argument("--file_name", metavar="NAME",
                        help="file to write, without its suffix (default: the checkpoint's model, centerface)")
    parser.add_argument("--file_format", default="AIR", choices=FORMATS, help="default: AIR")
    for side in ("height", "width"):
        parser.add_argument(f"--input_{side[0]}", type=number(0, kind=int), metavar="INT",
                            help=f"image {side}, 0 for any (default: {FIXED_SIDE}, of ONNX 0)")
    parser.add_argument("--model", default="centerface", help="model of a checkpoint without metadata")
    parser.add_argument("--device_target", default="auto", metavar="{" + ",".join(TARGETS) + "}",
                        help="where to trace the network (default: auto)")
    switch = {"type": number(0, 1, int), "metavar": "{0,1}"}
    proof = parser.add_argument_group("certificate")
    proof.add_argument("--images", metavar="DIR", help="compare on all images below this folder (default: drawn ones)")
    proof.add_argument("--check_sizes", default="320,500,640", metavar="SIZES",
                       help="sizes of the comparison, as test.py's --test_size (default: 320,500,640)")
    proof.add_argument("--gt", metavar="DIR", help="WIDER FACE's .mat files: also compare the AP on --images, which "
                                                   "must be named <event>/<image>.jpg")
    proof.add_argument("--certify", default=1, **switch,
                       help="ONNX; 0: do not compare, which is all that needs MindSpore (default: 1)")
    onnx = parser.add_argument_group("ONNX")
    onnx.add_argument("--decode", default=0, **switch,
                      help="1: boxes xyxy in pixels, scores and landmarks instead of raw maps; duplicates are not "
                           "suppressed (default: 0)")
    onnx.add_argument("--rows", type=number(1, kind=int), default=5000, metavar="INT",
                      help="rows of --decode, at most (default: 5000)")
    onnx.add_argument("--int8", default=0, **switch,
                      help="1: 8-bit integers in most convolutions: a third of the size, but it loses or adds weak "
                           "faces, which --gt measures as AP. Faster with VNNI instructions only: 0.65 (CenterFace) "
                           "and 0.9 to 1.05 (RetinaFace) of float32's time there. The certificate tells both "
                           "(default: 0)")
    onnx.add_argument("--calibration", metavar="DIR",
                      help="choose the ranges of --int8 from all images below this folder: some dozens of photographs, "
                           "others than those of --images, since what calibrated proves little (no default)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where the exported network does not compute what the checkpoint does."""
    parser = build_parser()
    args = parser.parse_args(argv)
    batch, path = checkpoint_and_batch(args)
    sides = [FIXED_SIDE if side is None and args.file_format != "ONNX" else side or 0
             for side in (args.input_h, args.input_w)]
    refuse_idle(parser, args, [
        ("calibration", args.int8, "with --int8 1"), ("rows", args.decode, "with --decode 1"),
        ("images gt check_sizes", args.certify, "with --certify 1"),
        ("images gt check_sizes", args.file_format != "AIR", "with ONNX and MINDIR: AIR files cannot be compared"),
        ("check_sizes", not all(sides), "with --input_h 0 --input_w 0: a file for one size is compared at that one"),
        ("gt", args.images, "with --images")])
    log.setup()
    from dependency.centernet.src.lib.utils.image_file import read_image
    from dependency.centernet.src.lib.utils.image_file import read_photo
    from src import models
    from src.export.export import Export, ExportError, Quantisation
    from src.export.images import read_images
    read = read_image if args.gt else read_photo        # boxes of --gt are those of the pixels as they are stored
    quantisation = None
    if args.int8:
        if not args.calibration:
            raise InputError("--int8 1: give --calibration with a folder of some dozens of photographs")
        quantisation = Quantisation(read_images(args.calibration, read))
    export = Export(args.file_format, (batch, *sides), args.device_target, args.rows if args.decode else 0,
                    quantisation, args.check_sizes.split(","), bool(args.certify))
    images = read_images(args.images, read) if args.images else drawn_images()
    try:
        print(export.run(models.spec, path, images, args.file_name, args.model, args.gt))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def checkpoint_and_batch(args: argparse.Namespace) -> tuple[int, str]:
    """(batch size, checkpoint file) of either spelling."""
    positional = list(args.positional)
    usage = "python export.py BATCH_SIZE CHECKPOINT, or --batch_size N --ckpt_file CHECKPOINT"
    twice = positional and args.batch_size is not None or len(positional) > 1 and args.ckpt_file
    if len(positional) > 2 or twice:
        raise InputError(f"'{' '.join(positional)}': something is given twice or too much; expected {usage}")
    default = 0 if args.file_format == "ONNX" else 1
    batch = positional[0] if positional else default if args.batch_size is None else args.batch_size
    path = positional[1] if len(positional) > 1 else args.ckpt_file
    least = 1 if args.file_format == "AIR" else 0
    if not str(batch).isdecimal() or int(batch) < least:
        raise InputError(f"BATCH_SIZE '{batch}': expected a whole number from {least}, as in {usage}")
    if not path:
        raise InputError(f"no checkpoint is given; expected {usage}")
    return int(batch), path


def drawn_images() -> Any:
    """Pictures of people, drawn anew and always the same."""
    import numpy as np

    from src.export.images import Image, ImageSet
    from src.tools.synthetic.scene import EVENTS, draw_scene
    events = {event.name: event for event in EVENTS}
    return ImageSet("drawn people", [Image(f"{name} (drawn)", draw_scene(events[name], np.random.default_rng(seed))[0])
                                     for name, seed in DRAWN])


if __name__ == "__main__":
    sys.exit(run(main))
