# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the whole way from an image to its faces: both sides find the same faces."""
import importlib.util

import cv2
import pytest

from benchmarks import detect as benchmark

NEEDS_RELEASE = pytest.mark.skipif(importlib.util.find_spec("deface") is None,
                                   reason="the peer is the package deface: pip install --no-deps deface")


@NEEDS_RELEASE
def test_both_find_the_same_number_of_faces():
    pytest.importorskip("onnxruntime")
    matplotlib = pytest.importorskip("matplotlib")
    image = cv2.imread(f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg")
    race = benchmark.centerface(320, 1)
    assert race.ours(image) == race.theirs(image) == 1


def test_the_network_in_pytorch_is_ours(shared_data, tmp_path):
    torch = pytest.importorskip("torch", reason="the peer of RetinaFace is PyTorch: pip install torch")
    race = benchmark.retinaface(str(shared_data / "weights" / "RetinaFace_mobilenet025.pth"), 320, 1, tmp_path)
    assert torch.get_num_threads() == 1
    image = cv2.imread(str(shared_data / "photos" / "obama_and_biden.jpg"))
    assert race.ours(image) == race.theirs(image) > 0
