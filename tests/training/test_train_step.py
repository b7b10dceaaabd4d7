# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.tools.launching import Launch

RATES = [0.01] * 50


def weights(network):
    return {name: parameter.asnumpy().copy() for name, parameter in network.parameters_and_names()}


def data(ms, seed=0):
    x = np.random.default_rng(seed).normal(size=(8, 2)).astype(np.float32)
    return ms.Tensor(x), ms.Tensor(x[:, :1] * 2 - x[:, 1:])


def make(ms, **options):
    from tests.training.small_training import small_step
    step, network = small_step(RATES, **options)
    step.set_train(True)
    return step, network


def test_it_learns_and_returns_its_terms(ms):
    step, _ = make(ms)
    losses = []
    for _ in range(40):
        loss, terms, finite = step(*data(ms))
        assert bool(finite.asnumpy())
        assert float(loss.asnumpy()) == pytest.approx(sum(float(term.asnumpy()) for term in terms), rel=1e-5)
        losses.append(float(loss.asnumpy()))
    assert losses[-1] < 0.8 * losses[0]


def test_adam_is_that_of_mindspore_to_the_bit(ms):
    """Values and names of weights, moments and counters: checkpoints of either continue with the other."""
    from mindspore import nn

    from src.training.optim import Adam, param_groups
    from src.training.train_step import TrainStep
    from tests.training.small_training import SmallLoss, SmallNetwork
    states = []
    for build in (nn.Adam, Adam):
        network = SmallNetwork()
        groups = param_groups(network.trainable_params(), RATES, 0.1, "first.", 0.5)
        step = TrainStep(SmallLoss(network), build(groups, RATES))
        for seed in range(3):
            step(*data(ms, seed))
        states.append({parameter.name: parameter.asnumpy() for parameter in step.get_parameters()})
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][name], err_msg=name)


def test_a_backbone_of_rate_0_is_not_trained(ms):
    """Its weights stay, no gradient and no moments of it are computed, the others learn."""
    step, network = make(ms, slow_prefix="first.", slow_factor=0.0)
    before = weights(network)
    for seed in range(3):
        step(*data(ms, seed))
    after = weights(network)
    for name, value in before.items():
        if name.startswith("first."):
            np.testing.assert_array_equal(after[name], value, err_msg=name)
    names = {parameter.name for parameter in step.optimizer.parameters}
    assert names and not any(name.startswith("first.") for name in names)
    assert any((after[name] != before[name]).any() for name in names)


@pytest.mark.soak
def test_two_ranks_step_as_one(tmp_path):
    """Both models, in GRAPH_MODE and in PyNative, gradients averaged in several exchanges."""
    out = tmp_path / "found.json"
    status, text, _ = Launch(tmp_path, "--devices=2", "--", out, program=("-m", "tests.training.two_rank_step"),
                             PYTHONPATH=str(ROOT)).wait(550)
    assert status == 0, text
    found = json.loads(out.read_text())
    assert len(found) == 4
    for name, each in found.items():
        assert each["gap"] < 1e-4 * each["moved"], (name, found)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_loss_scale_cancels(ms, optimizer):
    """A power of two only moves exponents: the weights are the same to the bit."""
    results = []
    for scale in (1.0, 1024.0):
        step, network = make(ms, optimizer=optimizer, loss_scale=scale)
        for seed in range(3):
            step(*data(ms, seed))
        results.append(weights(network))
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def test_an_overflowing_step_is_skipped(ms):
    step, network = make(ms, ema_decay=0.9)
    step(*data(ms))
    before = weights(network)
    average = {name: value.asnumpy().copy() for name, value in step.ema_parameters().items()}
    x, y = data(ms)
    y = ms.Tensor(np.full((8, 1), np.inf, np.float32))
    _, _, finite = step(x, y)
    assert not bool(finite.asnumpy())
    for name, value in weights(network).items():
        if "moving" not in name:
            np.testing.assert_array_equal(value, before[name])
            np.testing.assert_array_equal(step.ema_parameters()[name].asnumpy(), average[name])


def test_clipping_bounds_the_step(ms):
    moved = []
    for clip in (0.0, 1e-3):
        step, network = make(ms, optimizer="sgd", clip_norm=clip)
        before = weights(network)
        step(*data(ms))
        after = weights(network)
        moved.append(np.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in after if "moving" not in name)))
    assert moved[1] == pytest.approx(0.01 * 1e-3, rel=1e-3) and moved[0] > 10 * moved[1]


def test_moving_average_is_its_formula(ms):
    step, network = make(ms, ema_decay=0.5)
    expected = weights(network)
    for t in range(5):
        step(*data(ms, t))
        keep = np.float32(min(0.5, (1 + t) / (10 + t)))
        now = weights(network)
        expected = {name: value * keep + now[name] * (1 - keep) for name, value in expected.items()}
    average = step.ema_parameters()
    assert set(average) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(average[name].asnumpy(), value, rtol=1e-5, atol=1e-6)


def test_names_carry_no_prefix_and_decay_spares_biases(ms):
    step, network = make(ms, weight_decay=0.1, ema_decay=0.9)
    names = {parameter.name for parameter in network.get_parameters()}
    assert "first.weight" in names and "norm.moving_mean" in names
    assert {"moment1.first.weight", "moment2.norm.gamma"} <= {p.name for p in step.optimizer.get_parameters()}
    assert sorted({float(decay) for decay in step.optimizer.weight_decay}) == pytest.approx([0.0, 0.1])


def test_a_slow_backbone_moves_less(ms):
    from src.training.optim import build_optimizer
    from src.training.train_step import TrainStep
    from tests.training.small_training import SmallLoss, SmallNetwork
    network = SmallNetwork()
    optimizer = build_optimizer("adam", network.trainable_params(), RATES, 0.0, 0.9, "first.", 0.01)
    step = TrainStep(SmallLoss(network), optimizer)
    step.set_train(True)
    before = weights(network)
    step(*data(ms))
    after = weights(network)
    assert abs(after["first.weight"] - before["first.weight"]).max() == pytest.approx(1e-4, rel=0.05)
    assert abs(after["last.weight"] - before["last.weight"]).max() == pytest.approx(1e-2, rel=0.05)
