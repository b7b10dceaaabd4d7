# SPDX-License-Identifier: Apache-2.0
"""Make a rank table: the addresses of the Ascend devices that train together.

    python hccl_tools.py --device_num "[0,8)"                     writes hccl_8p_01234567_<server ip>.json
    python hccl_tools.py --device_num "[0,2)" --device_ip 192.168.100.101,192.168.101.101 --server_ip 10.0.0.5
    python hccl_tools.py --check hccl_8p_01234567_10.0.0.5.json   prints its devices in order of rank

Device addresses come from /etc/hccn.conf (lines address_<device>=<ip>), written by the driver's hccn_tool.
"""
from __future__ import annotations

import ipaddress
import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

from dependency.errors import InputError
from dependency.files import atomic_write
from src.cli.arguments import Parser
from src.cli.options import Option, Table
from src.cli.program import run

HCCN_CONF = "/etc/hccn.conf"
HALVES = (range(4), range(4, 8))         # the two rings of an 8-device server with Ascend 910
VERSION = "1.0"


OPTIONS: Table = {"": {
    "device_num": Option("[0,8)", "Devices A to B - 1, within [0,4) or [4,8), or all.", metavar='"[A,B)"'),
    "visible_devices": Option(None, "Device numbers that A to B - 1 stand for, where a container shows others "
                                    "(default: 0,1,2,...).", metavar="ID,ID"),
    "server_ip": Option(None, "Address of this server (default: the host name's).", metavar="IP"),
    "hccn_conf": Option(HCCN_CONF, "File with the addresses of the devices.", metavar="FILE"),
    "device_ip": Option(None, "Addresses of the devices, instead of --hccn_conf.", metavar="IP,IP"),
    "check": Option(None, "Only check this rank table and print its devices.", metavar="FILE"),
}}


def main(argv: list[str] | None = None) -> int:
    args = Parser(OPTIONS, __doc__, prog="hccl_tools.py").read(argv)
    if args.check:
        print("\n".join(table_devices(Path(args.check))))
        return 0
    devices = choose_devices(parse_range(args.device_num), args.visible_devices)
    if args.device_ip:
        ips = _split_ips(args.device_ip, len(devices))
    else:
        addresses = read_hccn_conf(Path(args.hccn_conf))
        missing = [device for device in devices if device not in addresses]
        if missing:
            raise InputError(f"{args.hccn_conf}: no line address_{missing[0]}=<ip>; set it on this server "
                             f"with `hccn_tool -i {missing[0]} -ip -s address <ip> netmask <mask>`, or give "
                             "--device_ip")
        ips = [addresses[device] for device in devices]
    server_ip = _ip("--server_ip", args.server_ip) if args.server_ip else find_server_ip()
    path = Path(f"hccl_{len(devices)}p_{''.join(map(str, devices))}_{server_ip}.json")
    with atomic_write(path) as file:
        json.dump(rank_table(devices, ips, server_ip), file, indent=4)
        file.write("\n")
    print(f"{path}: {len(devices)} devices of {server_ip}")
    return 0


def parse_range(text: str) -> range:
    """Return the devices of a text such as "[0,8)".

    Raises:
        InputError: another form, an empty range, one across the halves of a server that is not all of it.
    """
    match = re.fullmatch(r"\[\s*(\d+)\s*,\s*(\d+)\s*\)", text.strip())
    if not match or int(match[1]) >= int(match[2]):
        raise InputError(f'--device_num {text!r}: expected "[A,B)" with A below B; "[0,8)" is devices 0 to 7')
    devices = range(int(match[1]), int(match[2]))
    inside = any(set(devices) <= set(half) for half in HALVES)
    if not inside and devices != range(8):
        raise InputError(f"--device_num {text}: devices must be all of [0,8), or lie within [0,4) or within "
                         "[4,8): only those are linked on a server")
    return devices


