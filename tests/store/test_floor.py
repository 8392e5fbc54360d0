"""A purge floor above the known set of its own node denies nothing (R8, R9, R11)."""

from pathlib import Path

import pytest

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.store import identity

from .chunks import A, B, chunk_of, single
from .places import BOOT_ID, Place, live, patient
from .rounds import collect


def test_contexts_are_raised_only_as_far_as_the_sender_knows(directory: Path) -> None:
    """The sender's full-state round was cut: its floor came with a drop, its known set did not."""
    with Place(directory / "a", settings=patient()) as store:
        store.apply(chunk_of(single(b"kept", A, 3)), KnownSet({A: [1, 4]}))
        theirs = chunk_of(single(b"theirs", B, 1))
        store.apply_full(theirs, KnownSet({A: [1, 3], B: [1, 2]}), {A: 3, B: 1}, None, None)
        assert live(store, b"k") == {(A, 3), (B, 1)}


def test_what_the_sender_knows_is_denied_below_its_floor(directory: Path) -> None:
    with Place(directory / "a", settings=patient()) as store:
        store.apply(chunk_of(single(b"purged there", A, 3)), KnownSet({A: [1, 4]}))
        theirs = chunk_of(single(b"theirs", B, 1))
        store.apply_full(theirs, KnownSet({A: [1, 5], B: [1, 2]}), {A: 4}, None, None)
        assert live(store, b"k") == {(B, 1)}


def test_a_power_cut_takes_the_floor_back_to_what_is_known(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(directory / "a", settings=patient())
    store = place.open()
    known = KnownSet({A: [1, 3]})
    store.finish(Chunk(), known, known, {A: 2})
    store.sync_point()
    more = KnownSet({A: [1, 9], B: [1, 2]})
    store.finish(Chunk(), more, more, {A: 8, B: 1})
    place.kill()
    read = identity._read
    monkeypatch.setattr(identity, "_read", lambda path: "new" if path == BOOT_ID else read(path))
    for _ in range(2):
        store = place.reopen()
        assert store.floor == {A: 2}
        assert store.known().bounds(A) == [1, 3]
    place.close()


def test_a_fork_of_what_was_never_shown_leaves_no_floor_of_nothing(directory: Path) -> None:
    """A floor of 0 is none: no peer takes a message that holds one."""
    place = Place(directory / "a", settings=patient())
    store = place.open()
    store.put(b"k", b"v")
    store.delete(b"k")
    collect(store, b"k")
    assert store.floor == {store.origin: 2}
    store.fork()
    assert store.floor == {}
    assert place.reopen().floor == {}
    place.close()
