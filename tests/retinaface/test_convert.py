# SPDX-License-Identifier: Apache-2.0
"""Conversion of weights to RetinaFace: every known source, and what is said of the others."""
import shutil

import numpy as np
import pytest

from dependency.errors import InputError
from src.centerface import convert as centerface
from src.centerface.layers import tensor_shapes as face_shapes
from src.retinaface.convert import convert, read_backbone, recognises, to_torch
from src.retinaface.layers import BACKBONES, NETWORK_INPUT, from_torch, our_name, tensor_shapes
from src.weights import checkpoint
from src.weights.conversion import TORCHVISION_INPUT, read_source
from src.weights.file_hashes import sha256_of
from src.weights.torch_file import read_tensors
from tests.retinaface.reference_network import NumpyOperators
from tests.retinaface.weights import assert_equal, mindface, pytorch, random_tensors
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


def recognised(path):
    """By which converters; exactly one may."""
    names = list(read_source(path).tensors)
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


@pytest.mark.parametrize("backbone, write, prefix", [("resnet50", write_zip, ""),
                                                     ("mobilenet025", write_legacy, "module.")])
def test_a_detector_of_pytorch(tmp_path, weights, backbone, write, prefix):
    """Resnet50_Final.pth and mobilenet0.25_Final.pth, saved from one device or from several."""
    tensors = weights[backbone]
    write(tmp_path / "Final.pth", {prefix + name: value for name, value in pytorch(tensors).items()})
    assert recognised(tmp_path / "Final.pth") == ["retinaface"]
    converted = convert(tmp_path / "Final.pth")
    assert_equal(converted.tensors, tensors)
    source = f"Final.pth, sha256 {sha256_of(tmp_path / 'Final.pth')}"
    assert converted.metadata == {"model": "retinaface", "options": {"backbone": backbone}, "input": NETWORK_INPUT,
                                  "decoder": "retinaface", "source": source}
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
    assert_equal(from_torch(found.tensors), tensors)
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


@pytest.mark.parametrize("backbone", BOTH)
def test_detectors_of_mindface_and_of_the_model_zoo(tmp_path, weights, backbone):
    """RetinaFace-100_536.ckpt: `network.` before every name, momentum and statistics of the optimizer, its scalars."""
    classifier = BACKBONES[backbone].classifier
    tensors = {**weights[backbone], f"{classifier}.weight": np.ones((4, 2), np.float32)}
    stored = {f"network.{name}": value for name, value in tensors.items()}
    stored.update({f"{kind}.network.{name}": tensors[name] for kind in ("accum", "stat") for name in tensors
                   if name.startswith("fpn")})
    stored.update({"learning_rate": np.ones(40200, np.float32), "momentum": np.array(0.9, np.float32),
                   "global_step": np.array([3], np.int32)})
    path = tmp_path / "RetinaFace-100_536.ckpt"
    for content in (stored, mindface(weights[backbone])):       # mindface: lower-case names, and a classifier
        checkpoint.save(path, content)
        assert recognised(path) == ["retinaface"]
        converted = convert(path)
        assert_equal(converted.tensors, weights[backbone])
        assert converted.metadata["options"] == {"backbone": backbone} and converted.metadata["input"] == NETWORK_INPUT


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
        assert folded.metadata["part"] == "backbone"
        assert folded.metadata["input"] == plain.metadata["input"] == NETWORK_INPUT
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


def test_files_that_do_not_fit_are_refused(tmp_path, weights):
    """Also ResNet-101, which holds every tensor of a ResNet-50: its first layers alone would make a poor backbone."""
    whole = weights["mobilenet025"]
    resnet50 = pytorch(backbone_part(weights["resnet50"]), "")
    write_zip(tmp_path / "resnet101.pth", {**resnet50, "layer3.6.conv1.weight": np.ones((256, 1024, 1, 1), np.float32)})
    write_zip(tmp_path / "resnet18.pth", {name: value for name, value in resnet50.items() if ".conv3" not in name})
    write_zip(tmp_path / "mobilenet-0123abcd.pth", pytorch(whole))
    faces = {name: np.ones(shape, np.float32) for name, shape in face_shapes(24).items()}
    checkpoint.save(tmp_path / "face.ckpt", faces, {"model": "centerface"})
    checkpoint.save(tmp_path / "bare.ckpt", faces)
    assert recognised(tmp_path / "face.ckpt") == ["centerface"]
    checkpoint.save(tmp_path / "detector.ckpt", whole)
    checkpoint.save(tmp_path / "part.ckpt", backbone_part(whole, ""), {"model": "retinaface", "part": "backbone"})
    checkpoint.save(tmp_path / "twice.ckpt", {**whole, "ssh1.conv3x3.0.weight": np.ones(1)})
    less = {name: value for name, value in whole.items() if "LandmarkHead.2" not in name}
    checkpoint.save(tmp_path / "less.ckpt", less)
    checkpoint.save(tmp_path / "more.ckpt", {**whole, "extra.weight": np.ones(1)})
    checkpoint.save(tmp_path / "shape.ckpt", {**whole, "fpn.output1.0.weight": np.ones((32, 64, 1, 1), np.float32)})
    checkpoint.save(tmp_path / "nan.ckpt", {**whole, "ssh1.conv3X3.1.gamma": np.full(32, np.nan, np.float32)})
    metadata = {"model": "retinaface", "options": {"backbone": "mobilenet025"}}
    checkpoint.save(tmp_path / "rgb.ckpt", whole, {**metadata, "input": {**NETWORK_INPUT, "channels": "RGB"}})
    checkpoint.save(tmp_path / "decoder.ckpt", whole, {**metadata, "decoder": "other"})

    def backbone(path):
        return read_backbone(path, "resnet50")

    for function, file, named in (
            (backbone, "resnet101.pth", "base.layer3.6.conv1.weight"),
            (backbone, "resnet18.pth", "base.layer1.0.conv3.weight"),
            (backbone, "part.ckpt", "mobilenet025"), (backbone, "face.ckpt", "centerface"),
            (backbone, "bare.ckpt", "base.need_fp1"), (convert, "twice.ckpt", "ssh1.conv3X3.0.weight"),
            (convert, "less.ckpt", "LandmarkHead.2"), (convert, "more.ckpt", "extra.weight"),
            (convert, "shape.ckpt", "fpn.output1.0.weight"), (convert, "nan.ckpt", "ssh1.conv3X3.1.gamma"),
            (lambda path: convert(path, fold_input_norm=True), "detector.ckpt", "--fold_input_norm"),
            (to_torch, "rgb.ckpt", "input"), (to_torch, "decoder.ckpt", "decoder"),
            (to_torch, "part.ckpt", "part.ckpt"),
            (to_torch, "mobilenet-0123abcd.pth", "mobilenet-0123abcd.pth"),
            *((function, "mobilenet-0123abcd.pth", "0123abcd") for function in (convert, backbone, read_source))):
        with pytest.raises(InputError, match=named):
            function(tmp_path / file)
