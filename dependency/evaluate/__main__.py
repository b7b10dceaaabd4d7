# SPDX-License-Identifier: Apache-2.0
"""The command `python -m dependency.evaluate`; see eval.py."""
import sys

from dependency.evaluate.eval import run

if __name__ == "__main__":
    sys.exit(run())
