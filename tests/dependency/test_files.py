# SPDX-License-Identifier: Apache-2.0
"""Files are whole or not there: killed writers, several writers, a full disk, and what they leave behind."""
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dependency import files
from dependency.errors import InputError
from dependency.files import append_line, atomic_write, existing_file, link_file, plain_text, remove_partial
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

# Writes version 0, 1, 0, 1, ... of one file until it is killed.
REWRITER = """
import sys
from dependency.files import atomic_write
for version in range(10 ** 9):
    with atomic_write(sys.argv[1]) as file:
        file.write(str(version % 2) * (1 << 22))
    print("writing", flush=True)
"""


def start_writer(path, code=WRITER):
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


def test_a_file_killed_at_any_moment_is_one_of_its_versions(tmp_path):
    rng = random.Random(7)
    for _ in range(15):
        process = start_writer(tmp_path / "a.txt", REWRITER)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        text = (tmp_path / "a.txt").read_text()
        assert text in ("0" * (1 << 22), "1" * (1 << 22))
    assert len(remove_partial(tmp_path)) > 3, "some kills came in the middle of a write"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


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


def test_writers_and_a_cleaner_at_once(tmp_path):
    """Sixteen files each from three writers while another thread cleans all the time: every file is there."""
    def write(number):
        for index in range(16):
            with atomic_write(tmp_path / f"{number}_{index}.txt") as file:
                file.write(f"{number} {index}")

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        while not all(writer.done() for writer in writers):
            remove_partial(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        f"{number}_{index}.txt": f"{number} {index}" for number in range(3) for index in range(16)}


@pytest.mark.parametrize("name, message", [("two\nlines", r"two\\nlines: .*; try another"), ("", "a folder, not")])
def test_a_file_that_must_exist(tmp_path, name, message):
    with pytest.raises(InputError, match=message) as error:
        existing_file(tmp_path / name, "a key", "try another")
    assert "\n" not in str(error.value)
    (tmp_path / "two\nlines").write_text("")
    assert existing_file(str(tmp_path / "two\nlines"), "a key") == tmp_path / "two\nlines"
    assert plain_text(os.fsdecode(b"\xff.jpg")) == "\\udcff.jpg"


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


@pytest.mark.parametrize("has_links", [True, False])
def test_a_second_name_for_a_file(tmp_path, monkeypatch, has_links):
    def refuse(*_):
        raise OSError("no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    first, second, best = (tmp_path / name for name in ("1.ckpt", "2.ckpt", "best.ckpt"))
    first.write_text("one")
    second.write_text("two")
    for source, content in ((first, "one"), (second, "two"), (second, "two")):
        link_file(source, best)
        assert best.read_text() == content
    second.unlink()
    assert best.read_text() == "two" and {path.name for path in tmp_path.iterdir()} == {"1.ckpt", "best.ckpt"}
