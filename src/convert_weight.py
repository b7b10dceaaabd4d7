# SPDX-License-Identifier: Apache-2.0
"""Convert CenterFace weights from CenterFace.pytorch to MindSpore (--pt2ckpt 1) or back (--pt2ckpt 0).

    python convert_weight.py --pt_fn=model_best.pth --out_fn=centerface.ckpt
    python convert_weight.py --ckpt_fn=centerface.ckpt --out_fn=centerface.pth --pt2ckpt=0

The way back needs PyTorch.
"""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dependency.errors import InputError
from src.centerface.torch_names import name_map
from src.cli.arguments import Parser
from src.cli.options import Option
from src.cli.program import run
from src.weights import checkpoint

__all__ = ["ckpt_to_pt", "main", "name_map", "pt_to_ckpt"]


def pt_to_ckpt(pt_fn: Path, out_fn: Path, ckpt_fn: Path | None = None) -> None:
    """Write the weights of CenterFace.pytorch as our checkpoint.

    Args:
        ckpt_fn: a CenterFace checkpoint whose tensor names and shapes the result must have; None checks nothing.
    """
    from src.centerface.convert import face_from_torch

    converted = face_from_torch(pt_fn)
    report = converted.report
    if ckpt_fn is not None:
        tensors = checkpoint.network_tensors(checkpoint.load(ckpt_fn))
        shapes = {name: value.shape for name, value in tensors.items()}
        report = checkpoint.load_report(shapes, converted.tensors)
    report.require(pt_fn)
    checkpoint.save(out_fn, converted.tensors, converted.metadata)
    print(report.format())
    print(f"{out_fn}: {len(converted.tensors)} tensors")


def ckpt_to_pt(ckpt_fn: Path, out_fn: Path) -> None:
    """Write a CenterFace checkpoint as `{"epoch": ..., "state_dict": ...}` of CenterFace.pytorch."""
    from src.centerface.convert import to_torch
    from src.weights.conversion import save_torch

    weights = to_torch(ckpt_fn)
    save_torch(out_fn, weights)
    print(f"{out_fn}: {len(weights.tensors)} tensors")


def main(argv: list[str] | None = None) -> int:
    """Convert in the direction that `--pt2ckpt` names."""
    parser = Parser({"": {"pt2ckpt": Option(True, "1 = .pth to .ckpt, 0 = back.")}}, __doc__)
    parser.add_argument("--ckpt_fn", type=Path, default=None,
                        help="With --pt2ckpt 0 the checkpoint to convert; with 1 one whose tensor names the "
                             "result must have (optional).")
    parser.add_argument("--pt_fn", type=Path, default=None, help="File to convert, a .pth; with --pt2ckpt 1.")
    parser.add_argument("--out_fn", type=Path, required=True, help="File to write.")
    args = parser.read(argv)
    needed = "pt_fn" if args.pt2ckpt else "ckpt_fn"
    if getattr(args, needed) is None:
        raise InputError(f"--pt2ckpt {args.pt2ckpt:d} converts the file of --{needed}; add --{needed}=FILE")
    if args.pt2ckpt:
        pt_to_ckpt(args.pt_fn, args.out_fn, args.ckpt_fn)
    else:
        ckpt_to_pt(args.ckpt_fn, args.out_fn)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