def choose_devices(positions: range, visible: str | None) -> list[int]:
    """Return the device numbers at these positions of `visible` ("4,5,6,7"), or the positions themselves."""
    if visible is None:
        return list(positions)
    numbers = visible.split(",")
    if not all(number.strip().isdigit() for number in numbers) or len(set(map(int, numbers))) < len(numbers):
        raise InputError(f"--visible_devices {visible}: expected different device numbers, such as 4,5,6,7")
    if positions.stop > len(numbers):
        raise InputError(f"--visible_devices {visible}: {len(numbers)} devices, but --device_num ends at "
                         f"{positions.stop}; make them agree")
    return [int(numbers[position]) for position in positions]


def read_hccn_conf(path: Path) -> dict[int, str]:
    """Read the address of each device, from the lines address_<device>=<ip>.

    Raises:
        InputError: no such file, or an address that is not an IP address.
    """
    if not path.is_file():
        raise InputError(f"no {path}: the Ascend driver keeps the devices' addresses there. Run this on the "
                         "Ascend server (in a container: mount the file), name a copy with --hccn_conf, or "
                         "give --device_ip IP,IP,...")
    lines = path.read_text(encoding="utf-8").splitlines()
    matches = [(re.fullmatch(r"\s*address_(\d+)\s*=\s*(\S+)\s*", line), number)
               for number, line in enumerate(lines, 1)]
    return {int(match[1]): _ip(f"{path}:{number}", match[2]) for match, number in matches if match}


def find_server_ip() -> str:
    """Return the address of this host's name, or if that is the loopback, of its interface to other networks."""
    try:
        address = socket.gethostbyname(socket.gethostname())
        if not ipaddress.ip_address(address).is_loopback:
            return address
    except OSError:
        pass
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))         # sends nothing: it only chooses the interface
            return probe.getsockname()[0]
    except OSError as error:
        raise InputError(f"this host's address cannot be found ({error}); give --server_ip") from error


def rank_table(devices: list[int], ips: list[str], server_ip: str) -> dict[str, Any]:
    """Build a rank table of version 1.0 for one server; ranks follow the order of the devices."""
    rows = [{"device_id": str(device), "device_ip": ip, "rank_id": str(rank)}
            for rank, (device, ip) in enumerate(zip(devices, ips))]
    return {"version": VERSION, "server_count": "1",
            "server_list": [{"server_id": server_ip, "device": rows, "host_nic_ip": "reserve"}],
            "status": "completed"}


def table_devices(path: Path) -> list[str]:
    """Return the device numbers of a rank table of one server, in the order of their ranks.

    Raises:
        InputError: several servers, or as `table_servers` raises.
    """
    servers = table_servers(path)
    if len(servers) != 1:
        raise InputError(f"{path}: of {len(servers)} servers, expected one; on several, use launch.py")
    (ranks,) = servers.values()
    return [ranks[rank] for rank in sorted(ranks)]


def table_servers(path: Path) -> dict[str, dict[int, str]]:
    """Return server_id -> (rank -> device number) of a rank table; the server of rank 0 is first.

    Raises:
        InputError: no such file, not a rank table, ranks that are not 0, 1, 2, ...
    """
    if not path.is_file():
        raise InputError(f'no rank table {path}; make one: python hccl_tools.py --device_num "[0,8)"')
    try:
        rows = [(str(server.get("server_id", "")), int(row["rank_id"]), str(int(row["device_id"])))
                for server in json.loads(path.read_text(encoding="utf-8"))["server_list"] for row in server["device"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a rank table of version {VERSION} ({error!r}); "
                         "make it with hccl_tools.py") from error
    ranks = sorted({rank for _, rank, _ in rows})
    if not rows or ranks != list(range(len(rows))):
        raise InputError(f"{path}: {len(rows)} devices have ranks {ranks}: expected 0, 1, 2, ...")
    servers: dict[str, dict[int, str]] = {}
    for server, rank, device in sorted(rows, key=lambda row: row[1]):
        servers.setdefault(server, {})[rank] = device
    return servers


def _split_ips(text: str, count: int) -> list[str]:
    ips = [_ip("--device_ip", part.strip()) for part in text.split(",")]
    if len(ips) != count:
        raise InputError(f"--device_ip: {len(ips)} addresses for {count} devices; give one for each")
    return ips


def _ip(source: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise InputError(f"{source}: '{text}' is not an IP address, such as 192.168.100.101") from error


if __name__ == "__main__":
    sys.exit(run(main))
