#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint for inference without Python: AIR (Ascend 310, made on an Ascend host) or MINDIR.

    python export.py 1 0-140_27720.ckpt                                  AIR, one image of 832 x 832 at a time
    python export.py --ckpt_file 0-140_27720.ckpt --file_format MINDIR --input_h 640 --input_w 640

The exported network takes uint8 BGR images [B, H, W, 3], as cv2.imread gives them, and normalises them;
it gives the raw maps that src/<model>/decoder.py reads. A MINDIR file is loaded again and compared with the
checkpoint. Beside <file_name>.air or .mindir, <file_name>.json says how to feed and decode it.
"""
import argparse
import sys
from typing import Optional

from dependency.errors import InputError
from src.common import log
from src.common.cli import run
from src.common.device import TARGETS

FORMATS = ("AIR", "MINDIR")


def build_parser() -> argparse.ArgumentParser:
    """The options; the positional arguments are the manual's spelling of --batch_size and --ckpt_file."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("positional", nargs="*", metavar="BATCH_SIZE PRETRAINED_BACKBONE",
                        help="--batch_size and --ckpt_file, when not given by option")
    parser.add_argument("--ckpt_file", metavar="FILE", help="the trained checkpoint")
    parser.add_argument("--batch_size", type=int, metavar="INT", help="images at once (default: 1)")
    parser.add_argument("--file_name", metavar="NAME",
                        help="file to write, without its suffix (default: the checkpoint's model, centerface)")
    parser.add_argument("--file_format", default="AIR", choices=FORMATS, help="default: AIR")
    parser.add_argument("--input_h", type=int, default=832, metavar="INT", help="image height (default: 832)")
    parser.add_argument("--input_w", type=int, default=832, metavar="INT", help="image width (default: 832)")
    parser.add_argument("--model", default="centerface", help="model of a checkpoint without a card")
    parser.add_argument("--device_target", default="auto", metavar="{" + ",".join(TARGETS) + "}",
                        help="where to trace the network (default: auto)")
    return parser


def main(argv: Optional[list[str]] = None) -> int:
    """Exit status 0; 1 where the exported network does not compute what the checkpoint does."""
    args = build_parser().parse_args(argv)
    batch, path = checkpoint_and_batch(args)
    log.setup()
    from src import models
    from src.common.export import Export, ExportError
    export = Export(args.file_format, (batch, args.input_h, args.input_w, 3), args.device_target)
    try:
        print(export.run(models.recipe, path, args.file_name, args.model))
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
    batch = positional[0] if positional else 1 if args.batch_size is None else args.batch_size
    path = positional[1] if len(positional) > 1 else args.ckpt_file
    if not str(batch).isdigit() or int(batch) < 1:
        raise InputError(f"BATCH_SIZE '{batch}': expected a whole number from 1, as in {usage}")
    if not path:
        raise InputError(f"no checkpoint is given; expected {usage}")
    return int(batch), path


if __name__ == "__main__":
    sys.exit(run(main))
