# SPDX-License-Identifier: Apache-2.0
"""Write mobilenet_v2_key.ckpt: the names and shapes of a MindSpore MobileNetV2, every value zero.

    python -m src.tools.make_mobilenet_v2_key mobilenet_v2_key.ckpt

convert_weight_mobilenetv2.py takes it as --ckpt_fn, and without it uses the same names.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from src.centerface.torch_names import key_shapes
from src.cli.arguments import Parser
from src.cli.program import run
from src.weights import checkpoint


def main(argv: list[str] | None = None) -> int:
    """Write the file."""
    parser = Parser({}, __doc__, prog="python -m src.tools.make_mobilenet_v2_key")
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", default=Path("mobilenet_v2_key.ckpt"),
                        help="File to write (default: mobilenet_v2_key.ckpt).")
    args = parser.read(argv)
    shapes = key_shapes()
    checkpoint.save(args.out, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    print(f"{args.out}: {len(shapes)} tensors, all zero")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
