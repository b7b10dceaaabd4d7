# SPDX-License-Identifier: Apache-2.0
"""The rank table: its content, its file, where addresses come from, what is refused."""
import json
import subprocess
import sys

import pytest

from dependency.errors import InputError
from src.tools import hccl_tools
from src.tools.hccl_tools import choose_devices, main, parse_range, table_devices, table_servers
from tests.conftest import ROOT

CONF = "".join(f"address_{device}=192.168.{100 + device % 4}.10{device // 4}\n"
               f"netmask_{device}=255.255.255.0\n" for device in range(8))


@pytest.fixture
def conf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hccn.conf"
    path.write_text("# by hccn_tool\n" + CONF)
    return str(path)


def test_the_table_of_eight_devices(conf, tmp_path):
    assert main(["--device_num", "[0,8)", "--hccn_conf", conf, "--server_ip", "10.1.2.3"]) == 0
    table = json.loads((tmp_path / "hccl_8p_01234567_10.1.2.3.json").read_text())
    assert (table["version"], table["server_count"], table["status"]) == ("1.0", "1", "completed")
    server, = table["server_list"]
    assert server["server_id"] == "10.1.2.3"
    assert server["device"][5] == {"device_id": "5", "device_ip": "192.168.101.101", "rank_id": "5"}
    assert [row["rank_id"] for row in server["device"]] == list("01234567")


def test_ranks_start_at_zero_for_the_upper_half(conf, tmp_path):
    main(["--device_num", "[4, 6)", "--hccn_conf", conf, "--server_ip", "10.1.2.3"])
    path = tmp_path / "hccl_2p_45_10.1.2.3.json"
    rows = json.loads(path.read_text())["server_list"][0]["device"]
    assert [(row["rank_id"], row["device_id"]) for row in rows] == [("0", "4"), ("1", "5")]
    assert table_devices(path) == ["4", "5"]


def test_addresses_may_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["--device_num", "[0,2)", "--device_ip", "1.2.3.4, 1.2.3.5", "--server_ip", "10.1.2.3",
          "--visible_devices", "6,7"])
    rows = json.loads((tmp_path / "hccl_2p_67_10.1.2.3.json").read_text())["server_list"][0]["device"]
    assert [(row["device_id"], row["device_ip"]) for row in rows] == [("6", "1.2.3.4"), ("7", "1.2.3.5")]


@pytest.mark.parametrize("text, devices", [("[0,8)", range(8)), ("[0,4)", range(4)),
                                           (" [5, 7) ", range(5, 7))])
def test_ranges(text, devices):
    assert parse_range(text) == devices


@pytest.mark.parametrize("text", ["8", "[0,8]", "[3,3)", "[4,2)", "[0,9)", "[2,6)", "[0,6)", "0,8", ""])
def test_wrong_ranges(text):
    with pytest.raises(InputError, match="--device_num"):
        parse_range(text)


@pytest.mark.parametrize("visible", ["1,x", "1,1", "3"])
def test_wrong_visible_devices(visible):
    with pytest.raises(InputError, match="--visible_devices"):
        choose_devices(range(2), visible)


def test_without_the_drivers_file(tmp_path):
    with pytest.raises(InputError, match=r"no .*absent.conf.*--hccn_conf.*--device_ip"):
        main(["--hccn_conf", str(tmp_path / "absent.conf"), "--server_ip", "10.1.2.3"])


@pytest.mark.parametrize("content, message", [
    (CONF.replace("address_3", "addr_3"), "no line address_3=<ip>"),
    (CONF.replace("192.168.102.100", "oops"), r"hccn.conf:5: 'oops'"),
])
def test_a_bad_line_in_the_drivers_file(conf, tmp_path, content, message):
    (tmp_path / "hccn.conf").write_text(content)
    with pytest.raises(InputError, match=message):
        main(["--hccn_conf", conf, "--server_ip", "10.1.2.3"])
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("extra, message", [
    (["--device_ip", "1.2.3.4"], "1 addresses for 8 devices"),
    (["--device_ip", "1.2.3"], "'1.2.3' is not an IP address"),
    (["--server_ip", "localhost"], "'localhost' is not an IP address"),
])
def test_wrong_addresses(conf, extra, message):
    with pytest.raises(InputError, match=message):
        main(["--hccn_conf", conf, *extra])


def test_the_hosts_address_is_not_the_loopback(monkeypatch):
    monkeypatch.setattr(hccl_tools.socket, "gethostbyname", lambda name: "10.9.8.7")
    assert hccl_tools.find_server_ip() == "10.9.8.7"

    class Unreachable:
        def __init__(self, *_):
            raise OSError("Network is unreachable")
    monkeypatch.setattr(hccl_tools.socket, "gethostbyname", lambda name: "127.0.1.1")
    monkeypatch.setattr(hccl_tools.socket, "socket", Unreachable)
    with pytest.raises(InputError, match="--server_ip"):
        hccl_tools.find_server_ip()


@pytest.mark.parametrize("content, message", [
    ("{", "not a rank table"), ("[]", "not a rank table"), ('{"server_list": []}', "0 devices have ranks"),
    ('{"server_list": [{"device": []}, {"device": []}]}', "0 devices have ranks"),
    (('{"server_list": [{"server_id": "a", "device": [{"device_id": "0", "rank_id": "0"}]}, '
     '{"server_id": "b", "device": [{"device_id": "0", "rank_id": "1"}]}]}'), "of 2 servers"),
    ('{"server_list": [{"device": [{"device_id": "0", "rank_id": "1"}]}]}', r"expected 0, 1, 2"),
    (('{"server_list": [{"device": [{"device_id": "0", "rank_id": "0"}, '
     '{"device_id": "1", "rank_id": "0"}]}]}'), r"2 devices have ranks \[0\]"),
])
def test_wrong_tables(tmp_path, content, message):
    path = tmp_path / "table.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        table_devices(path)


def test_the_servers_of_a_table(tmp_path):
    path = tmp_path / "table.json"
    rows = {"10.0.0.2": [(4, 2), (5, 3)], "10.0.0.1": [(7, 1), (6, 0)]}
    path.write_text(json.dumps({"server_list": [
        {"server_id": server, "device": [{"device_id": str(device), "rank_id": str(rank)} for device, rank in devices]}
        for server, devices in rows.items()]}))
    assert table_servers(path) == {"10.0.0.1": {0: "6", 1: "7"}, "10.0.0.2": {2: "4", 3: "5"}}
    assert list(table_servers(path)) == ["10.0.0.1", "10.0.0.2"], "the server of rank 0 comes first"


def test_the_manuals_command_from_scripts(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "hccl_tools.py"), "--device_num", "[0,8)"]
    ips = ",".join(f"192.168.1.{device}" for device in range(1, 9))
    done = subprocess.run([*command, "--device_ip", ips, "--server_ip", "10.1.2.3"], cwd=tmp_path,
                          stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0 and (tmp_path / "hccl_8p_01234567_10.1.2.3.json").is_file()
    done = subprocess.run([*command, "--hccn_conf", "absent"], cwd=tmp_path, stderr=subprocess.PIPE,
                          text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: no absent")
