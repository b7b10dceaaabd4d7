# SPDX-License-Identifier: Apache-2.0
"""Splitting checkpoints and images over processes, and the cores of each."""
import functools
import operator
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.checkpoints import Candidate
from src.evaluation.processes import Shard, cores_of, split_work

counts = st.integers(1, 12)


@given(counts, counts, st.integers(1, 20))
def test_every_checkpoint_meets_every_image_once(checkpoints, images, processes):
    candidates = [Candidate(Path(f"0-{epoch}_{epoch}.ckpt"), str(epoch)) for epoch in range(checkpoints)]
    names = [f"e/{number}.jpg" for number in range(images)]
    shards = split_work(candidates, names, processes)
    pairs = [(candidate, name) for shard in shards for candidate in shard.candidates for name in shard.images]
    assert sorted(pairs) == sorted((candidate, name) for candidate in candidates for name in names)
    sizes = [len(shard.candidates) * len(shard.images) for shard in shards]
    per_unit = images if shards[0].images == names else checkpoints
    assert min(sizes) > 0 and max(sizes) - min(sizes) <= per_unit
    assert [(shard.rank, shard.world_size) for shard in shards] == [(rank, len(shards)) for rank in range(len(shards))]
    assert len(shards) == min(processes, max(checkpoints, images) if checkpoints < processes else checkpoints)


@given(st.integers(1, 16), st.integers(1, 16))
def test_processes_share_the_cores(cores, processes):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)
        own, current = [], []
        patch.setattr(os, "sched_getaffinity", lambda _: set(range(10, 10 + cores)), raising=False)
        patch.setattr(os, "sched_setaffinity", lambda _, chosen: current.append(list(chosen)), raising=False)
        threads = []
        for rank in range(processes):
            current.clear()
            with cores_of(Shard(rank, processes, [], []), True):
                threads.append(int(os.environ["OMP_NUM_THREADS"]))
                own += current
            assert current[-1] == list(range(10, 10 + cores)) and "OMP_NUM_THREADS" not in os.environ
        assert sorted(functools.reduce(operator.iadd, own, [])) == list(range(10, 10 + cores))
        assert min(threads) >= 1 and max(threads) - min(threads) <= 1 and sum(threads) == max(cores, processes)


def test_a_setting_of_the_user_stays_and_a_device_needs_no_cores(monkeypatch):
    shard = Shard(0, 2, [], [])
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with cores_of(shard, True):
        assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    before = os.sched_getaffinity(0)
    with cores_of(shard, False):
        assert "OMP_NUM_THREADS" not in os.environ and os.sched_getaffinity(0) == before
