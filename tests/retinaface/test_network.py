# SPDX-License-Identifier: Apache-2.0
import hashlib
import math

import numpy as np
import pytest

from dependency.errors import InputError
from src.retinaface.layers import backbone_of, tensor_shapes
from src.weights.layers import Layer


@pytest.fixture(scope="module")
def small(ms):
    """Builds a RetinaFace on MobileNetV1 x0.25."""
    from src.retinaface.network import RetinaFace, mobilenet025
    return lambda phase="predict", **options: RetinaFace(phase, mobilenet025(None), **options)


def sizes(parameters):
    return sum(int(np.prod(parameter.shape)) for parameter in parameters)


def images(*shape):
    return np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)


@pytest.mark.parametrize("name, tensors, digest, trainable", [
    ("resnet50", 383, "21dde4413bfdb182", 27_293_600),          # the manual's 27.29M
    ("mobilenet025", 253, "f0f6fbea07dace0d", 426_608),
])
def test_names_and_shapes_of_the_weights_never_change(ms, name, tensors, digest, trainable):
    from src.retinaface.network import RetinaFace, build_backbone
    network = RetinaFace("predict", build_backbone(name))
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()}
    assert shapes == tensor_shapes(name) and len(shapes) == tensors and backbone_of(shapes) == name
    text = "\n".join(f"{name} {shape}" for name, shape in tensor_shapes(name).items())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest
    assert sizes(network.trainable_params()) == trainable
    assert backbone_of(["conv1.weight"]) is None


@pytest.mark.parametrize("name, classifier, shape, trainable", [
    ("resnet50", "end_point", (1001, 2048), 23_508_032), ("mobilenet025", "fc", (1000, 256), 213_072)])
def test_a_backbone_has_its_checkpoints_names_and_an_untrained_classifier(ms, name, classifier, shape, trainable):
    from src.retinaface import network
    backbone = getattr(network, name)(shape[0])
    shapes = {name: tuple(parameter.shape) for name, parameter in backbone.parameters_and_names()}
    expected = {name[len("base."):]: each for name, each in tensor_shapes(name, "backbone").items()}
    assert shapes == {**expected, f"{classifier}.weight": shape, f"{classifier}.bias": shape[:1]}
    assert sizes(backbone.trainable_params()) == trainable
    assert not hasattr(getattr(network, name)(None), classifier)


def test_the_stride_is_on_the_3x3_convolution_and_padding_is_symmetric(ms):
    from src.retinaface.network import resnet50
    backbone = resnet50(None)
    first = backbone.layer2[0]
    assert (first.conv1.stride, first.conv2.stride, first.down_sample_layer[0].stride) == ((1, 1), (2, 2), (2, 2))
    assert backbone.layer1[0].conv2.stride == (1, 1)
    assert {cell.pad_mode.lower() for _, cell in backbone.cells_and_names() if hasattr(cell, "pad_mode")} == {"pad"}


@pytest.mark.parametrize("name, layer, fan_out", [
    ("resnet50", "layer3.1.conv2.weight", 256 * 9), ("mobilenet025", "stage2.3.0.weight", 9)])
def test_backbones_start_with_hes_spread_and_follow_the_seed(ms, name, layer, fan_out):
    from src.retinaface.network import build_backbone
    first, second, other = (dict(build_backbone(name, seed).parameters_and_names())[layer].asnumpy()
                            for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any() and first.std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.1)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name, channels", [("mobilenet025", (64, 128, 256)),
                                            pytest.param("resnet50", (512, 1024, 2048), marks=pytest.mark.soak)])
def test_maps_are_rounded_up_and_frozen_statistics_stay(ms, name, channels, frozen):
    from src.retinaface.network import build_backbone
    from src.training.batch_norm import freeze_statistics
    backbone = build_backbone(name)
    if frozen:
        freeze_statistics(backbone)
    backbone.set_train(True)
    before = {name: parameter.asnumpy().copy() for name, parameter in backbone.parameters_and_names()}
    maps = backbone(ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, 33, 65)).astype(np.float32)))
    assert [tuple(each.shape) for each in maps] == [(2, width, *grid) for width, grid in zip(
        channels, ((5, 9), (3, 5), (2, 3)))]
    moved = {name for name, parameter in backbone.parameters_and_names() if (parameter.asnumpy() != before[name]).any()}
    assert moved == (set() if frozen else {name for name in before if "moving" in name})


def test_no_backbone_means_resnet50_without_classifier(ms):
    from src.retinaface.network import RetinaFace
    assert {name for name, _ in RetinaFace().parameters_and_names()} == set(tensor_shapes("resnet50"))


def test_the_options_set_the_pyramids_width_and_its_activation(ms, small):
    from mindspore import nn
    wide, usual = small(cfg={"out_channel": 128}).fpn.merge1, small(cfg={"image_size": 840}).fpn.merge1
    assert wide[0].weight.shape == (128, 128, 3, 3) and isinstance(wide[2], nn.ReLU)
    assert usual[0].weight.shape == (64, 64, 3, 3) and isinstance(usual[2], nn.LeakyReLU)


@pytest.mark.parametrize("phase, is_logits", [("train", True), ("predict", False)])
def test_the_phase_decides_on_the_softmax_and_set_train_does_not(ms, small, phase, is_logits):
    network = small(phase)
    network.set_train(phase == "predict")
    conf = network(ms.Tensor(images(1, 3, 32, 32)))[1].asnumpy()
    assert np.allclose(conf.sum(-1), 1, atol=1e-5) != is_logits


