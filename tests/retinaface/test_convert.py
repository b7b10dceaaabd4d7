# SPDX-License-Identifier: Apache-2.0
"""Conversion of weights to RetinaFace: every known source, and what is said of the others."""
import shutil

import numpy as np
import pytest

from dependency.errors import InputError
from src.centerface import convert as centerface
from src.retinaface.convert import convert, read_backbone, recognises, to_torch
from src.retinaface.layers import BACKBONES, NETWORK_INPUT, tensor_shapes
from src.retinaface.torch_names import from_torch, our_name, own_names
from src.retinaface.torch_names import to_torch as to_torch_names
from src.weights import checkpoint
from src.weights.conversion import TORCHVISION_INPUT, tensor_names
from src.weights.torch_file import read_tensors
from tests.retinaface.reference_network import NumpyOperators
from tests.retinaface.weights import mindface, pytorch, random_tensors
from tests.weights.torch_writer import write_legacy, write_zip

BOTH = tuple(BACKBONES)


@pytest.fixture(scope="module")
def weights():
    """Random tensors of both networks."""
    return {backbone: random_tensors(backbone) for backbone in BOTH}


@pytest.fixture(autouse=True)
def leave_no_large_files(tmp_path):
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def backbone_part(tensors, prefix="base."):
    return {name.replace("base.", prefix, 1): value for name, value in tensors.items() if name.startswith("base.")}


def assert_equal(given, expected):
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(given[name], value, err_msg=name)


def recognised(path):
    """By which converters; exactly one may."""
    names = tensor_names(path)
    known = {"retinaface": recognises(names), "centerface": centerface.recognises(names)}
    return [module for module in known if known[module]]


def test_names():
    pairs = {"body.conv1.weight": "base.conv1.weight", "layer4.2.bn3.gamma": "base.layer4.2.bn3.gamma",
             "body.layer1.0.downsample.1.weight": "base.layer1.0.down_sample_layer.1.weight",
             "layer1.0.down_sample.0.weight": "base.layer1.0.down_sample_layer.0.weight",
             "layer1.0.down_sample_layer.0.weight": "base.layer1.0.down_sample_layer.0.weight",
             "stage1.0.0.weight": "base.stage1.0.0.weight", "base.stage3.1.4.beta": "base.stage3.1.4.beta",
             "ssh1.conv7x7_3.0.weight": "ssh1.conv7X7_3.0.weight", "ssh2.conv3x3.1.gamma": "ssh2.conv3X3.1.gamma",
             "ssh3.conv5x5_1.0.weight": "ssh3.conv5X5_1.0.weight", "fpn.merge1.0.weight": "fpn.merge1.0.weight",
             "classhead.0.conv1x1.bias": "ClassHead.0.conv1x1.bias",
             "ClassHead.1.conv1x1.bias": "ClassHead.1.conv1x1.bias",
             "bboxhead.2.conv1x1.weight": "BboxHead.2.conv1x1.weight",
             "landmarkhead.1.conv1x1.weight": "LandmarkHead.1.conv1x1.weight",
             "classifier.weight": "base.classifier.weight"}
    assert {name: our_name(name) for name in pairs} == pairs
    for backbone in BOTH:
        assert all(our_name(name) == name for name in tensor_shapes(backbone))


@pytest.mark.parametrize("backbone", BOTH)
@pytest.mark.parametrize("write, prefix", [(write_zip, ""), (write_legacy, "module.")])
def test_a_detector_of_pytorch(tmp_path, weights, backbone, write, prefix):
    """Resnet50_Final.pth and mobilenet0.25_Final.pth, saved from one device or from several."""
    tensors = weights[backbone]
    write(tmp_path / "Final.pth", {prefix + name: value for name, value in pytorch(tensors).items()})
    assert recognised(tmp_path / "Final.pth") == ["retinaface"]
    converted = convert(tmp_path / "Final.pth")
    assert_equal(converted.tensors, tensors)
    assert converted.report.ok and converted.origin == f"RetinaFace {backbone} (PyTorch)"
    metadata = converted.metadata
    assert (metadata["model"], metadata["options"], metadata["input"]) == ("retinaface", {"backbone": backbone}, NETWORK_INPUT)
    assert metadata["decoder"] == "retinaface" and metadata["source"].startswith("Final.pth, sha256 ") and "part" not in metadata
    part = convert(tmp_path / "Final.pth", part="backbone")
    assert_equal(part.tensors, backbone_part(tensors))
    assert part.metadata["part"] == "backbone" and "decoder" not in part.metadata
    assert_equal(read_backbone(tmp_path / "Final.pth", backbone).tensors, part.tensors)


