# SPDX-License-Identifier: Apache-2.0
import hashlib

import numpy as np
import pytest

from src.centerface.layers import tensor_shapes


@pytest.mark.parametrize("head_conv, digest, trainable", [
    (64, "0daa05d6e86112ff", 1_929_935),       # the manual's
    (24, "1e3c029c99d9361b", 1_835_895)])      # the authors' release
def test_names_and_shapes_of_the_weights_never_change(ms, head_conv, digest, trainable):
    from src.centerface.network import CenterfaceMobilev2
    network = CenterfaceMobilev2(head_conv)
    shapes = tensor_shapes(head_conv)
    assert {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()} == shapes
    text = "\n".join(f"{name} {shape}" for name, shape in shapes.items())
    assert len(shapes) == 303 and hashlib.sha256(text.encode()).hexdigest()[:16] == digest
    assert sum(int(np.prod(parameter.shape)) for parameter in network.trainable_params()) == trainable


def test_the_prior_and_the_seed(ms):
    from src.centerface.network import CenterfaceMobilev2
    first, second, other = CenterfaceMobilev2(), CenterfaceMobilev2(), CenterfaceMobilev2(hm_bias=0.0, seed=5)
    weight = [net.base.need_fp2[1].conv[2].weight.asnumpy() for net in (first, second, other)]
    np.testing.assert_array_equal(weight[0], weight[1])
    assert (weight[0] != weight[2]).any()
    assert first.hm_head[0].bias.asnumpy()[0] == pytest.approx(-2.19)
    assert other.hm_head[0].bias.asnumpy()[0] == 0


def test_an_untrained_network_expects_a_face_with_probability_a_tenth(ms):
    from src.centerface.network import CenterfaceMobilev2
    network = CenterfaceMobilev2()
    network.set_train(False)
    network.set_inputs(ms.Tensor(shape=[None, 3, None, None], dtype=ms.float32))
    for shape in ((1, 3, 64, 96), (2, 3, 96, 64)):
        maps = network(ms.Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32)))
        grid = (shape[2] // 4, shape[3] // 4)
        assert [tuple(each.shape) for each in maps] == [(shape[0], channels, *grid) for channels in (1, 2, 2, 10)]
        assert maps[0].asnumpy().mean() == pytest.approx(0.1, abs=0.02)


def test_the_maps_for_the_loss_lack_only_the_sigmoid(ms):
    from src.centerface.network import CenterfaceMobilev2
    network = CenterfaceMobilev2(head_conv=24)
    network.set_train(False)
    images = ms.Tensor(np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32))
    heat, *others = (each.asnumpy() for each in network(images))
    logits, *raw = (each.asnumpy() for each in network.raw(images))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), heat, rtol=1e-5)
    for each, same in zip(others, raw):
        np.testing.assert_allclose(each, same, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_statistics_stay_and_only_the_backbones(ms, frozen):
    from src.centerface.network import CenterfaceMobilev2
    from src.training.batch_norm import freeze_statistics
    net = CenterfaceMobilev2(head_conv=24)
    if frozen:
        freeze_statistics(net.base)
    net.set_train(True)
    before = {name: parameter.asnumpy().copy() for name, parameter in net.parameters_and_names()}
    net(ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)))
    moved = {name for name, parameter in net.parameters_and_names() if (parameter.asnumpy() != before[name]).any()}
    assert all("moving" in name for name in moved)
    assert any(name.startswith("dla_up") for name in moved)
    assert any(name.startswith("base") for name in moved) == (not frozen)
