"""Collecting by nodes that run (R8, R10): when, by whom it is held up, and who comes back."""

from pathlib import Path
from typing import Any

import pytest
import trio

from replicator.config import Settings
from replicator.core.known import KnownSet
from replicator.core.members import Watermark
from replicator.errors import CommitError
from replicator.peers import collecting as collecting_module
from replicator.peers import membership as membership_module
from replicator.store import collect as collect_module
from replicator.store.collect import Step
from replicator.store.store import Store
from tests.store.checker import check_store
from tests.store.chunks import chunk_of, single
from tests.store.places import contents

from .peers import SETTINGS, Peer, converged, open_store, running, until


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds at rest takes less in a test."""
    monkeypatch.setattr(collecting_module, "COLLECT_SECONDS", 0.05)
    monkeypatch.setattr(membership_module, "ACK_SECONDS", 0.05)
    monkeypatch.setattr(membership_module, "GOSSIP_SECONDS", 0.02)
    monkeypatch.setattr(membership_module, "HEARTBEAT_SECONDS", 0.3)


def records(store: Store) -> set[bytes]:
    """The keys that have a record, deleted ones included."""
    return {key[5:] for key in store.db.iterator(prefix=b"\xff\xff\xff\xffi", include_value=False)}


def is_reissued(store: Store, key: bytes, former: int) -> bool:
    """Whether a key has versions, and none of an origin."""
    versions = store.versions(key)
    return bool(versions) and former not in {version.dot.origin for version in versions}


async def checked(peer: Peer) -> None:
    """See that a store is sound, once nothing is left to be made durable."""
    await until(lambda: peer.store.durable_known() == peer.store.known())
    check_store(peer.store)


async def writes(peer: Peer, *operations: tuple[bytes, bytes | None]) -> None:
    await trio.to_thread.run_sync(peer.store.write, operations)


async def test_a_cluster_of_one(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        await writes(a, (b"k", b"v"), (b"l", b"v"))
        await writes(a, (b"k", None))
        await until(lambda: records(a.store) == {b"l"})
        await until(lambda: a.store.counters().tombstones_collected == 1)
        await checked(a)


async def test_a_line_of_three(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a") as a,
        running(tmp_path / "b", a.address) as b,
        running(tmp_path / "c", b.address) as c,
    ):
        await writes(a, (b"k", b"v"), (b"l", b"v"))
        await converged(a, b, c)
        await writes(c, (b"k", None))
        await until(lambda: all(records(one.store) == {b"l"} for one in (a, b, c)))
        for one in (a, b, c):
            assert contents(one.store) == {b"l": b"v"}
            await checked(one)


async def test_contexts_shrink(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address) as b:
        await a.put(b"k", b"theirs")
        await converged(a, b)
        await b.put(b"k", b"ours")
        await until(lambda: all(len(one.store.record(b"k").context) == 1 for one in (a, b)))
        assert b.store.floor == {a.store.origin: 1}


async def test_who_is_away_holds_it_up_until_it_is_forgotten_and_brings_nothing_back(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address) as b:
        async with running(tmp_path / "c", b.address) as c:
            await writes(a, *((b"%d" % number, b"v") for number in range(9)))
            await converged(a, b, c)
            former = c.store.origin
        await writes(b, *((b"%d" % number, None) for number in range(8)))
        await converged(a, b)
        await until(lambda: a.store.counters().tombstones == 8)
        await trio.sleep(0.5)
        assert len(records(a.store)) == len(records(b.store)) == 9
        away = open_store(tmp_path / "c", SETTINGS)
        away[1].put(b"far away", b"written meanwhile")
        away[1].close()
        away[0].close()
        await trio.sleep(3 * membership_module.HEARTBEAT_SECONDS)
        b.node.forget("c")
        await until(lambda: all(records(one.store) == {b"8"} for one in (a, b)))
        async with running(tmp_path / "c", b.address) as c:
            await until(lambda: c.store.origin != former and not c.store.wants_full)
            await converged(a, b, c)
            # Told by a thread of its own, perhaps a little later.
            await until(lambda: any(told[0] == "round" and told[1].full for told in c.told))
            for one in (a, b, c):
                assert contents(one.store) == {b"8": b"v", b"far away": b"written meanwhile"}
                await checked(one)


async def test_silent_members_are_forgotten_where_the_settings_say_so(
    tmp_path: Path,
) -> None:
    settings = Settings(
        **{name: getattr(SETTINGS, name) for name in SETTINGS.__slots__ if name != "forget_after"},
        forget_after=1.0,
    )
    async with running(tmp_path / "a", settings=settings) as a:
        async with running(tmp_path / "b", a.address) as b:
            await writes(a, (b"k", b"v"))
            await converged(a, b)
        await writes(a, (b"k", None))
        await until(lambda: not records(a.store))
        assert [member.name for member in a.node.members()] == ["a"]


async def test_gaps_that_nobody_will_ever_fill_are_closed(tmp_path: Path) -> None:
    """A node is gone for good, and of its writes one is lacking everywhere: it holds the watermark
    down until it is forgotten, and then no more."""
    gone, lacking = 0xABCD, KnownSet({0xABCD: [1, 2, 3, 4]})
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address) as b:
        found = (single(b"v", gone, 1, b"k1"), single(None, gone, 3, b"k3"))
        await trio.to_thread.run_sync(a.store.finish, chunk_of(*found), lacking, lacking, {})
        a.node._membership.met(gone, "gone")
        await a.put(b"own", b"v")
        await converged(a, b)
        await until(lambda: len(a.node.members()) == len(b.node.members()) == 3)
        await trio.sleep(1.0)
        assert b"k3" in records(a.store), "its last write is above the gap"
        a.node.forget("gone")
        await until(lambda: all(one.store.closed_dots for one in (a, b)))
        assert a.store.closed_dots == b.store.closed_dots == KnownSet({gone: [2, 3]})
        await until(lambda: all(records(one.store) == {b"k1", b"own"} for one in (a, b)))
        await trio.to_thread.run_sync(
            b.store.finish, chunk_of(single(b"late", gone, 2, b"k2")), lacking, None, {}
        )
        # By one of them or by both, as it comes: equal values are no conflict.
        await until(lambda: all(is_reissued(one.store, b"k2", gone) for one in (a, b)))
        await converged(a, b)
        assert contents(a.store)[b"k2"] == b"late"


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be dropped is dropped later."""
    async with running(tmp_path / "a") as a:
        collect, failures = a.store.collect, list[str]()

        def fail_first(*arguments: Any) -> Step:
            if not failures:
                failures.append("no space left")
                raise CommitError(failures[0])
            return collect(*arguments)

        monkeypatch.setattr(a.store, "collect", fail_first)
        await writes(a, (b"k", None))
        await until(lambda: not records(a.store))
        await until(lambda: a.errors() == ["no space left"])
        await checked(a)


