# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401
"""Says in one line where a package that every program needs is not installed."""
try:
    import easydict
    import numpy
except ImportError as error:
    from dependency.errors import end_without
    end_without(error)
