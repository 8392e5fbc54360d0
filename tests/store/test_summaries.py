"""Records without their values, as of one moment."""

from zlib import crc32

import pytest

from replicator.errors import ClosedError
from replicator.store.store import Store
from replicator.store.summaries import Summaries

from .rounds import exchange


def test_what_a_store_holds(store: Store, peer: Store) -> None:
    store.put(b"both", b"here")
    peer.put(b"both", b"there")
    store.put(b"k", b"v")
    store.delete(b"gone")
    exchange(store, peer)
    summaries = Summaries.of(store)
    store.put(b"later", b"v")
    found = {one.key: one for one in summaries.read()}
    assert list(found) == [b"both", b"gone", b"k"]
    assert found[b"k"].shown == crc32(b"v")
    assert found[b"gone"].shown is None
    assert found[b"both"].shown == crc32(store.db.get(b"both") or b"")
    assert [one.dot for one in found[b"both"].versions] == [
        one.dot for one in store.record(b"both").versions
    ]
    assert summaries.known == peer.known()
    assert list(summaries.digests(0)) == [peer.digest(0)]
    summaries.close()
    summaries.close()


def test_a_closed_store(store: Store) -> None:
    store.close()
    with pytest.raises(ClosedError):
        Summaries.of(store)