@pytest.mark.parametrize("backbone", BOTH)
def test_back_to_pytorch_and_here_again(tmp_path, weights, backbone):
    tensors = weights[backbone]
    checkpoint.save(tmp_path / "a.ckpt", {f"network.{name}": value for name, value in tensors.items()})
    found = to_torch(tmp_path / "a.ckpt")
    assert (found.project, found.epoch) == ("Pytorch_Retinaface", None)
    again = from_torch(found.tensors)
    assert list(again) == list(tensors)
    assert_equal(again, tensors)
    expected = {name: value * 0 if name.endswith("num_batches_tracked") else value
                for name, value in pytorch(tensors).items()}
    assert_equal(found.tensors, expected)
    assert {value.dtype.name for value in found.tensors.values()} == {"float32", "int64"}


def test_back_to_the_released_file(tmp_path, shared_data):
    """Its names in its order, and all of its values but the counters of batches."""
    path = shared_data / "weights" / "RetinaFace_mobilenet025.pth"
    converted = convert(path)
    checkpoint.save(tmp_path / "a.ckpt", converted.tensors, converted.metadata)
    found, released = to_torch(tmp_path / "a.ckpt").tensors, read_tensors(path)
    assert list(found) == list(released)
    for name, value in released.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), name
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_names_of_pytorch_are_read_as_ours():
    for backbone in BOTH:
        shapes = tensor_shapes(backbone)
        names = to_torch_names({name: np.zeros(1, np.float32) for name in shapes})
        assert list(from_torch(names)) == list(shapes)
        assert not any("base." in name or "gamma" in name or "down_sample" in name for name in names)


def test_what_does_not_go_back_to_pytorch(tmp_path, weights, caplog):
    tensors = weights["mobilenet025"]
    options = {"backbone": "mobilenet025"}
    metadata = {"model": "retinaface", "options": options}
    path = tmp_path / "a.ckpt"
    for change, message in (({"input": {**NETWORK_INPUT, "channels": "RGB"}}, "its metadata says input .*RGB"),
                            ({"decoder": "other"}, "its metadata says decoder other, but Pytorch_Retinaface has")):
        checkpoint.save(path, tensors, {**metadata, **change})
        with pytest.raises(InputError, match=message):
            to_torch(path)
    checkpoint.save(path, tensors, {**metadata, "options": {**options, "variance": [0.1, 0.2], "clip": False}})
    assert to_torch(path) and not caplog.records
    checkpoint.save(path, tensors, {**metadata, "options": {**options, "variance": [0.1, 0.3], "clip": False}})
    assert to_torch(path) and "was trained with variance [0.1, 0.3]: set it in data/config.py" in caplog.text
    checkpoint.save(path, backbone_part(tensors), {**metadata, "part": "backbone"})
    with pytest.raises(InputError, match="holds only the backbone"):
        to_torch(path)
    write_zip(tmp_path / "a.pth", pytorch(tensors))
    with pytest.raises(InputError, match="not a .ckpt, and only these"):
        to_torch(tmp_path / "a.pth")


def test_the_hash_in_a_name_is_verified(tmp_path, weights):
    write_zip(tmp_path / "mobilenet-0123abcd.pth", pytorch(weights["mobilenet025"]))
    for read in (convert, lambda path: read_backbone(path, "mobilenet025"), tensor_names):
        with pytest.raises(InputError, match="a file whose SHA-256 begins with 0123abcd"):
            read(tmp_path / "mobilenet-0123abcd.pth")


@pytest.mark.parametrize("backbone", BOTH)
def test_a_detector_of_mindface(tmp_path, weights, backbone):
    """Lower-case names, and the classifier, which a detector has no use for."""
    checkpoint.save(tmp_path / "RetinaFace.ckpt", mindface(weights[backbone]))
    assert recognised(tmp_path / "RetinaFace.ckpt") == ["retinaface"]
    converted = convert(tmp_path / "RetinaFace.ckpt")
    assert_equal(converted.tensors, weights[backbone])
    assert converted.metadata["input"] == NETWORK_INPUT and converted.origin == f"RetinaFace {backbone} (MindSpore)"


