# SPDX-License-Identifier: Apache-2.0
"""Files are whole or not there: killed writers, several writers, a full disk, and what they leave behind."""
import os
import subprocess
import sys
import threading
import time

import pytest

from dependency import files
from dependency.files import append_line, atomic_write, remove_partial
from tests.conftest import ROOT

WRITER = """
import sys, time
from dependency.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write("half of it")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""

# Saves version 0, 1, 0, 1, ... of one checkpoint, is killed, and again; prints what it finds after each kill.
SAVES_AND_KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from src.weights import checkpoint
path, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(7)
versions = [{name: np.full((256, 1024), version, np.float32) for name in ("a", "b", "c", "d")} for version in (0, 1)]
checkpoint.save(path, versions[0], {"model": "x"}, {"step": 0})
start = time.perf_counter()
checkpoint.save(path, versions[0], {"model": "x"}, {"step": 0})
duration = time.perf_counter() - start
for _ in range(kills):
    child = os.fork()
    if child == 0:
        step = 1
        while True:
            checkpoint.save(path, versions[step % 2], {"model": "x"}, {"step": step})
            step += 1
    time.sleep(rng.uniform(0, 4 * duration))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    read = checkpoint.load(path)
    assert read.metadata == {"model": "x"}
    values = {float(value) for tensor in read.tensors.values() for value in np.unique(tensor)}
    assert values == {read.bookkeeping["step"] % 2} and len(read.tensors) == 4, (values, read.bookkeeping)
    print(read.bookkeeping["step"], len(list(path.parent.glob(".*.part"))))
"""


def start_writer(path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.soak
def test_a_checkpoint_killed_at_any_moment_is_one_of_its_versions(tmp_path):
    kills = 60
    done = subprocess.run([sys.executable, "-c", SAVES_AND_KILLS, str(tmp_path / "a.ckpt"), str(kills)], cwd=ROOT,
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rows) == kills and len({step for step, _ in rows}) > 1, "it was killed at different moments"
    left = sorted(tmp_path.glob(".a.ckpt.*.part"))
    assert len(left) == rows[-1][1] > kills / 4, "most kills came in the middle of a save"
    assert remove_partial(tmp_path) == left
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_partial_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    (tmp_path / ".x.12345678.part.txt").write_text("not ours")
    (tmp_path / ".short.part").write_text("not ours")
    killed, living = start_writer(tmp_path / "killed.txt"), start_writer(tmp_path / "living.txt")
    killed.kill()
    killed.wait()
    try:
        (removed,) = remove_partial(tmp_path)
        assert removed.name.startswith(".killed.txt.") and not removed.exists()
        assert len(list(tmp_path.glob(".living.txt.*.part"))) == 1
    finally:
        living.kill()
        living.wait()
    assert len(remove_partial(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".short.part", ".x.12345678.part.txt"]
    assert remove_partial(tmp_path / "absent") == []


def test_without_locks_only_old_partial_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    old, new = tmp_path / ".a.ckpt.abcdefgh.part", tmp_path / ".b.ckpt.abcdefgh.part"
    for path, age in ((old, 2 * 3600), (new, 600)):
        path.write_bytes(b"")
        os.utime(path, (time.time() - age,) * 2)
    assert remove_partial(tmp_path) == [old]
    with atomic_write(tmp_path / "c.txt") as file:
        file.write("whole")
    assert (tmp_path / "c.txt").read_text() == "whole" and new.exists()


def test_writers_and_cleaners_at_once(tmp_path):
    """Sixteen files each from four writers while two others clean all the time: every file is there."""
    ended = threading.Event()

    def clean():
        while not ended.is_set():
            remove_partial(tmp_path)

    def write(number):
        for index in range(16):
            with atomic_write(tmp_path / f"{number}_{index}.txt") as file:
                file.write(f"{number} {index}")

    cleaners = [threading.Thread(target=clean) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in cleaners + writers:
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    for thread in cleaners:
        thread.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        f"{number}_{index}.txt": f"{number} {index}" for number in range(4) for index in range(16)}


def test_a_failed_block_leaves_the_former_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("former")
    with pytest.raises(KeyError), atomic_write(path) as file:
        file.write("new")
        raise KeyError
    assert path.read_text() == "former" and list(tmp_path.iterdir()) == [path]


def test_a_line_is_appended_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, "größer")
    append_line(path, "second")
    assert path.read_text(encoding="utf-8") == "größer\nsecond\n"
    code = (f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
            f"from dependency.files import append_line\n"
            f"try: append_line({str(path)!r}, 'x' * 100)\n"
            f"except OSError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(path) in done.stdout
    assert path.read_text(encoding="utf-8") == "größer\nsecond\n", "nothing of the long line stays"
