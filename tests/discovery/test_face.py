"""What programs call."""

import subprocess
import sys
from pathlib import Path

import pytest

from replicator import discovery
from replicator.errors import ConfigError


def test_each_kind_by_its_name(tmp_path: Path) -> None:
    assert [
        one.name
        for one in (
            discovery.multicast(),
            discovery.multicast(["eth0"]),
            discovery.dns("db.example:9000", interval=5),
            discovery.srv("_db._tcp.example", interval=5),
            discovery.file(Path("peers.txt"), interval=5),
            discovery.command(["peers", "-v"], interval=5, timeout=1),
            discovery.function(list, interval=5),
        )
    ] == [
        "multicast",
        "multicast",
        "dns db.example:9000",
        "srv _db._tcp.example",
        "file peers.txt",
        "command peers",
        "function list",
    ]


def test_equal_ones_are_equal() -> None:
    assert discovery.multicast(["eth0"]) == discovery.multicast(("eth0",))
    assert discovery.file("peers.txt") != discovery.file("peers.txt", interval=5)


def test_a_text_where_a_list_is_meant() -> None:
    with pytest.raises(ConfigError, match=r"\['eth0'\]"):
        discovery.multicast("eth0")
    with pytest.raises(ConfigError, match=r"\['peers', '-v'\]"):
        discovery.command("peers -v")


def test_importing_it_is_cheap() -> None:
    heavy = "{'asyncio', 'dns', 'ifaddr', 'zeroconf'} & set(sys.modules)"
    code = f"import sys, replicator.discovery; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
