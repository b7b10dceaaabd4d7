# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder} (see docs/formats.md)")
    return folder


@pytest.fixture(scope="session")
def ms():
    """MindSpore in GRAPH_MODE on the CPU."""
    from src.common import device
    return device.setup("CPU")
