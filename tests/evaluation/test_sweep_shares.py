# SPDX-License-Identifier: Apache-2.0
"""Dealing a sweep out, and the cores of its processes."""
import functools
import operator
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dependency.errors import InputError
from src.evaluation.sweep import Candidate
from src.evaluation.sweep_processes import on_cores
from src.evaluation.sweep_shares import Share, deal

counts = st.integers(1, 12)


@given(counts, counts, st.integers(1, 20))
def test_every_checkpoint_meets_every_image_once(checkpoints, images, processes):
    candidates = [Candidate(Path(f"0-{epoch}_{epoch}.ckpt"), str(epoch)) for epoch in range(checkpoints)]
    names = [f"e/{number}.jpg" for number in range(images)]
    shares = deal(candidates, names, processes)
    met = [(candidate, name) for share in shares for candidate in share.candidates for name in share.images]
    assert sorted(met) == sorted((candidate, name) for candidate in candidates for name in names)
    sizes = [len(share.candidates) * len(share.images) for share in shares]
    per_unit = images if shares[0].images == names else checkpoints
    assert min(sizes) > 0 and max(sizes) - min(sizes) <= per_unit
    assert [(share.rank, share.processes) for share in shares] == [(rank, len(shares)) for rank in range(len(shares))]
    assert len(shares) == min(processes, max(checkpoints, images) if checkpoints < processes else checkpoints)
    if checkpoints >= processes:
        assert all(share.candidates == candidates[share.rank::processes] for share in shares)


def test_no_process_is_an_error():
    with pytest.raises(InputError, match="--processes 0"):
        deal([Candidate(Path("a"), "")], ["e/a.jpg"], 0)


@pytest.mark.parametrize("name", ["a b", "ünicode\n", os.fsdecode(b"\xff")])
def test_a_share_travels_as_text(name):
    share = Share(1, 3, [Candidate(Path(name) / "0-1_9.ckpt", name)], [f"{name}/x.jpg"], True)
    assert Share.from_json(share.to_json()) == share and share.to_json().isascii()


@given(st.integers(1, 16), st.integers(1, 16))
def test_processes_share_the_cores(cores, processes):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)
        bound = []
        patch.setattr(os, "sched_getaffinity", lambda _: set(range(10, 10 + cores)), raising=False)
        patch.setattr(os, "sched_setaffinity", lambda _, chosen: bound.append(list(chosen)), raising=False)
        threads = []
        for rank in range(processes):
            with on_cores(Share(rank, processes, [], [], False), True) as environment:
                threads.append(int(environment["OMP_NUM_THREADS"]))
        own = bound[::2]
        assert all(each == list(range(10, 10 + cores)) for each in bound[1::2])
        assert sorted(functools.reduce(operator.iadd, own, [])) == list(range(10, 10 + cores))
        assert min(threads) >= 1 and max(threads) - min(threads) <= 1
        assert sum(threads) == max(cores, processes)


def test_what_the_user_set_stays_and_a_device_needs_no_cores(monkeypatch):
    share = Share(0, 2, [], [], False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with on_cores(share, True) as environment:
        assert environment["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    before = os.sched_getaffinity(0)
    with on_cores(share, False) as environment:
        assert "OMP_NUM_THREADS" not in environment and os.sched_getaffinity(0) == before
