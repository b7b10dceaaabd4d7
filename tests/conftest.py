# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""
import signal
from pathlib import Path

import numpy as np
import pytest

from dependency.evaluate.prediction_io import parse_prediction
from src.common import device

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Set up what must not depend on the first test, or on the shell that started them.

    onnx and MindSpore must agree on one protobuf. Programs started by tests are to be stopped by SIGINT and SIGHUP,
    which `nohup` and a script's `&` have ignored.
    """
    device.share_protobuf()
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


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
    return device.setup("CPU")


def read_prediction(path: Path) -> np.ndarray:
    """Read the rows [N, 5] x y w h score of a prediction file."""
    return parse_prediction(path.read_bytes(), path).rows
