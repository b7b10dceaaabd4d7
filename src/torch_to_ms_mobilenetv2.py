# SPDX-License-Identifier: Apache-2.0
"""The manual's other name for convert_weight_mobilenetv2.py; see there.

    python torch_to_ms_mobilenetv2.py --pt_fn=./mobilenet_v2-b0353104.pth --out_ckpt_fn=./mobilenet_v2.ckpt
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.cli.program import run
from src.convert_weight_mobilenetv2 import main, name_map

__all__ = ["main", "name_map"]

if __name__ == "__main__":
    sys.exit(run(main))
