# SPDX-License-Identifier: Apache-2.0
import time

import numpy as np
import psutil
import pytest

from dependency.centernet.src.lib.datasets.dataset.annotations import Annotations
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.errors import InputError
from src.data import loader
from src.data.loader import DataError, batches, load_shared, share
from src.data.sampler import SamplePlan
from src.data.training_set import NONE_BAD
from tests.annotations.annotation_files import same
from tests.data.samples import late_sample, sample, signalled, slow, unreadable


@pytest.fixture(params=[1, 2, "processes"])
def workers(request, monkeypatch):
    """Numbers of workers as threads, then two processes."""
    monkeypatch.setattr(loader.os, "cpu_count", lambda: 2)
    if request.param == "processes":
        monkeypatch.setattr(loader, "MOST_THREADS", 0)
        return 2
    return request.param


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setattr(loader.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(loader, "MOST_THREADS", 0)


def columns(plan, make=sample, **options):
    """The columns of all batches, joined."""
    return [np.concatenate(column).tolist() for column in zip(*batches(make, plan, **options))]


def test_workers_and_resume_do_not_change_the_data(workers):
    plan = SamplePlan(count=10, batch=3, max_epoch=3, seed=5)
    expected = [sample(*next(plan.candidates(position)))[0].tolist() for position in range(27)]
    pairs, _, index, bad = columns(plan, workers=workers)
    assert pairs == expected and index == [image for image, _ in pairs] and set(bad) == {NONE_BAD}
    assert columns(plan, workers=workers, first_step=4)[0] == expected[12:]


@pytest.mark.parametrize("epoch", [0, 2, 3])
def test_late_samples_begin_with_their_epoch_in_a_resumed_run_too(workers, epoch):
    plan = SamplePlan(count=10, batch=3, max_epoch=3, seed=5)
    pairs, marks, *_ = columns(plan, workers=workers, late=(epoch, late_sample))
    assert pairs == columns(plan, workers=workers)[0]
    assert [mark[0][0] >= 100 for mark in marks] == [position >= 9 * epoch for position in range(27)]
    assert columns(plan, workers=workers, first_step=4, late=(epoch, late_sample))[:2] == [pairs[12:], marks[12:]]


def test_randomness_differs_between_epochs_of_one_image():
    pairs = columns(SamplePlan(count=4, batch=4, max_epoch=6, seed=0))[0]
    assert len({number for image, number in pairs if image == 2}) == 6


def test_a_bad_image_is_replaced_by_the_next_of_the_epoch(workers):
    plan = SamplePlan(count=10, batch=5, max_epoch=2, seed=5)
    order = [plan.image(position)[1] for position in range(20)]
    bad = {order[3], order[4], order[9]}
    pairs, _, index, replaced = columns(plan, unreadable(*bad), workers=workers, bad_images="skip")
    for position, own in enumerate(order):
        start = position // 10 * 10
        following = order[position:start + 10] + order[start:position]
        expected = next(each for each in following if each not in bad)
        assert (index[position], replaced[position]) == (expected, own if own in bad else NONE_BAD)
    assert len({tuple(pair) for pair in pairs}) == 20, "a replacement is another view of its image"


def test_an_error_in_a_worker_is_a_data_error(workers):
    plan = SamplePlan(count=10, batch=5, max_epoch=1)
    with pytest.raises(DataError, match="3.jpg: not a readable image") as error:
        columns(plan, unreadable(3), workers=workers)
    assert isinstance(error.value.__cause__, InputError)


def worker_processes():
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.parametrize("is_idle", [False, True], ids=["working", "idle"])
def test_a_killed_worker_process_is_a_data_error(processes, is_idle):
    running = batches(sample if is_idle else slow, SamplePlan(count=50, batch=5, max_epoch=1), workers=2)
    next(running)
    if is_idle:
        time.sleep(0.5)
    worker_processes()[1].kill()
    if is_idle:         # the other one must not have made the last samples before the loss of this one is noticed
        time.sleep(1)
    with pytest.raises(DataError, match="out of memory"):
        list(running)


def test_worker_processes_outlive_the_stop_of_a_job_and_end_with_the_iteration(processes):
    plan = SamplePlan(count=10, batch=5, max_epoch=1)
    assert columns(plan, signalled, workers=2) == columns(plan, sample, workers=1)
    running = batches(slow, plan, workers=2)
    next(running)
    own = worker_processes()
    assert len(own) == 2
    running.close()
    assert not any(child.is_running() for child in own)


def test_worker_processes_share_the_arrays_of_the_annotations(tmp_path):
    for boxes in (np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros((0, 4), np.float32)):
        count = len(boxes)
        record = Record("e/\u4eba.jpg", boxes, np.ones((count, 5, 2), np.float32), np.ones((count, 5), np.uint8),
                        np.zeros(count, bool), 7, 9)
        annotations = Annotations([record, record], "label.txt")
        shared = share((annotations, "word"), str(tmp_path / "arrays"))
        loaded, word = load_shared(*shared)
        same(loaded, annotations)
        assert word == "word" and loaded.file == "label.txt" and len(loaded) == 2
        assert not count or not (loaded.boxes.flags.owndata or loaded.boxes.flags.writeable)
        assert len(shared[1]) < 4000, "no array is in the pickle"
