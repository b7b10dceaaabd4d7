# SPDX-License-Identifier: Apache-2.0
"""Launchers on several hosts: which host this is, and one TCP connection from each to the first host's launcher.

    place = find_place("10.0.0.1,10.0.0.2", None, None)
    link = FirstHost(place, port) if place.rank == 0 else OtherHost(place, port)

Like MindSpore's own scheduler port this one knows no password: open it to the hosts of the training only.
"""
from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dependency.errors import InputError
from src.launch.host_messages import Connection, Gone

MAX_GUESTS = 64             # connections that have not said hello


class Place(NamedTuple):
    """This host among all: how many, its number, their addresses where known, where the first one listens."""
    hosts: int
    rank: int
    addresses: tuple[str, ...]
    master: str


def find_place(hosts: str, master: str | None, rank: int | None) -> Place:
    """The place of this host.

    Args:
        hosts: "A,B,..." of addresses or names, the first being the master, or a number of hosts.
        master: address of the first host, needed with a number.
        rank: number of this host; None: found by its own addresses.

    Raises:
        InputError: not enough is known.
    """
    if hosts.isdigit():
        count, addresses = int(hosts), ()
        if count > 1 and (master is None or rank is None):
            raise InputError(f"--hosts {hosts}: a number of hosts needs --master_addr ADDRESS and --host_rank R; or "
                             "give their addresses: --hosts 10.0.0.1,10.0.0.2")
    else:
        addresses = tuple(address.strip() for address in hosts.split(","))
        count = len(addresses)
        if not all(addresses) or len(set(addresses)) < count:
            raise InputError(f"--hosts {hosts}: expected different addresses, such as 10.0.0.1,10.0.0.2")
    if count < 1:
        raise InputError(f"--hosts {hosts}: expected at least 1")
    if rank is None:
        rank = 0 if count == 1 else _own_rank(addresses)
    if not 0 <= rank < count:
        raise InputError(f"--host_rank {rank}: expected 0 to {count - 1}, for --hosts {hosts}")
    return Place(count, rank, addresses, master or (addresses[0] if addresses else "127.0.0.1"))


def own_addresses() -> set[str]:
    import psutil  # here, because --help and --dry_run do without
    return {address.address.split("%")[0] for interface in psutil.net_if_addrs().values() for address in interface
            if address.family in (socket.AF_INET, socket.AF_INET6)}


def _own_rank(addresses: tuple[str, ...]) -> int:
    own = own_addresses()
    mine = [rank for rank, address in enumerate(addresses) if own & set(_resolve(address))]
    if len(mine) != 1:
        found = "none of them is" if not mine else f"{len(mine)} of them are"
        raise InputError(f"--hosts {','.join(addresses)}: {found} an address of this host "
                         f"({', '.join(sorted(own - {'127.0.0.1', '::1'}))}); give --host_rank R as well")
    return mine[0]


def _resolve(name: str) -> list[str]:
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise InputError(f"--hosts: the host {name} is not known here ({error.strerror}); give its address") from error


def free_port(preferred: int, taken: tuple[int, ...] = ()) -> int:
    """The first port from `preferred` on that nobody uses on this host, nor did in the last minute."""
    for port in range(preferred, min(preferred + 200, 65536)):
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise InputError(f"--master_port {preferred}: neither it nor the 200 ports after it are free")


@dataclass
class Peer:
    """Another host as the first one sees it."""
    connection: Connection
    ready: bool = False
    done: bool = False


class Alone:
    """The link of the only launcher."""
    absent: Sequence[str] = ()
    all_done = True

    def poll(self) -> list[dict[str, Any]]:
        return []

    def begin(self, port: int) -> None:
        pass

    def send(self, word: str, **fields: Any) -> None:
        pass

    def close(self) -> None:
        pass


