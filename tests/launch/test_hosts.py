# SPDX-License-Identifier: Apache-2.0
"""Which host this is."""
import socket

import pytest

from dependency.errors import InputError
from src.launch import hosts
from src.launch.hosts import Hosts, find_hosts, free_port, is_own


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(hosts, "is_own", lambda address: address in ("127.0.0.1", "10.0.0.2"))


@pytest.mark.parametrize("arguments, expected", [
    (("1", None, None), (1, 0, "127.0.0.1")),
    (("10.0.0.1,10.0.0.2", None, None), (2, 1, "10.0.0.1", ("10.0.0.1", "10.0.0.2"))),
    (("10.0.0.2,10.0.0.1", None, None), (2, 0, "10.0.0.2", ("10.0.0.2", "10.0.0.1"))),
    (("10.0.0.1,10.0.0.2", "10.1.0.1", 0), (2, 0, "10.1.0.1", ("10.0.0.1", "10.0.0.2"))),
    (("3", "node-a", 2), (3, 2, "node-a"))])
def test_hosts(own, arguments, expected):
    assert find_hosts(*arguments) == Hosts(*expected)


@pytest.mark.parametrize("arguments", [
    ("2", None, 1), ("2", "10.0.0.1", None), ("0", None, None), ("10.0.0.1,,", None, None),
    ("10.0.0.1,10.0.0.1", None, None), ("10.0.0.1,10.0.0.9", None, None), ("10.0.0.2,127.0.0.1", None, None),
    ("2", "10.0.0.1", 2), ("2", "10.0.0.1", -1)])
def test_hosts_that_are_refused(own, arguments):
    with pytest.raises(InputError, match="--host"):
        find_hosts(*arguments)


def test_addresses_and_ports_of_this_host():
    assert is_own("127.0.0.1") and is_own("localhost")
    assert not is_own("198.51.100.1") and not is_own("no.such.host.invalid")
    with socket.create_server(("127.0.0.1", free_port())):
        pass
