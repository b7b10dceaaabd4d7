# SPDX-License-Identifier: Apache-2.0
import sys
from types import SimpleNamespace

import pytest

from dependency.errors import InputError
from src.retinaface.lr_schedule import adjust_learning_rate

MANUAL = {"initial_lr": 0.01, "gamma": 0.1, "stepvalues": (70, 90), "steps_pre_epoch": 402, "total_epochs": 100}


def test_dynamic_lr_of_the_manual():
    rates = adjust_learning_rate(**MANUAL, warmup_epoch=5, lr_type="dynamic_lr")
    assert len(rates) == 40200 and all(type(rate) is float for rate in rates)
    for step, rate in ((0, 0.0033333333), (2009, 0.0099966833), (2010, 0.01), (20000, 0.0058207415),
                       (40199, 6.161944e-05)):
        assert rates[step] == pytest.approx(rate, rel=1e-6)


def test_standard_lr_of_the_manual():
    rates = adjust_learning_rate(**MANUAL, lr_type="standard_lr")
    by_epoch = rates[::402]
    assert [rate for rate in by_epoch for _ in range(402)] == rates
    assert by_epoch[:6] == pytest.approx([0.001, 0.001585, 0.002512, 0.003981, 0.00631, 0.01], rel=1e-3)
    assert by_epoch[68] == 0.01
    assert by_epoch[69:90] == pytest.approx([0.001] * 21), "epochs 70 to 90"
    assert by_epoch[90:] == pytest.approx([0.0001] * 10), "epochs from 91"


@pytest.mark.parametrize("lr_type", ["dynamic_lr", "standard_lr"])
@pytest.mark.parametrize("warmup", [0, -1])
def test_without_warm_up_it_starts_at_the_top(lr_type, warmup):
    rates = adjust_learning_rate(**MANUAL, warmup_epoch=warmup, lr_type=lr_type)
    assert rates[0] == 0.01 == max(rates) and len(rates) == 40200


@pytest.mark.parametrize("lr_type", ["dynamic_lr", "standard_lr", "cosine"])
def test_a_run_shorter_than_its_warm_up(lr_type):
    assert len(adjust_learning_rate(0.01, 0.1, (70, 90), 3, 2, 5, lr_type)) == 6


def test_cosine_reaches_zero():
    rates = adjust_learning_rate(**MANUAL, lr_type="cosine")
    assert rates[-1] < 1e-9 and max(rates) == pytest.approx(0.01)


@pytest.mark.parametrize("chosen", ["standard_lr", "dynamic_lr"])
def test_the_type_comes_from_the_configuration(monkeypatch, chosen):
    monkeypatch.setitem(sys.modules, "src.retinaface.config", SimpleNamespace(cfg_res50={"lr_type": chosen}))
    assert adjust_learning_rate(**MANUAL) == adjust_learning_rate(**MANUAL, lr_type=chosen)


def test_an_unknown_type_is_named():
    with pytest.raises(InputError, match="--lr_type: 'dynamic' is not one of dynamic_lr, standard_lr, multistep"):
        adjust_learning_rate(**MANUAL, lr_type="dynamic")


@pytest.mark.parametrize("lr_type", ["dynamic_lr", "standard_lr", "cosine"])
def test_the_epochs_of_warm_up_may_be_a_fraction(lr_type):
    """As train.py reads them."""
    assert adjust_learning_rate(**MANUAL, warmup_epoch=5.0, lr_type=lr_type) == adjust_learning_rate(
        **MANUAL, warmup_epoch=5, lr_type=lr_type)
    rates = adjust_learning_rate(**MANUAL, warmup_epoch=0.5, lr_type=lr_type)
    assert len(rates) == MANUAL["steps_pre_epoch"] * MANUAL["total_epochs"]
