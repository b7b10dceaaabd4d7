#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Make the rank table of train_distribute.sh; src/tools/hccl_tools.py does the work.

    python hccl_tools.py --device_num "[0,8)"
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.cli import run  # noqa: E402  (the path comes first)
from src.tools.hccl_tools import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(run(main))
