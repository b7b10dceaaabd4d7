# SPDX-License-Identifier: Apache-2.0
"""The rank table: its content, its file, where addresses come from, what is refused."""
import json
import subprocess
import sys

import pytest

from dependency.errors import InputError
from src.tools.hccl_tools import main, table_devices, table_servers
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


def test_addresses_may_be_given(conf, tmp_path):
    main(["--device_num", "[0,2)", "--device_ip", "1.2.3.4, 1.2.3.5", "--server_ip", "10.1.2.3",
          "--visible_devices", "6,7"])
    rows = json.loads((tmp_path / "hccl_2p_67_10.1.2.3.json").read_text())["server_list"][0]["device"]
    assert [(row["device_id"], row["device_ip"]) for row in rows] == [("6", "1.2.3.4"), ("7", "1.2.3.5")]


@pytest.mark.parametrize("option, values", [
    ("device_num", ("8", "[0,8]", "[3,3)", "[4,2)", "[0,9)", "[2,6)", "[0,6)", "0,8", "")),
    ("visible_devices", ("1,x", "1,1", "3")), ("device_ip", ("1.2.3.4", "1.2.3")), ("server_ip", ("localhost",)),
    ("hccn_conf", ("absent.conf",))])
def test_wrong_options_are_named(conf, tmp_path, option, values):
    own = {"hccn_conf": conf, "server_ip": "10.1.2.3", "device_num": "[0,2)"}
    for value in values:
        with pytest.raises(InputError, match=option):
            main([f"--{name}={text}" for name, text in {**own, option: value}.items()])
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("content, place", [
    (CONF.replace("address_3", "addr_3"), "address_3"), (CONF.replace("192.168.102.100", "oops"), "hccn.conf:5:")])
def test_a_bad_line_in_the_drivers_file(conf, tmp_path, content, place):
    (tmp_path / "hccn.conf").write_text(content)
    with pytest.raises(InputError, match=place):
        main(["--hccn_conf", conf, "--server_ip", "10.1.2.3"])


def write_table(path, servers):
    """A rank table of {server: [(device, rank), ...]}."""
    path.write_text(json.dumps({"server_list": [
        {"server_id": server, "device": [{"device_id": str(device), "rank_id": str(rank)} for device, rank in devices]}
        for server, devices in servers.items()]}))
    return path


@pytest.mark.parametrize("servers", [{}, {"a": [], "b": []}, {"a": [(0, 0)], "b": [(0, 1)]}, {"a": [(0, 1)]},
                                     {"a": [(0, 0), (1, 0)]}])
def test_tables_that_are_not_of_this_host(tmp_path, servers):
    with pytest.raises(InputError, match="table.json"):
        table_devices(write_table(tmp_path / "table.json", servers))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_files_that_are_no_table(tmp_path, content):
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(InputError, match="table.json"):
        table_devices(tmp_path / "table.json")


def test_the_servers_of_a_table(tmp_path):
    path = write_table(tmp_path / "table.json", {"10.0.0.2": [(4, 2), (5, 3)], "10.0.0.1": [(7, 1), (6, 0)]})
    assert table_servers(path) == {"10.0.0.1": {0: "6", 1: "7"}, "10.0.0.2": {2: "4", 3: "5"}}
    assert list(table_servers(path)) == ["10.0.0.1", "10.0.0.2"], "the server of rank 0 comes first"


def test_the_manuals_command_from_scripts(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "hccl_tools.py"), "--device_num", "[0,8)"]
    ips = ",".join(f"192.168.1.{device}" for device in range(1, 9))
    subprocess.run([*command, "--device_ip", ips, "--server_ip", "10.1.2.3"], cwd=tmp_path, check=True)
    assert (tmp_path / "hccl_8p_01234567_10.1.2.3.json").is_file()
