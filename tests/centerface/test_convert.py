# SPDX-License-Identifier: Apache-2.0
"""Conversion of weights to CenterFace: names, shapes, values, and what is said of files that do not fit."""
from functools import partial

import numpy as np
import pytest

from dependency.errors import InputError
from src.centerface.convert import (
    convert,
    expand_depthwise,
    face_from_torch,
    mobilenet_from_torch,
    only_backbone,
    read_backbone,
    to_torch,
)
from src.centerface.layers import NETWORK_INPUT, change_input, tensor_shapes
from src.centerface.torch_names import key_name, key_shapes, name_map, torch_name
from src.weights import checkpoint
from src.weights.conversion import TORCHVISION_INPUT
from tests.retinaface.weights import assert_equal
from tests.weights.torch_writer import write_legacy, write_zip


def random_tensors(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


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
    """Directly and by way of the manual's checkpoint, the backbone is the same and fed like our network."""
    torch = torchvision_file(tmp_path / "m.pth", write)
    converted = mobilenet_from_torch(tmp_path / "m.pth")
    assert {name: value.shape for name, value in converted.tensors.items()} == key_shapes()
    for name, value in converted.tensors.items():
        np.testing.assert_array_equal(value, torch[torch_name(name)])
    checkpoint.save(tmp_path / "m.ckpt", converted.tensors, converted.metadata)
    plain = {name: torch[torch_name(key_name(name))] for name in tensor_shapes(part="backbone")}
    expected = change_input(plain, TORCHVISION_INPUT, NETWORK_INPUT)
    for file in ("m.pth", "m.ckpt"):
        for backbone in (convert(tmp_path / file), read_backbone(tmp_path / file, "relu6")):
            assert backbone.report.ok and backbone.metadata["input"] == NETWORK_INPUT
            assert_equal(backbone.tensors, expected)


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
    assert_equal(read_backbone(tmp_path / "m.ckpt", "relu6").tensors,
                 {name: tensors[prefix + key_name(name)] for name in tensor_shapes(part="backbone")})


def test_backbone_of_centerface_checkpoints(tmp_path):
    tensors = random_tensors(tensor_shapes(24))
    training = {f"{kind}centerface_network.{name}": value
                for kind in ("", "moment1.") for name, value in tensors.items()}
    checkpoint.save(tmp_path / "full.ckpt", training)
    checkpoint.save(tmp_path / "part.ckpt", *only_backbone(tensors, {"model": "centerface"}))
    checkpoint.save(tmp_path / "other_input.ckpt", tensors, {"model": "centerface", "input": TORCHVISION_INPUT})
    backbone = {name: tensors[name] for name in tensor_shapes(part="backbone")}
    for file in ("full.ckpt", "part.ckpt"):
        assert_equal(read_backbone(tmp_path / file, "relu6").tensors, backbone)
    assert_equal(read_backbone(tmp_path / "other_input.ckpt", "relu6").tensors,
                 change_input(backbone, TORCHVISION_INPUT, NETWORK_INPUT))


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
    assert converted.report.ok and converted.metadata["options"]["head_conv"] == 64
    assert_equal(converted.tensors, tensors)
    checkpoint.save(tmp_path / "f.ckpt", converted.tensors, converted.metadata, {"epoch": 9})
    weights = to_torch(tmp_path / "f.ckpt")
    assert (weights.project, weights.epoch) == ("CenterFace.pytorch", 9)
    back = weights.tensors
    assert back["dla_up.up_2.up.0.weight"].shape == (64, 1, 2, 2) and "hm.0.bias" in back
    norms = [name for name in back if name.endswith(".running_var")]
    assert len(back) == 303 + len(norms) and back["dla_up.conv.1.num_batches_tracked"].dtype == np.int64
    write_zip(tmp_path / "back.pth", back, wrap=True)
    assert_equal(face_from_torch(tmp_path / "back.pth").tensors, tensors)


def test_expand_depthwise_is_the_same_layer():
    """out[o] = sum over i of in[i] weight[i, o]: with the diagonal each channel meets its own weight only."""
    weight = np.random.default_rng(0).random((5, 1, 2, 2))
    full = expand_depthwise(weight)
    image = np.random.default_rng(1).random(5)
    np.testing.assert_allclose(np.einsum("i,iokl->okl", image, full), image[:, None, None] * weight[:, 0])


def test_a_model_zoo_checkpoint(tmp_path):
    tensors = random_tensors(tensor_shapes(64))
    stored = {f"centerface_network.{name}": value for name, value in tensors.items()}
    stored["moment1.centerface_network.hm_head.0.bias"] = np.ones(1)
    checkpoint.save(tmp_path / "zoo.ckpt", stored)
    converted = convert(tmp_path / "zoo.ckpt")
    assert converted.report.ok and converted.metadata["input"] == NETWORK_INPUT
    assert converted.metadata["options"] == {"head_conv": 64, "activation": "relu6"}
    backbone = convert(tmp_path / "zoo.ckpt", part="backbone")
    assert len(backbone.tensors) == 255 and backbone.metadata["part"] == "backbone"
    checkpoint.save(tmp_path / "more.ckpt", {**stored, "extra.weight": np.ones(3)})
    assert convert(tmp_path / "more.ckpt").report.unexpected == ("extra.weight",)


def test_files_that_do_not_fit_are_refused(tmp_path):
    pytorch_face_file(tmp_path / "f.pth", True)
    face = {torch_name(name): value for name, value in random_tensors(tensor_shapes(64)).items()}
    del face["wh.bias"]
    write_zip(tmp_path / "less.pth", face)
    write_zip(tmp_path / "other.pth", {"conv1.weight": np.ones((2, 2), np.float32)})
    checkpoint.save(tmp_path / "resnet.ckpt", {"conv1.weight": np.ones((64, 3, 7, 7))})
    tensors = random_tensors(tensor_shapes(part="backbone"))
    del tensors["base.need_fp2.1.conv.2.weight"]
    tensors["base.need_fp1.0.features.1.beta"] = np.ones(16, np.float32)
    checkpoint.save(tmp_path / "part.ckpt", tensors)
    # Back to PyTorch go whole checkpoints that are fed, activated and decoded as CenterFace.pytorch does it.
    whole = convert(tmp_path / "f.pth")
    for name, change in (("input", {"input": {**NETWORK_INPUT, "channels": "RGB"}}), ("backbone", {}),
                         ("decoder", {"decoder": "centerface_release"}),
                         ("activation", {"options": {"activation": "relu"}})):
        checkpoint.save(tmp_path / f"{name}.ckpt", whole.tensors, {**whole.metadata, **change})
    checkpoint.save(tmp_path / "backbone.ckpt", *only_backbone(whole.tensors, {}))
    checkpoint.save(tmp_path / "dense.ckpt", random_tensors(tensor_shapes(64)))
    relu, relu6 = (partial(read_backbone, activation=name) for name in ("relu", "relu6"))
    for function, file, named in (
            (convert, "less.pth", "wh_head.bias"), (convert, "other.pth", "conv1.weight"),
            (convert, "none.pth", "none.pth"),
            (lambda path: convert(path, unfold_folder=tmp_path), "f.pth", "--unfold"),
            (relu6, "resnet.ckpt", "conv1.weight"), (relu6, "part.ckpt", "need_fp2.1.conv.2.weight"),
            (relu6, "part.ckpt", "need_fp1.0.features.1.beta"), (relu6, "activation.ckpt", "--activation=relu,"),
            (relu, "f.pth", "--activation=relu6,"), (to_torch, "f.pth", "f.pth"),
            (to_torch, "none.ckpt", "none.ckpt"), (to_torch, "input.ckpt", "input"),
            (to_torch, "decoder.ckpt", "decoder"),
            (to_torch, "activation.ckpt", "activation"), (to_torch, "dense.ckpt", "dla_up.up1.up.0.weight"),
            (to_torch, "backbone.ckpt", "dla_up.conv.0.weight")):
        with pytest.raises(InputError, match=named):
            function(tmp_path / file)