@pytest.mark.parametrize("backbone", BOTH)
def test_a_training_checkpoint_of_the_model_zoo(tmp_path, weights, backbone):
    """RetinaFace-100_536.ckpt: `network.` before every name, momentum and statistics of the optimizer, its scalars."""
    classifier = BACKBONES[backbone].classifier
    tensors = {**weights[backbone], f"{classifier}.weight": np.ones((4, 2), np.float32)}
    stored = {f"network.{name}": value for name, value in tensors.items()}
    stored.update({f"{kind}.network.{name}": tensors[name] for kind in ("accum", "stat") for name in tensors
                   if name.startswith("fpn")})
    stored.update({"learning_rate": np.ones(40200, np.float32), "momentum": np.array(0.9, np.float32),
                   "global_step": np.array([3], np.int32)})
    checkpoint.save(tmp_path / "RetinaFace-100_536.ckpt", stored)
    assert recognised(tmp_path / "RetinaFace-100_536.ckpt") == ["retinaface"]
    converted = convert(tmp_path / "RetinaFace-100_536.ckpt")
    assert_equal(converted.tensors, weights[backbone])
    assert converted.metadata["options"] == {"backbone": backbone}


def test_our_own_checkpoint_keeps_its_metadata(tmp_path, weights):
    metadata = {"model": "retinaface", "options": {"backbone": "mobilenet025"}, "decoder": "retinaface",
            "input": {**NETWORK_INPUT, "channels": "RGB", "std": [58.0, 57.0, 57.0]}, "detect": {"nms_iou": 0.3},
            "source": "mine"}
    checkpoint.save(tmp_path / "a.ckpt", weights["mobilenet025"], metadata)
    converted = convert(tmp_path / "a.ckpt")
    assert converted.metadata == metadata
    assert_equal(converted.tensors, weights["mobilenet025"])
    part = convert(tmp_path / "a.ckpt", part="backbone")
    assert part.metadata["input"] == NETWORK_INPUT                     # rewritten for the network that takes it over
    assert_same_stem(part.tensors, backbone_part(weights["mobilenet025"]), metadata["input"],
                     "mobilenet025")


def imagenet_files(folder, tensors):
    """Each form in which ImageNet weights of this backbone are handed out, by name, with their classifiers."""
    plain = backbone_part(tensors, "")
    fc = {"fc.weight": np.ones((1000, 8), np.float32), "fc.bias": np.ones(1000, np.float32)}
    write_zip(folder / "pytorch.pth", {**pytorch(backbone_part(tensors), ""), **fc})
    write_legacy(folder / "wrapped.tar", {f"module.{name}": value for name, value in
                                          {**pytorch(backbone_part(tensors), ""), **fc}.items()}, wrap=True)
    checkpoint.save(folder / "zoo.ckpt",
                    {**plain, "end_point.weight": np.ones((1001, 8)), "end_point.bias": np.ones(1001)})
    checkpoint.save(folder / "mindcv.ckpt", {
        **{name.replace("down_sample_layer", "down_sample"): value for name, value in plain.items()},
        "classifier.weight": np.ones((1000, 8)), "classifier.bias": np.ones(1000)})
    return ("pytorch.pth", "wrapped.tar", "zoo.ckpt", "mindcv.ckpt")


@pytest.mark.parametrize("backbone", BOTH)
def test_imagenet_backbones(tmp_path, weights, backbone):
    expected = backbone_part(weights[backbone])
    for file in imagenet_files(tmp_path, weights[backbone]):
        assert recognised(tmp_path / file) == ["retinaface"], file
        plain = convert(tmp_path / file, fold_input_norm=False)
        assert_equal(plain.tensors, expected)
        assert plain.origin.startswith(f"ImageNet {backbone} ")
        folded = convert(tmp_path / file)
        assert folded.metadata["part"] == "backbone" and folded.metadata["input"] == plain.metadata["input"] == NETWORK_INPUT
        assert_same_stem(folded.tensors, expected, TORCHVISION_INPUT, backbone)
    checkpoint.save(tmp_path / "again.ckpt", folded.tensors, folded.metadata)
    assert_equal(read_backbone(tmp_path / "again.ckpt", backbone).tensors, folded.tensors)      # folded once only
    assert_equal(read_backbone(tmp_path / file, backbone, fold_input_norm=False).tensors, expected)


