# SPDX-License-Identifier: Apache-2.0
"""What tests of annotations share: a file by its text, and a folder with two images."""
import cv2
import numpy as np
import pytest


@pytest.fixture
def write(tmp_path):
    def _write(content, name="label.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
    return _write


@pytest.fixture
def images(tmp_path):
    """A folder with e/one.jpg and e/two.jpg, 80 wide and 60 high."""
    for name in ("one", "two"):
        (tmp_path / "e").mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"e/{name}.jpg"), pixels)
    return tmp_path
