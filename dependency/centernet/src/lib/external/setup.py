# SPDX-License-Identifier: Apache-2.0
"""Compile `nms.pyx` beside its source: `python setup.py install`, or `build_ext --inplace`, or `make`."""
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parents[4]))
    from dependency.build_extension import build
    build(FOLDER, "nms")
