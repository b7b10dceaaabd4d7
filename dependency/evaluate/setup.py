# SPDX-License-Identifier: Apache-2.0
"""Compile the two `.pyx` files beside their sources: `python setup.py install` or `build_ext --inplace`."""
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parents[1]))
    from dependency.build_extension import build
    for module in ("box_overlaps", "prediction_rows"):
        build(FOLDER, module)
