"""Replicas that replicate, from plain synchronous programs and from trio ones."""

import threading
from collections.abc import Callable
from pathlib import Path

import plyvel
import pytest
import trio

from replicator import Replica, Round, Version, open_replica, resolvers
from tests.faces.waiting import until

Wrap = Callable[..., Replica]


@pytest.fixture
def level(tmp_path: Path) -> Callable[[str], plyvel.DB]:
    return lambda name: plyvel.DB(str(tmp_path / name), create_if_missing=True)


def test_two_replicas_from_plain_code(level: Callable[[str], plyvel.DB], wrap: Wrap) -> None:
    here = wrap(level("here"), port=0, name="here")
    there = wrap(level("there"), port=0, name="there", peers=[str(here.address)])
    for number in range(500):
        (here if number % 2 else there).put(b"%03d" % number, b"value of %d" % number)
    with here.write_batch() as batch:
        batch.delete(b"001")
        batch.put(b"together", b"1")
    assert there.sync(timeout=30)
    assert there.get(b"001") is None
    assert there.get(b"together") == b"1"
    assert list(here) == list(there)
    assert len(list(there)) == 500
    assert here.digest() == there.digest()
    assert here.known() == there.known()
    assert here.cluster_id == there.cluster_id
    assert list(here.conflicts()) == []
    (peer,) = there.status().peers
    assert (peer.name, peer.origin, peer.address) == ("here", here.origin, str(here.address))
    assert peer.lag_entries == 0


def test_a_change_arrives_by_itself(level: Callable[[str], plyvel.DB], wrap: Wrap) -> None:
    here = wrap(level("here"), port=0)
    there = wrap(level("there"), port=None, peers=[str(here.address)])
    arrived = threading.Event()

    def on_round(round_: Round) -> None:
        if there.get(b"k") == b"v":
            arrived.set()

    there.on("round", on_round)
    here.put(b"k", b"v")
    assert arrived.wait(30)


def test_concurrent_writes(level: Callable[[str], plyvel.DB], wrap: Wrap) -> None:
    options = {"port": 0, "resolver": resolvers.set_union}
    here, there = wrap(level("here"), **options), wrap(level("there"), **options)
    met: list[tuple[bytes, list[Version]]] = []
    told = threading.Event()

    def on_conflict(key: bytes, versions: list[Version]) -> None:
        met.append((key, versions))
        told.set()

    there.on("conflict", on_conflict)
    here.put(b"set", b'["here"]')
    there.put(b"set", b'["there"]')
    here.put(b"same", b"v")
    there.put(b"same", b"v")
    there.add_peer(str(here.address))
    assert there.sync(timeout=30)

    for replica in (here, there):
        assert replica.get(b"set") == b'["here","there"]'
        ((key, versions),) = replica.conflicts()
        assert key == b"set"
        assert {version.origin for version in versions} == {here.origin, there.origin}
        assert versions == replica.versions(b"set")
        assert len(replica.versions(b"same")) == 2
    assert told.wait(30)
    assert met[0][0] == b"set"
    assert len(met[0][1]) == 2

    there.put(b"set", b'["settled"]')
    assert there.sync(timeout=30)
    assert here.get(b"set") == b'["settled"]'
    assert list(here.conflicts()) == []


def test_a_delete_beside_a_put_stays_retrievable(
    level: Callable[[str], plyvel.DB], wrap: Wrap
) -> None:
    here, there = wrap(level("here"), port=0), wrap(level("there"), port=0)
    there.add_peer(str(here.address))
    here.put(b"k", b"first")
    assert there.sync(timeout=30)
    there.remove_peer(str(here.address))
    until(lambda: not any(peer.connected for peer in there.status().peers))
    there.delete(b"k")
    here.put(b"k", b"second")
    here.put(b"k", b"third")
    there.add_peer(str(here.address))
    assert there.sync(timeout=30)
    for replica in (here, there):
        assert replica.get(b"k") == b"third", "the higher clock"
        winner, loser = replica.versions(b"k")
        assert (winner.value, winner.is_delete) == (b"third", False)
        assert (loser.value, loser.is_delete, loser.origin) == (None, True, there.origin)


def test_prefixes_replicate_apart(level: Callable[[str], plyvel.DB], wrap: Wrap) -> None:
    root = level("one")
    whole = wrap(level("two"), port=0)
    shared = wrap(root.prefixed_db(b"shared:"), peers=[str(whole.address)])
    alone = wrap(root.prefixed_db(b"alone:"))
    whole.put(b"k", b"from the whole")
    shared.put(b"l", b"from the prefix")
    alone.put(b"k", b"mine")
    assert shared.sync(timeout=30)
    assert list(whole) == list(shared) == [(b"k", b"from the whole"), (b"l", b"from the prefix")]
    assert list(alone) == [(b"k", b"mine")]
    assert root.get(b"shared:k") == b"from the whole"
    shared.close(), alone.close(), root.close()


def test_sync_with_a_peer_that_is_not_there(level: Callable[[str], plyvel.DB], wrap: Wrap) -> None:
    gone = wrap(level("gone"), port=0)
    address = str(gone.address)
    gone.close()
    replica = wrap(level("here"), peers=[address], join_timeout=0)
    assert not replica.sync(timeout=30)
    replica.remove_peer(address)
    assert replica.sync(timeout=30)
    replica.put(b"k", b"v")
    assert replica.get(b"k") == b"v"


def test_closing_during_a_sync(level: Callable[[str], plyvel.DB], wrap: Wrap) -> None:
    here = wrap(level("here"), port=0)
    there = wrap(level("there"), peers=[str(here.address)])
    for number in range(200):
        here.put(b"%d" % number, bytes(1000))
    outcomes: list[object] = []

    def syncs() -> None:
        try:
            while True:
                outcomes.append(there.sync())
        except RuntimeError as error:
            outcomes.append(error)

    thread = threading.Thread(target=syncs)
    thread.start()
    until(lambda: outcomes)
    there.close()
    thread.join()
    assert "closed" in str(outcomes[-1])


async def test_two_replicas_in_one_trio_program(tmp_path: Path) -> None:
    async with (
        open_replica(tmp_path / "here", port=0) as here,
        open_replica(tmp_path / "there", port=None, peers=[str(here.address)]) as there,
    ):
        here.put(b"k", b"v")
        assert await there.synchronize(timeout=30)
        assert there.get(b"k") == b"v"
        there.put(b"k", b"w")
        assert await trio.to_thread.run_sync(there.sync, 30)
        assert here.get(b"k") == b"w"
        assert here.digest() == there.digest()
