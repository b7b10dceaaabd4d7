# SPDX-License-Identifier: Apache-2.0
"""What a launcher shows, on consoles that are read, stand still, are full, and go away."""
import os
import threading
import time

import pytest

from src.launch import console
from src.launch.console import POLL, Console


@pytest.fixture
def pipe():
    """The two ends of a pipe; what was written is read with `read`."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def written(end):
    os.set_blocking(end, False)
    try:
        return os.read(end, 1 << 20)
    except BlockingIOError:
        return b""


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_log_is_copied_as_it_grows_and_lines_come_behind_it(tmp_path, pipe):
    reader, writer = pipe
    shown = Console(writer, writer)
    shown.follow(tmp_path / "log")
    found = b""
    with (tmp_path / "log").open("wb", buffering=0) as log:
        for part in (b"first\nsec", b"ond\n", b"\xff\x00"):
            log.write(part)
            time.sleep(2 * POLL)
            found += written(reader)
            assert found.endswith(part)
        log.write(b"last\n")
        shown.say("one", "lone \udc80")
    (tmp_path / "other").write_bytes(b"another attempt\n")
    shown.follow(tmp_path / "other")
    assert shown.close() == ""
    assert found + written(reader) == (b"first\nsecond\n\xff\x00last\nlaunch: one\nlaunch: lone \\udc80\n"
                                       b"another attempt\n")


def test_a_console_that_stands_still_delays_nobody_and_loses_nothing(tmp_path, pipe, monkeypatch):
    """A pipe that nobody reads; what was not written stays in the log, or is given back at the end."""
    monkeypatch.setattr(console, "PATIENCE", 0.5)
    reader, writer = pipe
    content = os.urandom(1 << 18)
    (tmp_path / "log").write_bytes(content)
    start = time.monotonic()
    shown = Console(writer, writer)
    shown.follow(tmp_path / "log")
    shown.say("a line")
    assert shown.close() == "launch: a line\n" and time.monotonic() - start < 2
    found = b""

    def all_there():        # read again after all, it gets the rest
        nonlocal found
        found += written(reader)
        return found == content + b"launch: a line\n"
    until(all_there)


def test_a_slow_console_is_waited_for(tmp_path, pipe, monkeypatch):
    monkeypatch.setattr(console, "PATIENCE", 0.5)
    reader, writer = pipe
    shown = Console(writer, writer)
    shown.say(*["x" * 1000] * 300)

    def read_slowly():
        for _ in range(10):
            time.sleep(0.2)
            os.read(reader, 1 << 15)
    thread = threading.Thread(target=read_slowly)
    thread.start()
    assert shown.close() == ""
    os.write(writer, b"x" * (1 << 15))      # for whatever is still to be read
    thread.join()


def test_lines_that_nobody_can_read_are_given_back(pipe):
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb", buffering=0) as full, os.fdopen(writer, "wb", buffering=0) as gone:
        for errors in (full, gone):
            shown = Console(pipe[1], errors.fileno())
            shown.say("one", "two")
            assert shown.close() == "launch: one\nlaunch: two\n"


def test_a_console_that_does_not_block_is_waited_for(pipe):
    """As one that is shared with ssh."""
    reader, writer = pipe
    os.set_blocking(writer, False)
    shown = Console(writer, writer)
    shown.say(*["x" * 1000] * 200)
    found = b""
    deadline = time.monotonic() + 10
    while found.count(b"\n") < 200 and time.monotonic() < deadline:
        time.sleep(0.02)
        found += written(reader)
    assert found.count(b"\n") == 200 and shown.close() == ""


def test_a_full_disk_under_the_console_changes_nothing(tmp_path, pipe):
    reader, writer = pipe
    (tmp_path / "log").write_bytes(b"x" * 100000)
    with open("/dev/full", "wb", buffering=0) as full:
        shown = Console(full.fileno(), writer)
        shown.follow(tmp_path / "log")
        shown.say("a line")
        assert shown.close() == "" and written(reader) == b"launch: a line\n"
