"""Open conflicts: counted in steps, listed within bounds."""

from pathlib import Path
from typing import Any

import pytest
import trio

from replicator.core.dots import Dot
from replicator.core.record import Version
from replicator.faces.handle import Replica
from replicator.faces.http import openconflicts
from replicator.faces.http.limits import (
    CONFLICTS_SHOWN_BYTES,
    CONFLICTS_SHOWN_MAX,
    SHOWN_BYTES_MAX,
    VERSIONS_SHOWN_MAX,
)
from replicator.faces.http.openconflicts import OpenConflicts, tell_conflict
from replicator.store.conflicts import Standing

from .serving import conflicting


def conflicts_of(replica: Replica) -> OpenConflicts:
    store = replica._engine.store
    return OpenConflicts(
        replica, lambda: (store.writes, store.counters().applied), trio.CapacityLimiter(1)
    )


async def counted(conflicts: OpenConflicts) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conflicts.keep_counting, lambda: True)
        with trio.fail_after(30):
            while conflicts.count is None:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_they_are_counted_and_listed(tmp_path: Path) -> None:
    keys = [b"k%03d" % number for number in range(CONFLICTS_SHOWN_MAX + 20)]
    async with conflicting(tmp_path, *keys) as (served, _):
        conflicts = conflicts_of(served.replica)
        assert conflicts.count is None
        await counted(conflicts)
        assert conflicts.count == len(keys)
        listed = await conflicts.told()
        assert [one["key"] for one in listed] == [
            key.decode() for key in keys[:CONFLICTS_SHOWN_MAX]
        ]
        assert await conflicts.told() == listed


async def test_one_that_is_settled_is_gone_at_once(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"a", b"b") as (served, _):
        conflicts = conflicts_of(served.replica)
        await counted(conflicts)
        served.replica.put(b"a", b"settled")
        listed = await conflicts.told()
        assert [one["key"] for one in listed] == ["b"]
        assert conflicts.count == 1
        served.replica.delete(b"b")
        assert await conflicts.told() == []
        assert conflicts.count == 0


async def test_one_that_an_event_names_is_listed_before_the_next_count(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"a") as (served, _):
        conflicts = conflicts_of(served.replica)
        conflicts.add([b"a", b"not in conflict"])
        listed = await conflicts.told()
        assert [one["key"] for one in listed] == ["a"]


async def test_one_that_is_added_while_others_are_looked_at_is_looked_at_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with conflicting(tmp_path, b"a", b"b") as (served, _):
        conflicts = conflicts_of(served.replica)
        conflicts.add([b"a"])
        real = conflicts._look_at

        def look_at(keys: Any) -> Any:
            trio.from_thread.run_sync(conflicts.add, [b"b"])
            return real(keys)

        monkeypatch.setattr(conflicts, "_look_at", look_at)
        assert [one["key"] for one in await conflicts.told()] == ["a"]
        assert [one["key"] for one in await conflicts.told()] == ["a", "b"]


async def test_a_look_that_fails_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with conflicting(tmp_path, b"a") as (served, _):
        conflicts = conflicts_of(served.replica)
        conflicts.add([b"a"])

        def fail(_: object) -> None:
            raise RuntimeError("once")

        with monkeypatch.context() as patch:
            patch.setattr(conflicts, "_look_at", fail)
            with pytest.raises(RuntimeError):
                await conflicts.told()
        assert [one["key"] for one in await conflicts.told()] == ["a"]


async def test_small_steps_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openconflicts, "CONFLICTS_SCAN_ROWS", 3)
    monkeypatch.setattr(openconflicts, "CONFLICTS_SCAN_SHARE", 1.0)
    keys = [b"k%03d" % number for number in range(0, 30, 7)]
    async with conflicting(tmp_path, *keys) as (served, _):
        for number in range(30):
            if number % 7:
                served.replica.put(b"k%03d" % number, b"v")
        store = served.replica._engine.store
        conflicts = conflicts_of(served.replica)
        await counted(conflicts)
        assert conflicts.count == len(keys)
        assert store.keys_in_conflict(None, 100) == (keys, None)
        assert store.keys_in_conflict(keys[0], 3) == ([], b"k003")
        assert store.keys_in_conflict(b"zzz", 3) == ([], None)


