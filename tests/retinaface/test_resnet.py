# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.retinaface.layers import tensor_shapes


@pytest.fixture(scope="module")
def backbone(ms):
    from src.retinaface.resnet import resnet50
    return resnet50(1001)


def trainable(cell):
    return sum(int(np.prod(parameter.shape)) for parameter in cell.trainable_params())


def test_names_of_a_backbones_checkpoint(backbone):
    """Those of the manual's res50_pretrain.ckpt: without any prefix, the classifier under its name."""
    shapes = {name: tuple(parameter.shape) for name, parameter in backbone.parameters_and_names()}
    expected = {name.replace("base.", "", 1): shape for name, shape in tensor_shapes("resnet50", "backbone").items()}
    assert shapes == {**expected, "end_point.weight": (1001, 2048), "end_point.bias": (1001,)}
    for name in ("conv1.weight", "bn1.moving_mean", "layer1.0.down_sample_layer.0.weight",
                 "layer1.0.down_sample_layer.1.gamma", "layer4.2.bn3.moving_variance", "layer3.5.conv2.weight"):
        assert name in shapes
    assert "layer1.1.down_sample_layer.0.weight" not in shapes


def test_the_classifier_is_there_but_not_trained(ms, backbone):
    from src.retinaface.resnet import resnet50
    assert trainable(backbone) == 23_508_032
    assert not backbone.end_point.weight.requires_grad and not backbone.end_point.bias.requires_grad
    assert sum(int(np.prod(parameter.shape)) for parameter in backbone.end_point.get_parameters()) == 2_051_049
    assert resnet50().end_point.weight.shape == (10, 2048)
    assert not hasattr(resnet50(None), "end_point")


def test_the_stride_is_on_the_3x3_convolution_and_padding_is_symmetric(backbone):
    first = backbone.layer2[0]
    assert (first.conv1.stride, first.conv2.stride, first.down_sample_layer[0].stride) == ((1, 1), (2, 2), (2, 2))
    assert backbone.layer1[0].conv2.stride == (1, 1)
    assert backbone.channels == (512, 1024, 2048)
    assert {cell.pad_mode.lower() for _, cell in backbone.cells_and_names() if hasattr(cell, "pad_mode")} == {"pad"}


def test_the_initial_weights_follow_the_seed_and_have_hes_spread(ms):
    from src.retinaface.resnet import resnet50
    first, second, other = (resnet50(10, seed).layer3[1].conv2.weight.asnumpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert first.std() == pytest.approx(np.sqrt(2 / (256 * 9)), rel=0.01) and abs(first.mean()) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_statistics_stay(ms, frozen):
    from src.retinaface.resnet import resnet50
    net = resnet50(None)
    if frozen:
        net.freeze_statistics()
    net.set_train(True)
    before = {name: parameter.asnumpy().copy() for name, parameter in net.parameters_and_names()}
    maps = net(ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, 33, 65)).astype(np.float32)))
    assert [tuple(each.shape) for each in maps] == [(2, 512, 5, 9), (2, 1024, 3, 5), (2, 2048, 2, 3)]
    moved = {name for name, parameter in net.parameters_and_names() if (parameter.asnumpy() != before[name]).any()}
    statistics = {name for name in before if "moving" in name}
    assert moved == (set() if frozen else statistics)
