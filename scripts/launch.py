#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Start a program on several devices and watch over it; src/tools/launch.py does the work.

    python launch.py --devices 8 -- ../train.py --model centerface ...
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.cli.program import run
from src.tools.launch import main

if __name__ == "__main__":
    sys.exit(run(main))
