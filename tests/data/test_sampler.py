# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis.strategies import integers, sampled_from

from dependency.errors import InputError
from src.data.sampler import SamplePlan, first_readable
from src.data.training_set import BadImageError
from tests.data.samples import unreadable


def test_an_epoch_is_a_permutation_and_epochs_differ():
    plan = SamplePlan(count=12, batch=4, max_epoch=2, seed=3)
    seen = [[plan.image(position)[1] for position in range(epoch * 12, epoch * 12 + 12)] for epoch in (0, 1)]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(12)) and seen[0] != seen[1]


def test_ranks_share_an_epoch():
    plans = [SamplePlan(count=10, batch=2, max_epoch=1, seed=1, rank=rank, world_size=3) for rank in range(3)]
    assert {plan.steps_per_epoch for plan in plans} == {2}
    seen = [plan.image(position)[1] for plan in plans for position in range(4)]
    assert set(seen) == set(range(10)) and len(seen) == 12


@pytest.mark.parametrize("count, world_size, batch, steps", [(12671, 8, 8, 198), (12671, 1, 8, 1583), (3, 1, 8, 1)])
def test_steps_of_the_manual(count, world_size, batch, steps):
    assert SamplePlan(count, batch, 140, world_size=world_size).steps_per_epoch == steps


def images_of(count, batch, world_size, steps, seed=1):
    """Step -> the images that all devices use in it."""
    plans = [SamplePlan(count, batch, 99, seed, rank, world_size) for rank in range(world_size)]
    return [Counter(plan.image(position)[1] for plan in plans for position in range(step * batch, (step + 1) * batch))
            for step in range(steps)]


@settings(max_examples=200, deadline=None)
@given(count=integers(1, 60), share=sampled_from([(1, 2), (3, 2), (1, 3), (2, 4), (1, 8)]), batch=integers(1, 5))
def test_a_step_has_the_same_images_however_they_are_shared(count, share, batch):
    first, second = share
    # The same images a step on `first` and on `second` devices.
    split = [(batch * second, first), (batch * first, second)]
    steps = [SamplePlan(count, size, 1, world_size=world_size).steps_per_epoch for size, world_size in split]
    assume(steps[0] == steps[1])
    shared = [images_of(count, size, world_size, 3 * steps[0]) for size, world_size in split]
    assert shared[0] == shared[1]


@settings(max_examples=200, deadline=None)
@given(count=integers(1, 60), batch=integers(1, 9), world_size=integers(1, 9), seed=integers(0, 9))
def test_no_image_is_used_more_than_once_above_the_others_in_an_epoch(count, batch, world_size, seed):
    steps = SamplePlan(count, batch, 99, seed, 0, world_size).steps_per_epoch
    used = sum(images_of(count, batch, world_size, steps, seed), Counter())
    times = [used[image] for image in range(count)]
    assert max(times) - min(times) <= 1
    assert max(times) <= -(-steps * batch * world_size // count)


def test_replacements_do_not_depend_on_the_number_of_devices():
    whole = SamplePlan(count=16, batch=8, max_epoch=1, seed=2)
    parts = [SamplePlan(count=16, batch=4, max_epoch=1, seed=2, rank=rank, world_size=2) for rank in range(2)]
    read = unreadable(3, 4, 5)

    def made(plan, position):
        (pair, _), index, bad = first_readable(read, plan.candidates(position), skips=True)
        return pair.tolist(), index, bad

    for step in range(2):
        one = sorted(made(whole, step * 8 + position) for position in range(8))
        assert one == sorted(made(plan, step * 4 + position) for plan in parts for position in range(4))


def test_when_all_images_are_bad_the_folder_is_suspected():
    plan = SamplePlan(count=5, batch=1, max_epoch=1)
    with pytest.raises(InputError, match="21 images in a row"):
        first_readable(unreadable(*range(5)), plan.candidates(0), skips=True)
    with pytest.raises(BadImageError, match="^[0-4].jpg"):
        first_readable(unreadable(*range(5)), plan.candidates(0), skips=False)


def test_other_errors_of_a_sample_are_not_skipped():
    def broken(index, rng):
        raise InputError("an annotation is wrong")
    with pytest.raises(InputError):
        first_readable(broken, SamplePlan(5, 1, 1).candidates(0), skips=True)