def test_an_unknown_phase_is_refused(small):
    with pytest.raises(InputError, match="eval"):
        small("eval")


def test_every_size_has_as_many_predictions_as_anchors(ms, small):
    """ceil(side / stride) cells a level, two anchors a cell; at 840 the manual's 29126."""
    network = small()
    network.set_train(False)
    network.set_inputs(ms.Tensor(shape=[None, 3, None, None], dtype=ms.float32))
    for height, width in ((32, 32), (66, 66), (97, 131), (481, 20), (482, 513), (500, 33), (840, 840)):
        count = 2 * sum(math.ceil(height / stride) * math.ceil(width / stride) for stride in (8, 16, 32))
        for batch in (1, 2) if height < 100 else (1,):
            maps = network(ms.Tensor(images(batch, 3, height, width)))
            assert [tuple(each.shape) for each in maps] == [(batch, count, numbers) for numbers in (4, 2, 10)]
    assert count == 29126


def test_predictions_come_level_by_level_row_by_row_anchor_by_anchor(ms, small):
    """Each head's bias and weights are set so that a prediction says where it comes from."""
    network = small("train")
    network.set_train(False)
    for level, head in enumerate(network.BboxHead):
        head.conv1x1.weight.set_data(ms.Tensor(np.zeros(head.conv1x1.weight.shape, np.float32)))
        head.conv1x1.bias.set_data(ms.Tensor(np.arange(8, dtype=np.float32) + 10 * level))
    bbox = network(ms.Tensor(images(1, 3, 64, 32)))[0].asnumpy()[0]
    cells = (8 * 4, 4 * 2, 2 * 1)
    expected = np.concatenate([np.tile((np.arange(8) + 10 * level).reshape(2, 4), (count, 1))
                               for level, count in enumerate(cells)])
    np.testing.assert_array_equal(bbox, expected)


def test_cells_are_counted_row_by_row(ms):
    from src.retinaface.network import Head
    head = Head(Layer("head", None, (4, 1, 1, 1)))
    head.conv1x1.weight.set_data(ms.Tensor(np.array([1, 1, 1, 1], np.float32).reshape(4, 1, 1, 1)))
    head.conv1x1.bias.set_data(ms.Tensor(np.array([0.0, 0.1, 0.2, 0.3], np.float32)))
    grid = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    expected = np.arange(6)[:, None] + np.array([0.0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(head(ms.Tensor(grid)).asnumpy()[0], expected.reshape(12, 2), atol=1e-5)


def test_upsampling_takes_the_nearest_by_rounding_down(ms):
    from mindspore import nn

    from src.retinaface.network import resize_to

    class Resize(nn.Cell):
        def construct(self, x, like):
            return resize_to(x, like)

    dynamic = ms.Tensor(shape=[None, None, None, None], dtype=ms.float32)
    cell = Resize()
    cell.set_inputs(dynamic, dynamic)
    for new in range(1, 34):
        old = (new + 1) // 2
        coarse = np.arange(old * 27, dtype=np.float32).reshape(1, 1, old, 27)
        given = cell(ms.Tensor(coarse), ms.Tensor(np.zeros((1, 1, new, 53), np.float32))).asnumpy()
        rows, columns = np.arange(new) * old // new, np.arange(53) * 27 // 53
        np.testing.assert_array_equal(given[0, 0], coarse[0, 0][rows][:, columns])


def test_the_initial_weights_follow_the_seed(small):
    first, second, other = (small(seed=seed) for seed in (1, 1, 2))
    for name in ("ssh2.conv5X5_1.0.weight", "ClassHead.1.conv1x1.weight", "LandmarkHead.0.conv1x1.bias"):
        values = [dict(net.parameters_and_names())[name].asnumpy() for net in (first, second, other)]
        np.testing.assert_array_equal(values[0], values[1])
        assert (values[0] != values[2]).any()
        bound = 1 / math.sqrt(64 * 9 if "ssh" in name else 64)
        assert 0.8 * bound < np.abs(values[0]).max() <= bound


def test_gradients_reach_every_weight_but_no_statistics(ms, small):
    network = small("train")
    network.set_train(True)
    weights = network.trainable_params()

    def total(x):
        bbox, conf, landm = network(x)
        return (bbox ** 2).sum() + (conf ** 2).sum() + (landm ** 2).sum()

    grads = ms.value_and_grad(total, None, weights)(ms.Tensor(images(2, 3, 64, 64)))[1]
    still = [weight.name for weight, grad in zip(weights, grads) if not np.abs(grad.asnumpy()).max() > 0]
    assert len(grads) == len(weights) == 159 and still == []


def test_scores_start_at_the_prior(small):
    """Nothing else differs from a network without one."""
    import mindspore as ms
    plain, rare = (network.parameters_dict() for network in (small(), small(prior=0.01)))
    differ = [name for name in plain if (plain[name].asnumpy() != rare[name].asnumpy()).any()]
    assert differ == [f"ClassHead.{level}.conv1x1.bias" for level in range(3)]
    network = small(prior=0.01)
    for head in network.ClassHead:
        head.conv1x1.weight.set_data(ms.Tensor(np.zeros(head.conv1x1.weight.shape, np.float32)))
    scores = network(ms.Tensor(images(1, 3, 64, 64)))[1].asnumpy()[..., 1]
    np.testing.assert_allclose(scores, 0.01, rtol=1e-5)
