# SPDX-License-Identifier: Apache-2.0
"""Which host this is, what launchers may say to each other, and connections that fail."""
import json
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dependency.errors import InputError
from src.launch import host_messages, hosts
from src.launch.host_messages import MAX_LINE, WORDS, decode, encode
from src.launch.hosts import FirstHost, OtherHost, Place, find_place, free_port

FAILED = {"what": "rank 1 (process 5 on host h) ended with status 3 after 1 s", "status": 3, "log": "l", "cause": "",
          "tail": ["a", "b"], "others": []}


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(hosts, "own_addresses", lambda: {"127.0.0.1", "10.0.0.2"})


@pytest.mark.parametrize("arguments, expected", [
    (("1", None, None), (1, 0, (), "127.0.0.1")),
    (("10.0.0.1,10.0.0.2", None, None), (2, 1, ("10.0.0.1", "10.0.0.2"), "10.0.0.1")),
    (("10.0.0.2,10.0.0.1", None, None), (2, 0, ("10.0.0.2", "10.0.0.1"), "10.0.0.2")),
    (("10.0.0.1,10.0.0.2", "10.1.0.1", 0), (2, 0, ("10.0.0.1", "10.0.0.2"), "10.1.0.1")),
    (("3", "node-a", 2), (3, 2, (), "node-a"))])
def test_the_place_of_this_host(own, arguments, expected):
    assert tuple(find_place(*arguments)) == expected


@pytest.mark.parametrize("arguments, message", [
    (("2", None, 1), "needs --master_addr"), (("2", "10.0.0.1", None), "needs --master_addr"),
    (("0", None, None), "at least 1"), (("10.0.0.1,,", None, None), "different addresses"),
    (("10.0.0.1,10.0.0.1", None, None), "different addresses"), (("10.0.0.1,10.0.0.9", None, None), "none of them is"),
    (("10.0.0.2,127.0.0.1", None, None), "2 of them are"), (("2", "10.0.0.1", 2), "--host_rank 2: expected 0 to 1"),
    (("10.0.0.2,no.such.host.invalid", None, None), "no.such.host.invalid is not known")])
def test_places_that_are_none(own, arguments, message):
    with pytest.raises(InputError, match=message):
        find_place(*arguments)


def test_a_free_port_is_not_one_in_use():
    with socket.create_server(("", 0)) as used:
        port = used.getsockname()[1]
        assert free_port(port) > port
        assert free_port(port, taken=(port + 1,)) > port + 1


@given(st.binary(max_size=300))
def test_nothing_but_messages_is_read(line):
    try:
        message = decode(line)
    except ValueError:
        return
    assert set(message) == {"word", *WORDS[message["word"]]}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(["word", "port", "tail", "status"]), inner)))
def test_no_json_but_messages_is_read(value):
    try:
        message = decode(json.dumps(value).encode())
    except ValueError:
        return
    assert set(message) == {"word", *WORDS[message["word"]]}


@given(st.lists(st.text(max_size=3000), max_size=60), st.text(max_size=5000))
def test_a_failure_fits_in_a_line(tail, what):
    line = encode("failed", **{**FAILED, "tail": tail, "what": what})
    assert len(line) <= MAX_LINE and line.count(b"\n") == 1
    kept = decode(line)["tail"]
    assert kept == tail[len(tail) - len(kept):], "the last lines are kept"


@pytest.fixture
def pair():
    """The link of a first host and a function that makes those of others."""
    port = free_port(9170)
    first = FirstHost(Place(2, 0, ("127.0.0.1", "127.0.0.2"), "127.0.0.1"), port, 2)
    made = [first]

    def other(size=2, rank=1):
        made.append(OtherHost(Place(2, rank, ("127.0.0.1", "127.0.0.2"), "127.0.0.1"), port, size))
        return made[-1]
    yield first, other
    for link in reversed(made):
        link.close()


def until(condition, *links, seconds=8.0):
    """Poll links until the condition holds; all their messages."""
    deadline, messages = time.monotonic() + seconds, []
    while time.monotonic() < deadline:
        for link in links:
            messages += link.poll()
        if condition(messages):
            return messages
        time.sleep(0.01)
    raise AssertionError(f"in vain; messages: {messages}")


