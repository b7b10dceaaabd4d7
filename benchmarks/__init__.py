# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401
"""Says in one line where NumPy is not installed, which `dependency` looks at."""
import dependency