async def test_equal_writes_are_no_conflict(tmp_path: Path) -> None:
    values = (b"same", b"same")
    async with conflicting(tmp_path, b"a", values=values) as (served, _):
        store = served.replica._engine.store
        assert len(store.versions(b"a")) == 2
        assert store.keys_in_conflict(None, 10) == ([], None)
        conflicts = conflicts_of(served.replica)
        conflicts.add([b"a"])
        assert await conflicts.told() == []


async def test_long_keys_are_left_to_the_command_line(tmp_path: Path) -> None:
    keys = [b"%d" % number + b"x" * (CONFLICTS_SHOWN_BYTES // 2) for number in range(3)]
    async with conflicting(tmp_path, *keys) as (served, _):
        conflicts = conflicts_of(served.replica)
        await counted(conflicts)
        listed = await conflicts.told()
        assert len(listed) == 1
        assert conflicts.count == 3


async def test_a_value_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with conflicting(tmp_path, b"a", b"b") as (served, _):
        store = served.replica._engine.store
        conflicts = conflicts_of(served.replica)
        await counted(conflicts)
        before = await conflicts.told()
        read: list[bytes] = []
        real = type(store).standing
        monkeypatch.setattr(
            type(store), "standing", lambda self, key: read.append(key) or real(self, key)
        )
        served.replica.put(b"other", b"v")
        assert await conflicts.told() == before
        assert read == []


async def test_a_value_that_is_damaged_is_told(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"a") as (served, _):
        store = served.replica._engine.store
        with store.db.iterator(start=b"\xff\xff\xff\xffv", stop=b"\xff\xff\xff\xffw") as rows:
            for key, _value in list(rows):
                store.db.put(key, b"damaged")
        conflicts = conflicts_of(served.replica)
        await counted(conflicts)
        (told,) = await conflicts.told()
        assert "not the one written" in told["fault"] and told["versions"] == []


async def test_nobody_is_counted_for_while_nobody_asks(
    tmp_path: Path, autojump_clock: object
) -> None:
    conflicts = OpenConflicts(None, object, trio.CapacityLimiter(1))  # type: ignore[arg-type]
    with trio.move_on_after(1000):
        await conflicts.keep_counting(lambda: False)
    assert conflicts.count is None


def version(seq: int, value: bytes | None, origin: int = 0xABC) -> Version:
    return Version(b"\xffkey", Dot(origin, seq), 3, 1000 << 16, value is None, value, None)


def test_a_conflict_as_json() -> None:
    versions = (version(2, None), version(1, b"x" * 10_000), version(7, b"\xff", 0xDEF))
    told = tell_conflict(Standing(b"\xffkey", versions, False), {0xABC: "be\x1brlin"}, None)
    assert told["key"] == {"base64": "/2tleQ=="}
    assert told["shown"] == {"hex": "ff6b6579", "bytes": 4, "cut": False}
    assert told["dots"] == ["0000000000000abc:2", "0000000000000abc:1", "0000000000000def:7"]
    first, second, third = told["versions"]
    assert first == {
        "dot": "0000000000000abc:2",
        "node": r"be\x1brlin",
        "wins": True,
        "operation": "delete",
        "clock": 3,
        "time_ms": 1000,
        "expiry_ms": None,
        "value": None,
    }
    assert (second["wins"], len(second["value"]["text"])) == (False, SHOWN_BYTES_MAX)
    assert (third["node"], third["value"]["hex"]) == ("", "ff")


def test_where_the_resolver_merges_nobody_wins() -> None:
    versions = tuple(version(seq, b"%d" % seq) for seq in range(1, 20))
    told = tell_conflict(Standing(b"k", versions, True), {}, b"all of them")
    assert told["merged"]["text"] == "all of them"
    assert not any(one["wins"] for one in told["versions"])
    assert len(told["versions"]) == VERSIONS_SHOWN_MAX and len(told["dots"]) == 19