def meet(first, other):
    assert first.absent == ["host 1 (127.0.0.2)"]
    assert other.hello()
    until(lambda _: not first.absent, first)


def test_an_attempt_from_hello_to_done(pair):
    first, other = pair[0], pair[1]()
    meet(first, other)
    first.begin(9000)
    assert first.absent, "each attempt is begun anew"
    assert until(bool, other) == [{"word": "start", "port": 9000}]
    assert not first.all_done
    other.send("done")
    until(lambda _: first.all_done, first)


def test_a_failure_is_told_both_ways(pair):
    first, other = pair[0], pair[1]()
    meet(first, other)
    other.send("failed", **FAILED)
    assert until(bool, first) == [{"word": "failed", **FAILED}]
    first.send("failed", **FAILED)
    assert until(bool, other) == [{"word": "failed", **FAILED}]


def test_a_lost_connection_is_a_failure(pair):
    first, other = pair[0], pair[1]()
    meet(first, other)
    other.close()
    message, = until(bool, first)
    assert message["word"] == "failed" and "host 1 (127.0.0.2) is gone" in message["what"]
    assert other.hello(), "and it may come again"
    until(lambda _: not first.absent, first)
    first.close()
    message, = until(bool, other)
    assert "the first host (127.0.0.1) is gone" in message["what"] and not other.connected


def test_a_host_that_comes_back_ends_the_attempt_and_is_ready_for_the_next(pair):
    """Its first connection is still there for us: a host that was cut off, or whose launcher was started again."""
    first, former, again = pair[0], pair[1](), pair[1]()
    meet(first, former)
    first.begin(9000)
    until(bool, former)
    assert again.hello()
    message, = until(bool, first)
    assert message["word"] == "failed" and message["what"].endswith("is gone: it came back on another connection")
    assert not first.absent
    message, = until(bool, former)
    assert "its launcher closed the connection" in message["what"] and not former.connected
    first.begin(9001)
    assert until(bool, again, first) == [{"word": "start", "port": 9001}]


def test_silence_is_a_failure(pair, monkeypatch):
    monkeypatch.setattr(host_messages, "SILENCE", 0.5)
    first, other = pair[0], pair[1]()
    meet(first, other)
    start = time.monotonic()
    message, = until(bool, first)       # the other one lives, but is not polled: it sends no beat
    assert "no sign of it" in message["what"] and 0.4 < time.monotonic() - start < 2


def test_beats_keep_a_connection(pair, monkeypatch):
    monkeypatch.setattr(host_messages, "SILENCE", 0.5)
    monkeypatch.setattr(host_messages, "BEAT", 0.1)
    first, other = pair[0], pair[1]()
    meet(first, other)
    end = time.monotonic() + 1.5
    assert until(lambda _: time.monotonic() > end, first, other) == []


@pytest.mark.parametrize("line", [b"[" * 60000, b'{"word": ["start"]}', b'{"word": "beat", "beat": 1}', b"7" * 9999,
                                  encode("failed", **{**FAILED, "tail": [1]})[:-1]])
def test_lines_made_to_hurt(line):
    with pytest.raises(ValueError):
        decode(line)


@pytest.mark.parametrize("text", [b"GET / HTTP/1.0\r\n\r\n", b'{"word": "start", "port": 1}\n', b"x" * (
    3 * MAX_LINE), b'{"word": "hello", "host_rank": 7, "hosts": 2, "size": 2}\n',
    b'{"word": "hello", "host_rank": true, "hosts": 2, "size": 2}\n'])
def test_strangers_are_sent_away_and_change_nothing(pair, text):
    first, other = pair[0], pair[1]()
    meet(first, other)
    with socket.create_connection(("127.0.0.1", other.port)) as stranger:
        stranger.setblocking(False)

        def closed(_):
            nonlocal text
            try:
                text = text[stranger.send(text):] if text else text
                return not stranger.recv(1 << 16)
            except BlockingIOError:
                return False
            except OSError:
                return True
        assert until(closed, first, other) == []
    assert not first.absent


def test_another_command_on_another_host_is_refused(pair):
    first, other = pair[0], pair[1](size=4)
    other.hello()
    message = until(lambda found: any(each["word"] == "end" for each in found), first, other)[0]
    assert message["status"] == 2 and "same command everywhere" in message["why"] and first.absent
