#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Make the rank table of train_distribute.sh; src/tools/hccl_tools.py does the work.

    python hccl_tools.py --device_num "[0,8)"
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.cli.program import run
from src.tools.hccl_tools import main

if __name__ == "__main__":
    sys.exit(run(main))
