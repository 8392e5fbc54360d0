"""Who won conflicts, and why."""

from replicator.store.store import Store
from replicator.store.tally import WINNERS_MAX, Conflict, Tally

from .rounds import Round, exchange


def test_reasons_and_winners() -> None:
    tally = Tally()
    tally.note("clock", 1)
    tally.note("clock", 2)
    tally.note("dot", 1)
    tally.note("merged", 3)
    counts = tally.counts()
    assert counts.by_reason == {"clock": 2, "dot": 1, "merged": 1}
    assert counts.by_origin == {f"{1:016x}": 2, f"{2:016x}": 1}
    assert counts.other_origins == 0


def test_the_winners_told_apart_are_bounded() -> None:
    tally = Tally()
    for origin in range(WINNERS_MAX + 3):
        tally.note("clock", origin)
        tally.note("clock", 0)
    counts = tally.counts()
    assert len(counts.by_origin) == WINNERS_MAX
    assert counts.by_origin[f"{0:016x}"] == WINNERS_MAX + 4
    assert counts.other_origins == 3


def test_of_a_store(store: Store, peer: Store) -> None:
    """A conflict counts once, where it arises, not where an equal value comes beside."""
    store.put(b"same", b"v")
    peer.put(b"same", b"v")
    store.put(b"k", b"ours")
    for _ in range(2):
        peer.put(b"k", b"theirs")
    Round(store, peer).whole()
    Round(store, peer).whole()
    counts = store.conflict_counts()
    assert counts.by_reason == {"clock": 1}
    assert counts.by_origin == {f"{peer.origin:016x}": 1}
    exchange(store, peer)
    assert peer.conflict_counts() == counts


def test_of_an_own_write(store: Store, peer: Store) -> None:
    """Which leaves beside it what it has not seen; by one that has seen all there is none."""
    told: list[Conflict] = []
    store.on_conflict = told.append
    store.put(b"k", b"read")
    read = {version.dot for version in store.versions(b"k")}
    store.put(b"k", b"written since")
    store.put_with(b"k", b"ours", seen=read)
    (one,) = told
    assert (one.key, one.fault) == (b"k", None)
    assert [version.value for version in one.versions] == [
        version.value for version in store.versions(b"k")
    ]
    counts = store.conflict_counts()
    assert sum(counts.by_reason.values()) == store.counters().conflicts == 1
    assert counts.by_origin == {f"{store.origin:016x}": 1}
    store.put_with(b"k", b"settled", seen={version.dot for version in store.versions(b"k")})
    store.put(b"l", b"v")
    assert len(told) == 1 and store.counters().conflicts == 1
