"""``conflicts``, ``versions``, ``resolve`` and ``reevaluate``, with daemons and without."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.store.places import Place, contents, patient
from tests.store.rounds import exchange

from .daemons import Daemon, documents, replicator, serving, until

pytestmark = pytest.mark.processes

COUNT = 2000


def where(data: Path) -> list[str]:
    return ["--data", str(data)]


def get(data: Path, key: str) -> str:
    return replicator("get", *where(data), key).stdout.rstrip("\n")


def versions(data: Path, key: str) -> list[Any]:
    (document,) = documents("versions", *where(data), key)
    found = document["versions"]
    assert isinstance(found, list)
    return found


def loaded(data: Path, *pairs: tuple[str, str]) -> Path:
    """A stopped store with some keys written by itself alone."""
    lines = "".join(f"{key}\t{value}\n" for key, value in pairs)
    assert replicator("load", "-", *where(data), stdin=lines.encode()).exit_code == 0
    return data


def in_step(a: Path, b: Path) -> None:
    until(lambda: replicator("digest", *where(a), "--with", str(b)).exit_code == 0)


def test_settled_at_one_daemon_it_is_settled_at_both(tmp_path: Path) -> None:
    keys = ("dot", "value", "delete", "tombstone", "seen")
    a = loaded(tmp_path / "a", *((key, "from a") for key in keys))
    b = loaded(tmp_path / "b", *((key, "from b") for key in keys))
    replicator("delete", *where(b), "tombstone")
    with serving(a) as first, serving(b, "--peer", first.address):
        in_step(a, b)
        by_node = {one["node"]: one for one in versions(a, "dot")}
        assert {name: one["value"] for name, one in by_node.items()} == {
            "a": "from a",
            "b": "from b",
        }
        assert [one["wins"] for one in versions(a, "dot")] == [True, False]
        text = replicator("versions", *where(a), "tombstone").stdout
        assert text.startswith("  > (deleted)\n") and ", node a, clock 0, 20" in text

        loser = next(one for one in versions(b, "dot") if not one["wins"])
        done = replicator("resolve", *where(b), "dot", "--dot", loser["dot"])
        assert done.exit_code == 0 and done.stdout.startswith(f"settled:\n  > {loser['value']}\n")
        assert replicator("resolve", *where(a), "value", "--value", "new").exit_code == 0
        assert replicator("resolve", *where(b), "delete", "--delete").exit_code == 0
        deleted = next(one for one in versions(a, "tombstone") if one["operation"] == "delete")
        assert replicator("resolve", *where(a), "tombstone", "--dot", deleted["dot"]).exit_code == 0
        one, other = versions(a, "seen")
        partly = replicator(
            "resolve", *where(a), "seen", "--value", "mine", "--seen", one["dot"], "--json"
        )
        assert partly.exit_code == 1 and '"settled": false' in partly.stdout
        assert {one["value"] for one in versions(a, "seen")} == {"mine", other["value"]}

        in_step(a, b)
        for data in (a, b):
            assert get(data, "dot") == loser["value"]
            assert get(data, "value") == "new"
            assert get(data, "delete") == get(data, "tombstone") == ""
            assert [found["key"] for found in documents("conflicts", *where(data))] == ["seen"]
        stale = replicator("resolve", *where(a), "dot", "--dot", loser["dot"])
        assert stale.exit_code == 2
        assert f"{loser['dot']} is no live version of key b'dot' (any more)" in stale.stderr
        status = replicator("status", *where(b)).stdout
        assert "conflicts   settled by " in status and "won by " in status


def test_on_a_stopped_directory(tmp_path: Path) -> None:
    a, b = loaded(tmp_path / "a", ("k", "from a")), loaded(tmp_path / "b", ("k", "from b"))
    with serving(a) as first, serving(b, "--peer", first.address) as second:
        in_step(a, b)
        assert (second.end(), first.end()) == (0, 0)
    (found,) = documents("conflicts", *where(a))
    assert {one["node"] for one in found["versions"]} == {"a", "b"}
    keep = found["versions"][1]
    assert replicator("resolve", *where(a), "k", "--dot", keep["dot"]).exit_code == 0
    assert documents("conflicts", *where(a)) == [] and get(a, "k") == keep["value"]


def test_mistakes(tmp_path: Path) -> None:
    data = loaded(tmp_path / "a", ("k", "v"))
    for arguments, reason in (
        ((), "one of --dot, --value and --delete"),
        (("--value", "v", "--delete"), "one of --dot, --value and --delete"),
        (("--dot", "nonsense"), "is no dot"),
        (("--value", "v", "--seen", "nonsense"), "is no dot"),
        (("--dot", "0000000000000001:1"), "is no live version"),
    ):
        result = replicator("resolve", *where(data), "k", *arguments)
        assert result.exit_code == 2 and reason in result.stderr, arguments
    absent = replicator("versions", *where(data), "absent")
    assert absent.exit_code == 1 and "was never written" in absent.stderr
    assert documents("versions", *where(data), "absent") == [{"key": "absent", "versions": []}]
    assert get(data, "k") == "v"


def numbers_in_conflict(tmp_path: Path, count: int) -> Path:
    """A stopped store of `count` keys, 1 against 2, shown by the default order."""
    a, b = (Place(tmp_path / name, settings=patient()) for name in "ab")
    mine, theirs = a.open(), b.open()
    for number in range(count):
        mine.put(b"key%05d" % number, b"1")
        theirs.put(b"key%05d" % number, b"1")
        theirs.put(b"key%05d" % number, b"2")
    exchange(mine, theirs)
    assert set(contents(mine).values()) == {b"2"}
    a.close()
    b.close()
    return a.path


def configured(tmp_path: Path, resolver: str) -> list[str]:
    file = tmp_path / "node.toml"
    file.write_text(f'[resolver]\nname = "{resolver}"\n')
    return ["--config", str(file)]


def preferring(data: Path) -> str:
    """A resolver that shows what this store wrote."""
    (status,) = documents("status", *where(data))
    return f"prefer_origin:{status['origin']}"


def revisiting(data: Path) -> Any:
    (status,) = documents("status", *where(data))
    return status["revisiting"]


def test_another_resolver_in_the_configuration_killed_on_the_way(tmp_path: Path) -> None:
    """Killed again and again, it ends: every key shows what the new one makes of it."""
    a = numbers_in_conflict(tmp_path, COUNT)
    config = configured(tmp_path, preferring(a))
    cut = 0
    for delay in (0.0, 0.1):
        daemon = Daemon(a, "--listen", "127.0.0.1:0", "--no-multicast", *config)
        try:
            time.sleep(delay)
        finally:
            daemon.end(signal.SIGKILL)
        values = [one["value"] for one in documents("scan", *where(a))]
        ones = values.count("1")
        assert values == ["1"] * ones + ["2"] * (COUNT - ones), "in key order, so far"
        cut += 0 < ones < COUNT
    with serving(a, *config) as daemon:
        until(lambda: revisiting(a) is None)
        assert {one["value"] for one in documents("scan", *where(a))} == {"1"}
        assert cut == 0 or "conflicts looked at again" in daemon.log
        assert len(documents("conflicts", *where(a))) == COUNT
        (document,) = documents("reevaluate", *where(a))
        assert document == {"complete": True, "deferred": False, "keys": COUNT, "changed": 0}
    assert {one["value"] for one in documents("scan", *where(a))} == {"1"}, "a visit leaves it so"


def test_reevaluate_on_a_stopped_directory(tmp_path: Path) -> None:
    data = loaded(tmp_path / "a", ("k", "v"))
    result = replicator("reevaluate", *where(data))
    assert (result.exit_code, result.stdout) == (0, "1 keys, 0 show something else now\n")