async def test_a_disk_that_is_full_amid_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody writes any more, and what was left is collected all the same."""
    async with running(tmp_path / "a") as a:
        await a.put(b"l", b"v")
        commit, failures = collect_module._Changes.commit, list[str]()

        def fail_first(changes: collect_module._Changes) -> None:
            if changes.dropped and not failures:
                failures.append("no space left")
                raise CommitError(failures[0])
            commit(changes)

        monkeypatch.setattr(collect_module._Changes, "commit", fail_first)
        await writes(a, (b"k", None))
        await until(lambda: records(a.store) == {b"l"})
        await until(lambda: a.errors() == ["no space left"])


async def test_a_watermark_that_became_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken under another origin (R13), amid a pass: the next one is used."""
    async with running(tmp_path / "a") as a:
        collect, void = a.store.collect, list[Step]()

        def void_first(watermark: Watermark, origin: int, after_key: bytes | None) -> Step:
            if a.store.seq and not void:
                void.append(collect(watermark, origin + 1, after_key))
                a.store.is_littered = False  # as it is behind the first step
                return void[0]
            return collect(watermark, origin, after_key)

        monkeypatch.setattr(a.store, "collect", void_first)
        await writes(a, (b"k", None))
        await until(lambda: void and not records(a.store))
        assert void[0].is_void


async def test_nothing_is_looked_at_where_there_is_nothing_to_collect(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        await a.put(b"k", b"v")
        counters = a.store.counters  # the first look, which is due in any case, has come to an end
        await until(lambda: counters().collecting_passes > 0 and not a.store.is_littered)
        passes = counters().collecting_passes
        for number in range(5):
            await a.put(b"%d" % number, b"v")
            await trio.sleep(0.1)
        assert a.store.counters().collecting_passes == passes
        await writes(a, (b"k", None))
        await until(lambda: a.store.counters().collecting_passes > passes)
