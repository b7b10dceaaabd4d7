# SPDX-License-Identifier: Apache-2.0
"""Compile `box_overlaps.pyx` and `decimal_rows.pyx` beside their sources: `python setup.py install`."""
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parents[1]))
    from dependency.build_extension import build
    build(FOLDER, "box_overlaps", "decimal_rows")
