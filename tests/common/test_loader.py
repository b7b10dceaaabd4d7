# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dependency.errors import InputError
from src.common.loader import SamplePlan, batches, create_loader
from src.common.run_settings import OptionNames


def sample(index, rng):
    return np.array([index, rng.integers(1 << 30)], np.int64), np.full((2, 2), index, np.uint8)


def rows(plan, **options):
    found = [[column.asnumpy() for column in batch]
             for batch in batches(create_loader(sample, ["pair", "image"], plan, **options))]
    return np.concatenate([pair for pair, _, _ in found]), np.concatenate([index for _, _, index in found])


def test_an_epoch_is_a_permutation_and_epochs_differ():
    plan = SamplePlan(count=12, batch=4, max_epoch=2, seed=3)
    seen = [[plan.image(place)[1] for place in range(epoch * 12, epoch * 12 + 12)] for epoch in (0, 1)]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(12)) and seen[0] != seen[1]


def test_ranks_share_an_epoch():
    plans = [SamplePlan(count=10, batch=2, max_epoch=1, seed=1, rank=rank, group=3) for rank in range(3)]
    assert {plan.steps_per_epoch for plan in plans} == {2}
    seen = [plan.image(place)[1] for plan in plans for place in range(4)]
    assert set(seen) == set(range(10)) and len(seen) == 12


@pytest.mark.parametrize("count, group, batch, steps", [(12671, 8, 8, 198), (12671, 1, 8, 1583), (3, 1, 8, 1)])
def test_steps_of_the_manual(count, group, batch, steps):
    assert SamplePlan(count, batch, 140, group=group).steps_per_epoch == steps


def test_workers_and_resume_do_not_change_the_data(ms):
    plan = SamplePlan(count=10, batch=3, max_epoch=3, seed=5)
    whole, index = rows(plan, workers=1)
    assert len(whole) == 27 and (whole[:, 0] == index).all()
    two, _ = rows(plan, workers=2)
    np.testing.assert_array_equal(whole, two)
    rest, _ = rows(plan, workers=2, first_step=4)
    np.testing.assert_array_equal(whole[12:], rest)


def test_randomness_differs_between_epochs_of_one_image(ms):
    pairs, _ = rows(SamplePlan(count=4, batch=4, max_epoch=6, seed=0), workers=1)
    of_one = pairs[pairs[:, 0] == 2, 1]
    assert len(set(of_one)) == 6


def test_nothing_to_train_on_is_an_error(ms):
    with pytest.raises(InputError, match="no image with a face.*--validate"):
        create_loader(sample, ["a"], SamplePlan(0, 4, 1))
    with pytest.raises(InputError, match="nothing left to train.*raise --epoch to go on"):
        create_loader(sample, ["a"], SamplePlan(4, 4, 2), first_step=2, names=OptionNames(epochs="--epoch"))


def test_resume_with_other_data_is_refused():
    plan = SamplePlan(count=10, batch=3, max_epoch=3, seed=5)
    position = {"images": 10, "batch": 3, "group": 1, "seed": 5, "step": 6, "epoch": 2}
    assert plan.first_step(None) == 0 and plan.first_step(position) == 6
    with pytest.raises(InputError, match="images 11, now it is 10"):
        plan.first_step({**position, "images": 11})
