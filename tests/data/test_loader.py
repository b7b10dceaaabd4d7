# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.strategies import integers, sampled_from

from dependency.errors import InputError
from src.data.loader import batches
from src.data.sampler import SamplePlan, first_readable
from src.data.training_set import NONE_BAD, BadImageError


def sample(index, rng):
    return np.array([index, rng.integers(1 << 30)], np.int64), np.full((2, 2), index, np.uint8)


def rows(plan, **options):
    found = list(batches(sample, plan, **options))
    return np.concatenate([pair for pair, *_ in found]), np.concatenate([index for _, _, index, _ in found])


def test_an_epoch_is_a_permutation_and_epochs_differ():
    plan = SamplePlan(count=12, batch=4, max_epoch=2, seed=3)
    seen = [[plan.image(place)[1] for place in range(epoch * 12, epoch * 12 + 12)] for epoch in (0, 1)]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(12)) and seen[0] != seen[1]


def test_ranks_share_an_epoch():
    plans = [SamplePlan(count=10, batch=2, max_epoch=1, seed=1, rank=rank, world_size=3) for rank in range(3)]
    assert {plan.steps_per_epoch for plan in plans} == {2}
    seen = [plan.image(place)[1] for plan in plans for place in range(4)]
    assert set(seen) == set(range(10)) and len(seen) == 12


@pytest.mark.parametrize("count, world_size, batch, steps", [(12671, 8, 8, 198), (12671, 1, 8, 1583), (3, 1, 8, 1)])
def test_steps_of_the_manual(count, world_size, batch, steps):
    assert SamplePlan(count, batch, 140, world_size=world_size).steps_per_epoch == steps


def test_workers_and_resume_do_not_change_the_data():
    plan = SamplePlan(count=10, batch=3, max_epoch=3, seed=5)
    whole, index = rows(plan, workers=1)
    assert len(whole) == 27 and (whole[:, 0] == index).all()
    two, _ = rows(plan, workers=2)
    np.testing.assert_array_equal(whole, two)
    rest, _ = rows(plan, workers=2, first_step=4)
    np.testing.assert_array_equal(whole[12:], rest)


def test_randomness_differs_between_epochs_of_one_image():
    pairs, _ = rows(SamplePlan(count=4, batch=4, max_epoch=6, seed=0), workers=1)
    of_one = pairs[pairs[:, 0] == 2, 1]
    assert len(set(of_one)) == 6


def images_of(count, batch, world_size, steps, seed=1):
    """Step -> the images that all devices use in it."""
    plans = [SamplePlan(count, batch, 99, seed, rank, world_size) for rank in range(world_size)]
    return [Counter(plan.image(place)[1] for plan in plans for place in range(step * batch, (step + 1) * batch))
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


def unreadable(*bad):
    """A sample function for which these images cannot be read."""
    def read(index, rng):
        if index in bad:
            raise BadImageError(f"{index}.jpg: not a readable image", index)
        return sample(index, rng)
    return read


def skipped(plan, bad, **options):
    """Columns (pair, index, bad) of a loader that skips the images `bad`."""
    found = list(batches(unreadable(*bad), plan, bad_images="skip", **options))
    return [np.concatenate([batch[column] for batch in found]).tolist() for column in (0, 2, 3)]


def test_a_bad_image_is_replaced_by_the_next_of_the_epoch():
    plan = SamplePlan(count=10, batch=5, max_epoch=2, seed=5)
    order = [plan.image(place)[1] for place in range(20)]
    bad = {order[3], order[4], order[9]}
    pairs, index, culprit = skipped(plan, bad, workers=1)
    for at, own in enumerate(order):
        start = at // 10 * 10
        stand_in = next(each for each in order[at:start + 10] + order[start:at] if each not in bad)
        assert (index[at], culprit[at]) == (stand_in, own if own in bad else NONE_BAD)
    assert len({tuple(pair) for pair in pairs}) == 20, "a stand-in is another view of its image"
    assert skipped(plan, bad, workers=2) == [pairs, index, culprit]
    assert skipped(plan, bad, workers=2, first_step=3) == [pairs[15:], index[15:], culprit[15:]]


def test_stand_ins_do_not_depend_on_the_number_of_devices():
    whole = SamplePlan(count=16, batch=8, max_epoch=1, seed=2)
    parts = [SamplePlan(count=16, batch=4, max_epoch=1, seed=2, rank=rank, world_size=2) for rank in range(2)]
    read = unreadable(3, 4, 5)

    def found(plan, place):
        (pair, _), index, bad = first_readable(read, plan.candidates(place), skips=True)
        return pair.tolist(), index, bad

    for step in range(2):
        one = sorted(found(whole, step * 8 + place) for place in range(8))
        assert one == sorted(found(plan, step * 4 + place) for plan in parts for place in range(4))


def test_when_all_images_are_bad_the_folder_is_suspected():
    plan = SamplePlan(count=5, batch=1, max_epoch=1)
    with pytest.raises(InputError, match=r"21 images in a row cannot be read, the last one: .*folder looks gone"):
        first_readable(unreadable(*range(5)), plan.candidates(0), skips=True)
    with pytest.raises(BadImageError, match="^[0-4].jpg: not a readable image$"):
        first_readable(unreadable(*range(5)), plan.candidates(0), skips=False)


def test_other_errors_of_a_sample_are_not_skipped():
    def broken(index, rng):
        raise InputError("an annotation is wrong")
    with pytest.raises(InputError, match="an annotation is wrong"):
        first_readable(broken, SamplePlan(5, 1, 1).candidates(0), skips=True)
