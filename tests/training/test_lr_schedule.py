# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from dependency.errors import InputError
from src.training.lr_schedule import SCHEDULES, schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_rate_a_step_never_above_the_start(name):
    rates = schedule(name, lr=0.01, steps_per_epoch=3, max_epoch=130, lr_epochs=[90, 120], t_max=130)
    assert len(rates) == 390 and rates[0] == pytest.approx(0.01) and max(rates) <= 0.01 + 1e-12 and min(rates) >= 0


def test_multistep_prints_the_manuals_rates():
    rates = schedule("multistep", lr=4e-3, steps_per_epoch=198, max_epoch=140, lr_epochs=[90, 120], lr_gamma=0.1)
    shown = [float(np.float32(rates[epoch * 198 - 1])) for epoch in (2, 90, 91, 140)]
    assert shown == pytest.approx([0.004000000189989805, 0.004000000189989805, 4e-4, 3.9999998989515007e-05])
    assert str(shown[0]) == "0.004000000189989805" and str(shown[3]) == "3.9999998989515007e-05"


def test_warmup_rises_linearly_from_one_share():
    rates = schedule("cosine", lr=1.0, steps_per_epoch=10, max_epoch=4, warmup_epochs=0.5)
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]) and rates[5] == pytest.approx(1.0)


def test_cosine_ends_near_eta_min_and_is_the_formula():
    rates = schedule("cosine", lr=1.0, steps_per_epoch=5, max_epoch=4, eta_min=0.1)
    assert rates[10] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 0.5)) / 2)
    assert rates[-1] < 0.11


def test_cosine_annealing_is_constant_within_an_epoch_and_has_at_least_max_epoch():
    rates = schedule("cosine_annealing", lr=1.0, steps_per_epoch=2, max_epoch=10, t_max=3)
    assert rates[4] == rates[5] == pytest.approx((1 + math.cos(math.pi * 2 / 10)) / 2)


def test_annealing_v2_restarts_its_last_third_from_the_rate_reached():
    rates = schedule("cosine_annealing_V2", lr=1.0, steps_per_epoch=1, max_epoch=30, t_max=30)
    first = [(1 + math.cos(math.pi * epoch / 30)) / 2 for epoch in range(20)]
    assert rates[:20] == pytest.approx(first)
    assert rates[20] == pytest.approx(first[-1] * (1 + math.cos(math.pi * 1 / 10)) / 2)


def test_annealing_sample_leaves_out_every_second_epoch_from_the_sixtieth():
    rates = schedule("cosine_annealing_sample", lr=1.0, steps_per_epoch=1, max_epoch=140)
    kept = [epoch for epoch in range(200) if not (60 <= epoch < 180 and epoch % 2 == 0)]
    assert rates == pytest.approx([(1 + math.cos(math.pi * epoch / 200)) / 2 for epoch in kept])


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="'step'.*multistep.*cosine"):
        schedule("step", lr=1, steps_per_epoch=1, max_epoch=1)
