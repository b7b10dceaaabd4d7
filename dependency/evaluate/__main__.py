# SPDX-License-Identifier: Apache-2.0
"""The command `python -m dependency.evaluate`; see eval.py."""
import sys

from dependency.evaluate.eval import run

sys.exit(run())
