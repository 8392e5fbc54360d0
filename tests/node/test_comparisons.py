"""Running nodes find what has changed behind a node's back, and mend it, or tell a person (R16)."""

from dataclasses import replace
from pathlib import Path
from zlib import crc32

from replicator.core.record import Record
from replicator.store.store import Store
from tests.node.peers import SETTINGS, Peer, converged, running, until

QUICK = replace(SETTINGS, linger=30.0, digest_interval=0.2)


async def a_pair_in_step(a: Peer, b: Peer) -> None:
    for number in range(50):
        await a.put(b"%02d" % number, b"v")
    await converged(a, b)


def lose(store: Store, key: bytes) -> None:
    """A record is gone; what is known stays."""
    with store.level.lock:
        batch = store.db.write_batch()
        store.remove(batch, key, store.read(key))
        batch.write()


async def test_what_is_lost_is_found_told_and_mended(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a", settings=QUICK) as a,
        running(tmp_path / "b", a.address, settings=QUICK) as b,
    ):
        await a_pair_in_step(a, b)
        lose(b.store, b"07")
        await a.put(b"news", b"so that it is looked at once")
        await until(lambda: b.db.get(b"07") == b"v")
        await converged(a, b)
        for node, peer in ((a, b), (b, a)):
            await until(lambda node=node: "difference" in node.names_told())
            told = next(told for told in node.told if told[0] == "difference")
            assert told[1:] == (peer.node.name, f"{peer.store.origin:016x}")
            await until(lambda node=node: node.node.status().digests.mended > 0)
            await until(lambda node=node: node.node.status().digests.equal > 0)
            assert node.node.status().digests.differing > 0
            assert node.errors() == []


async def test_where_nothing_changes_it_is_looked_at_all_the_same(tmp_path: Path) -> None:
    """Known sets stay as they are when a disk forgets: so it is not waited for a write."""
    often = replace(QUICK, digest_interval=0.05)
    async with (
        running(tmp_path / "a", settings=often) as a,
        running(tmp_path / "b", a.address, settings=often) as b,
    ):
        await a_pair_in_step(a, b)
        await until(lambda: a.node.status().digests.equal > 0)
        lose(b.store, b"07")
        await until(lambda: b.db.get(b"07") == b"v")


async def test_a_dot_of_two_meanings_is_left_to_a_person(tmp_path: Path) -> None:
    """R13: nothing is overwritten, and nothing is tried again and again."""
    async with (
        running(tmp_path / "a", settings=QUICK) as a,
        running(tmp_path / "b", a.address, settings=QUICK) as b,
    ):
        await a_pair_in_step(a, b)
        store = b.store
        with store.level.lock:
            old = store.read(b"07")
            (version,) = old.versions
            other = replace(version, value=b"x", checksum=crc32(b"x"))
            batch = store.db.write_batch()
            record = Record((other,), old.context)
            store.install(batch, b"07", old, record, store.settler.resolve(record.versions))
            batch.write()
        await a.put(b"news", b"so that it is looked at once")
        # Whichever of the two sees it first tells the other, and both stop.
        pair = (a, b)
        await until(lambda: any(one.blocked for node in pair for one in node.node.status().peers))
        await until(lambda: any("other contents" in error for error in a.errors() + b.errors()))
        assert (a.db.get(b"07"), b.db.get(b"07")) == (b"v", b"x")


async def test_nobody_compares_without_an_interval(tmp_path: Path) -> None:
    never = replace(QUICK, digest_interval=0)
    async with (
        running(tmp_path / "a", settings=never) as a,
        running(tmp_path / "b", a.address, settings=QUICK) as b,
    ):
        await a_pair_in_step(a, b)
        await until(lambda: b.node.status().digests.equal > 0)
        await until(lambda: a.node.status().digests.equal > 0)  # who is asked answers
