# SPDX-License-Identifier: Apache-2.0
"""The hosts of a training, and which of them this one is.

    find_hosts("10.0.0.1,10.0.0.2", None, None)  ->  Hosts(count=2, rank=1, master="10.0.0.1", ...) on 10.0.0.2
"""
from __future__ import annotations

import socket
from dataclasses import dataclass

from dependency.errors import InputError


@dataclass(frozen=True)
class Hosts:
    """All hosts of a training: how many, the number of this one, the address of the first, all addresses if known."""
    count: int = 1
    rank: int = 0
    master: str = "127.0.0.1"
    addresses: tuple[str, ...] = ()


def find_hosts(hosts: str, master: str | None, rank: int | None) -> Hosts:
    """Find out which host this is.

    Args:
        hosts: addresses or names separated by commas, the first being the master; or a number of hosts.
        master: address of the first host; needed with a number.
        rank: number of this host; None: the one in `hosts` that is an address of this host.

    Raises:
        InputError: the arguments contradict each other, or this host is not among `hosts`.
    """
    addresses = () if hosts.isdigit() else tuple(address.strip() for address in hosts.split(","))
    count = len(addresses) or int(hosts)
    if count < 1 or len(set(addresses)) < len(addresses) or "" in addresses:
        raise InputError(f"--hosts {hosts}: expected different addresses, such as 10.0.0.1,10.0.0.2, or a number")
    if count > 1 and not addresses and (master is None or rank is None):
        raise InputError(f"--hosts {hosts}: a number of hosts needs --master_addr ADDRESS and --host_rank R; or give "
                         "the addresses: --hosts 10.0.0.1,10.0.0.2")
    if rank is None:
        rank = _own_rank(addresses) if count > 1 else 0
    if not 0 <= rank < count:
        raise InputError(f"--host_rank {rank}: expected 0 to {count - 1}, for --hosts {hosts}")
    return Hosts(count, rank, master or (addresses[0] if addresses else Hosts().master), addresses)


def _own_rank(addresses: tuple[str, ...]) -> int:
    ranks = [rank for rank, address in enumerate(addresses) if is_own(address)]
    if len(ranks) != 1:
        raise InputError(f"--hosts {','.join(addresses)}: {len(ranks)} of them are addresses of this host, expected 1; "
                         "give --host_rank R as well")
    return ranks[0]


def is_own(address: str) -> bool:
    """Check whether a program on this host can listen at the address."""
    try:
        with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port that nobody uses on this host."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]