class FirstHost:
    """The link of the first host's launcher: all the others are connected to it."""

    def __init__(self, place: Place, port: int, size: int):
        """size: processes of the training on all hosts."""
        self.place, self.size = place, size
        self.peers: dict[int, Peer] = {}
        self._guests: list[Connection] = []
        self._lost: list[dict[str, Any]] = []
        self._listener = _listen(place.master, port)

    def name(self, rank: int) -> str:
        address = self.place.addresses[rank] if self.place.addresses else self.peers[rank].connection.peer
        return f"host {rank} ({address})"

    def poll(self) -> list[dict[str, Any]]:
        """Messages of the others; a host that is gone has said `failed`."""
        self._welcome()
        messages, self._lost = self._lost, []
        for rank, peer in sorted(self.peers.items()):
            try:
                found = peer.connection.poll()
            except Gone as error:
                name = self.name(rank)
                peer.connection.close()
                del self.peers[rank]
                messages.append(gone(f"{name} is gone: {error}"))
                continue
            for message in found:
                peer.ready |= message["word"] == "hello"
                peer.done |= message["word"] == "done"
            messages += [message for message in found if message["word"] not in ("hello", "done")]
        return messages

    @property
    def absent(self) -> list[str]:
        """Hosts that are not ready for the next attempt."""
        return [f"host {rank}" + (f" ({self.place.addresses[rank]})" if self.place.addresses else "")
                for rank in range(1, self.place.hosts) if rank not in self.peers or not self.peers[rank].ready]

    @property
    def all_done(self) -> bool:
        return len(self.peers) == self.place.hosts - 1 and all(peer.done for peer in self.peers.values())

    def begin(self, port: int) -> None:
        """Tell all hosts, which are ready, to start."""
        for peer in self.peers.values():
            peer.ready = peer.done = False
        self.send("start", port=port)

    def send(self, word: str, **fields: Any) -> None:
        for peer in self.peers.values():
            peer.connection.send(word, **fields)

    def close(self) -> None:
        for connection in [*self._guests, *(peer.connection for peer in self.peers.values())]:
            connection.close()
        self._listener.close()

    def _welcome(self) -> None:
        """Take new connections; one that says hello properly becomes a peer, any other is closed."""
        try:
            while True:
                guest = Connection(self._listener.accept()[0])
                self._guests.append(guest)
                if len(self._guests) > MAX_GUESTS:
                    self._guests.pop(0).close()
        except OSError:         # nobody (more) is waiting
            pass
        for guest in list(self._guests):
            try:
                messages = guest.poll()
            except Gone:
                self._guests.remove(guest)
                guest.close()
                continue
            if messages:
                self._guests.remove(guest)
                self._admit(guest, messages[0])

    def _admit(self, guest: Connection, hello: dict[str, Any]) -> None:
        rank = hello.get("host_rank", 0)
        if hello["word"] != "hello" or not 0 < rank < self.place.hosts:
            guest.close()
            return
        if (hello["hosts"], hello["size"]) != (self.place.hosts, self.size):
            guest.send("end", status=2, why=f"host {rank} was started for {hello['hosts']} hosts and {hello['size']} "
                       f"processes, the first host for {self.place.hosts} and {self.size}; start the same command "
                       "everywhere")
            guest.close()
            return
        former = self.peers.get(rank)
        if former:
            former.connection.close()
            self._lost.append(gone(f"{self.name(rank)} is gone: it came back on another connection"))
        self.peers[rank] = Peer(guest, ready=True)


class OtherHost:
    """The link of any other host's launcher, to the first one."""

    def __init__(self, place: Place, port: int, size: int):
        self.place, self.port, self.size = place, port, size
        self._connection: Connection | None = None
        self._next_try = 0.0

    def hello(self) -> bool:
        """Say that this host is ready for the next attempt; False: the first host does not listen yet."""
        if self._connection is None:
            if time.monotonic() < self._next_try:
                return False
            self._next_try = time.monotonic() + 0.5
            try:
                self._connection = Connection(socket.create_connection((self.place.master, self.port), timeout=2))
            except OSError:
                return False
        self._connection.send("hello", host_rank=self.place.rank, hosts=self.place.hosts, size=self.size)
        return True

    def poll(self) -> list[dict[str, Any]]:
        """Messages of the first host; when it is gone it has said `failed`."""
        if self._connection is None:
            return []
        try:
            return self._connection.poll()
        except Gone as error:
            self.close()
            return [gone(f"the first host ({self.place.master}) is gone: {error}")]

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def send(self, word: str, **fields: Any) -> None:
        if self._connection is not None:
            self._connection.send(word, **fields)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def gone(what: str) -> dict[str, Any]:
    """What a host would have said that can say nothing any more."""
    return {"word": "failed", "what": what, "status": 1, "log": "", "cause": "", "tail": [], "others": []}


def _listen(address: str, port: int) -> socket.socket:
    """Listen on the first host's address; where that is translated on its way here, on all."""
    error = None
    for bound in (address, ""):
        try:
            family = socket.getaddrinfo(bound or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            listener = socket.create_server((bound, port), family=family)
            listener.setblocking(False)
            return listener
        except OSError as failed:
            error = failed
    raise InputError(f"--master_port {port - 1}: the launchers speak over the port after it, but {port} cannot be had "
                     f"here ({error}); give another --master_port") from error