def assert_same_stem(changed, original, fed, backbone):
    """Fed our input, the changed first layer gives what the original one gives of `fed`; away from the border."""
    op, described = NumpyOperators(), BACKBONES[backbone]
    photo = np.random.default_rng(3).integers(0, 256, (1, 40, 44, 3)).astype(np.float64)

    def first(tensors, given):
        image = photo[..., ::-1] if given["channels"] == "RGB" else photo
        x = ((image - given["mean"]) / given["std"]).transpose(0, 3, 1, 2)
        weight = tensors[f"{described.stem}.weight"].astype(np.float64)
        y = op.conv(x, weight, None, 2, weight.shape[-1] // 2, 1)
        words = ("moving_mean", "moving_variance", "gamma", "beta")
        return op.norm(y, *(tensors[f"{described.stem_norm}.{word}"] for word in words))[..., 3:-3, 3:-3]

    np.testing.assert_allclose(first(changed, NETWORK_INPUT), first(original, fed), atol=1e-4)
    assert np.abs(first(original, NETWORK_INPUT) - first(original, fed)).max() > 0.1
    for name in original:
        if name not in (f"{described.stem}.weight", f"{described.stem_norm}.moving_mean"):
            np.testing.assert_array_equal(changed[name], original[name])


def test_folding_what_is_no_imagenet_backbone_is_refused(tmp_path, weights):
    checkpoint.save(tmp_path / "detector.ckpt", weights["mobilenet025"])
    with pytest.raises(InputError, match="--fold_input_norm is for ImageNet backbones"):
        convert(tmp_path / "detector.ckpt", fold_input_norm=True)
    assert_equal(convert(tmp_path / "detector.ckpt", fold_input_norm=False).tensors, weights["mobilenet025"])


def test_the_released_files(shared_data):
    """The published detector fills the network; the ImageNet backbone fits its input once folded."""
    converted = convert(shared_data / "weights" / "RetinaFace_mobilenet025.pth")
    assert converted.report.ok and len(converted.tensors) == 253
    tensors = read_backbone(shared_data / "weights" / "mobilenetV1X0.25_pretrain.tar", "mobilenet025").tensors
    assert {name: value.shape for name, value in tensors.items()} == tensor_shapes("mobilenet025", "backbone")


@pytest.mark.slow
def test_folding_keeps_the_statistics_of_photographs(shared_data):
    """The first layer's responses to photographs have the variance that its BatchNorm expects, only if folded."""
    import cv2
    path = shared_data / "weights" / "mobilenetV1X0.25_pretrain.tar"
    paths = sorted((shared_data / "wider" / "val" / "images").rglob("*.jpg"))[::10]
    photos = np.stack([cv2.resize(cv2.imread(str(each)), (224, 224), interpolation=cv2.INTER_AREA) for each in paths])
    x = (photos.astype(np.float64) - NETWORK_INPUT["mean"]).transpose(0, 3, 1, 2)
    ratios = []
    for fold in (True, False):
        tensors = read_backbone(path, "mobilenet025", fold_input_norm=fold).tensors
        y = NumpyOperators().conv(x, tensors["base.stage1.0.0.weight"].astype(np.float64), None, 2, 1, 1)
        ratios.append(np.abs(np.log(y.var((0, 2, 3)) / tensors["base.stage1.0.1.moving_variance"])).mean())
    assert ratios[0] < 0.5 < 5 < ratios[1]


def test_the_other_backbone_is_refused(tmp_path, weights):
    checkpoint.save(tmp_path / "small.ckpt", backbone_part(weights["mobilenet025"], ""))
    with pytest.raises(InputError, match="holds the backbone mobilenet025, .* has resnet50.*--backbone=mobilenet025"):
        read_backbone(tmp_path / "small.ckpt", "resnet50")


def test_deeper_and_shallower_residual_networks_are_refused(tmp_path, weights):
    """ResNet-101 holds every tensor of a ResNet-50; its first layers alone would make a poor backbone."""
    plain = pytorch(backbone_part(weights["resnet50"]), "")
    write_zip(tmp_path / "resnet101.pth", {**plain, "layer3.6.conv1.weight": np.ones((256, 1024, 1, 1), np.float32)})
    with pytest.raises(InputError, match="(?s)1 unexpected.*base.layer3.6.conv1.weight"):
        convert(tmp_path / "resnet101.pth")
    write_zip(tmp_path / "resnet18.pth", {name: value for name, value in plain.items() if ".conv3" not in name})
    with pytest.raises(InputError, match="(?s)16 missing.*base.layer1.0.conv3.weight"):
        convert(tmp_path / "resnet18.pth")


def test_a_centerface_checkpoint_is_refused(tmp_path):
    from src.centerface.layers import tensor_shapes as face_shapes
    tensors = {name: np.ones(shape, np.float32) for name, shape in face_shapes(24).items()}
    checkpoint.save(tmp_path / "face.ckpt", tensors, {"model": "centerface"})
    assert recognised(tmp_path / "face.ckpt") == ["centerface"]
    with pytest.raises(InputError, match="the file's metadata says model centerface, not retinaface"):
        convert(tmp_path / "face.ckpt")
    checkpoint.save(tmp_path / "bare.ckpt", tensors)
    with pytest.raises(InputError, match="not a RetinaFace .*its first tensor is base.need_fp1"):
        read_backbone(tmp_path / "bare.ckpt")


def test_two_networks_in_one_file_are_refused():
    tensors = {"ssh1.conv3X3.0.weight": np.ones(1), "ssh1.conv3x3.0.weight": np.ones(1)}
    with pytest.raises(InputError, match="two tensors of the file are both ssh1.conv3X3.0.weight"):
        own_names(tensors)


def test_missing_and_strange_tensors_are_named(tmp_path, weights):
    tensors = dict(weights["mobilenet025"])
    del tensors["LandmarkHead.2.conv1x1.bias"]
    tensors["fpn.output1.0.weight"] = np.ones((32, 64, 1, 1), np.float32)
    checkpoint.save(tmp_path / "a.ckpt", {**tensors, "extra.weight": np.ones(1)})
    with pytest.raises(InputError, match="(?s)LandmarkHead.2.conv1x1.bias.*extra.weight.*expected .64, 64, 1, 1."):
        convert(tmp_path / "a.ckpt")


def test_damaged_files_are_refused(tmp_path, weights):
    checkpoint.save(tmp_path / "a.ckpt", weights["mobilenet025"])
    write_zip(tmp_path / "a.pth", pytorch(weights["mobilenet025"]))
    for file, cut, changed in (("a.ckpt", "cut off|checksum", "checksum"), ("a.pth", "not a whole", "not a whole")):
        data = (tmp_path / file).read_bytes()
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 0x40
        for content, message in ((data[:len(data) // 2], cut), (bytes(flipped), changed)):
            (tmp_path / file).write_bytes(content)
            with pytest.raises(InputError, match=message):
                convert(tmp_path / file)
    tensors = dict(weights["mobilenet025"])
    tensors["ssh1.conv3X3.1.gamma"] = np.full(32, np.nan, np.float32)
    checkpoint.save(tmp_path / "nan.ckpt", tensors)
    with pytest.raises(InputError, match="ssh1.conv3X3.1.gamma holds numbers that are not finite"):
        convert(tmp_path / "nan.ckpt")


@pytest.mark.parametrize("content, message", [
    (None, "no such file"), (b"", "empty"), (b"\x08\x06 onnx", "an ONNX file"), (b"<html>", "web page"),
    (b"\x80\x02}q\x00.", "not a whole PyTorch file"), (b"version https://git-lfs", "git-lfs")])
def test_files_of_other_kinds_are_refused(tmp_path, content, message):
    path = tmp_path / "a.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        convert(path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    evil = b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR."
    write_zip(tmp_path / "evil.pth", {}, content=evil)
    with pytest.raises(InputError, match="refused, nothing of it was run"):
        convert(tmp_path / "evil.pth")
