# SPDX-License-Identifier: Apache-2.0
"""Convert torchvision's mobilenet_v2 to the MindSpore checkpoint of train.py --pretrained_backbone.

    python convert_weight_mobilenetv2.py --pt_fn=./mobilenet_v2-b0353104.pth --out_ckpt_fn=./mobilenet_v2.ckpt
"""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.centerface.torch_names import name_map
from src.cli.arguments import Parser
from src.cli.program import run
from src.weights import checkpoint

__all__ = ["main", "name_map"]


def main(argv: list[str] | None = None) -> int:
    """Convert; print what matched."""
    parser = Parser({}, __doc__)
    parser.add_argument("--ckpt_fn", type=Path, default=None,
                        help="mobilenet_v2_key.ckpt, whose tensor names the result gets (default: the known ones).")
    parser.add_argument("--pt_fn", type=Path, required=True, help="torchvision's mobilenet_v2-b0353104.pth.")
    parser.add_argument("--out_ckpt_fn", type=Path, default=None,
                        help="Checkpoint to write (default: --pt_fn with .ckpt).")
    args = parser.read(argv)
    from src.centerface.convert import mobilenet_from_torch

    shapes = None
    if args.ckpt_fn is not None:
        shapes = {name: value.shape for name, value in checkpoint.load(args.ckpt_fn).tensors.items()}
    converted = mobilenet_from_torch(args.pt_fn, shapes)
    out = args.out_ckpt_fn or args.pt_fn.with_suffix(".ckpt")
    checkpoint.save(out, converted.tensors, converted.metadata)
    print(converted.report.format())
    print(f"{out}: {len(converted.tensors)} tensors")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
