# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401
"""Says in one line where NumPy is not installed, as when a program starts without its environment."""
try:
    import numpy
except ImportError as error:
    from dependency.errors import end_without
    end_without(error)
