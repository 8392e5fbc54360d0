"""Closed sets on disk (R10): durable before they are used, never asked where records are merged."""

from pathlib import Path

import pytest

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.errors import CommitError
from replicator.store import closing as closing_module
from replicator.store import identity
from replicator.store.store import Store

from .checker import Rows, check_store
from .chunks import A, B, chunk_of, single
from .places import BOOT_ID, Failing, Place, contents, live, patient

GAP = KnownSet({A: [2, 3]})


def test_they_survive_and_grow(place: Place) -> None:
    store = place.open()
    store.closing.close(GAP)
    store.closing.close(KnownSet({A: [3, 5], B: [1, 2]}))
    closed = KnownSet({A: [2, 5], B: [1, 2]})
    assert store.closed_dots == closed
    assert len(Rows(store).by_tag["c"]) == 2
    assert place.reopen().closed_dots == closed
    check_store(place.store)


def test_they_are_on_the_disk_before_they_are_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[KnownSet] = []
    sync = store.level.sync
    monkeypatch.setattr(
        store.level, "sync", lambda: (seen.append(store.closed_dots.copy()), sync())
    )
    store.closing.close(GAP)
    assert seen and not any(seen), "synced, and not used before"
    assert store.closed_dots == GAP
    seen.clear()
    store.closing.close(GAP)
    assert not seen, "nothing new costs nothing"


def test_a_full_disk(store: Store) -> None:
    store.origins.intern(A)
    with Failing(store, lambda: CommitError("no space left")), pytest.raises(CommitError):
        store.closing.close(GAP)
    assert not store.closed_dots
    store.closing.close(GAP)
    assert store.closed_dots == GAP


def test_a_live_version_of_a_closed_dot_is_issued_again(store: Store, peer: Store) -> None:
    for seq, key in enumerate((b"a", b"b", b"c"), 1):
        store.apply(chunk_of(single(b"v" + key, A, seq, key)), KnownSet())
    store.put(b"own", b"v")
    store.closing.close(GAP)
    before = store.record(b"b").versions[0]
    assert store.closing.reissue() == 1
    assert live(store, b"b") == {(store.origin, 2)}
    assert store.record(b"b").context == {A: 2, store.origin: 2}
    again = store.record(b"b").versions[0]
    assert (again.value, again.clock, again.timestamp) == (b"vb", before.clock, before.timestamp)
    assert live(store, b"a") == {(A, 1)}
    assert store.counters().closed_dots_reissued == 1
    assert store.closing.reissue() == 0
    check_store(store)


def test_one_that_turns_up_later_is_issued_again_too(place: Place) -> None:
    store = place.open()
    store.closing.close(GAP)
    assert store.closing.reissue() == 0
    store.apply(chunk_of(single(b"v", A, 2)), KnownSet())
    assert live(store, b"k") == {(A, 2)}, "a closed dot is not known, so R2 takes it"
    assert store.closing.reissue() == 1
    assert live(store, b"k") == {(store.origin, 1)}
    check_store(store)
    check_store(place.reopen())


def test_many_are_issued_again_in_bounded_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing_module, "KEYS_PER_COMMIT", 7)
    found = [single(b"%d" % seq, A, seq, b"%03d" % seq) for seq in range(1, 51)]
    store.apply(chunk_of(*found), KnownSet())
    before = contents(store)
    store.closing.close(KnownSet({A: [1, 41]}))
    assert store.closing.reissue() == 40
    assert contents(store) == before
    assert store.seq == 40
    check_store(store)


def test_a_failed_batch_begins_again(store: Store) -> None:
    store.put(b"own", b"v")
    store.apply(chunk_of(single(b"v", A, 2)), KnownSet())
    store.closing.close(GAP)
    with Failing(store, lambda: CommitError("no space left")), pytest.raises(CommitError):
        store.closing.reissue()
    assert store.seq == 1
    assert store.closing.reissue() == 1
    assert live(store, b"k") == {(store.origin, 2)}
    check_store(store)


def test_a_power_cut_leaves_a_floor_that_closed_dots_reach(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(directory / "a", settings=patient())
    store = place.open()
    known = KnownSet({A: [1, 2, 3, 6]})
    store.closing.close(GAP)
    store.finish(Chunk(), known, known, {A: 4})
    store.sync_point()
    place.kill()
    read = identity._read
    monkeypatch.setattr(identity, "_read", lambda path: "new" if path == BOOT_ID else read(path))
    assert place.open().floor == {A: 4}
    place.close()


class TestWantingAFullStateRound:
    """R10: who was forgotten begins with one, for certain."""

    def test_from_the_fork_to_the_end_of_such_a_round(self, place: Place) -> None:
        store = place.open()
        store.put(b"k", b"v")
        store.fork(was_forgotten=True)
        assert store.wants_full
        assert place.reopen().wants_full
        known = KnownSet({A: [1, 2]})
        place.store.finish(chunk_of(single(b"v", A, 1, b"l")), known, known, {})
        assert place.reopen().wants_full, "a log round does not do"
        place.store.finish(Chunk(), known, known, {}, full=True)
        assert not place.store.wants_full
        assert not place.reopen().wants_full

    def test_a_fork_for_other_reasons_does_not_ask_for_one(self, store: Store) -> None:
        store.fork()
        assert not store.wants_full

    def test_a_round_that_cannot_be_committed_has_not_been(self, store: Store) -> None:
        store.fork(was_forgotten=True)
        known = KnownSet({A: [1, 2]})
        store.origins.intern(A)
        with Failing(store, lambda: CommitError("no space left")), pytest.raises(CommitError):
            store.finish(Chunk(), known, known, {}, full=True)
        assert store.wants_full
