"""Interning: a number is explained on the disk before any row uses it (R11)."""

import os
from typing import Any

import pytest

from replicator.errors import CommitError, FormatError, ProtocolError, StoreFailedError
from replicator.store import origins as origins_module
from replicator.store.keyspace import SEQ, origin_key
from replicator.store.origins import Origins
from replicator.store.store import Store

from .checker import check_store
from .places import Failing, Place


def test_numbers_count_up_and_stay(store: Store, place: Place) -> None:
    store.origins.intern(50, 60, 50)
    store.origins.intern(60, 70)
    assert store.origins.by_number == {1: 50, 2: 60, 3: 70}
    assert [store.origins.number(origin) for origin in (50, 60, 70)] == [1, 2, 3]
    store = place.reopen()
    assert store.origins.by_number == {1: 50, 2: 60, 3: 70}
    with pytest.raises(KeyError):
        store.origins.number(80)
    check_store(store)


def test_synced_before_it_may_be_used(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    commit, fdatasync = store.level.commit, os.fdatasync

    def watched_commit(batch: Any) -> None:
        commit(batch)
        events.append("commit" if 50 not in store.origins.numbers else "too late")

    def watched_sync(descriptor: int) -> None:
        fdatasync(descriptor)
        events.append("sync" if 50 not in store.origins.numbers else "too late")

    monkeypatch.setattr(store.level, "commit", watched_commit)
    monkeypatch.setattr(os, "fdatasync", watched_sync)
    store.origins.intern(50)
    assert events == ["commit", "sync"]
    store.origins.intern(50)
    assert events == ["commit", "sync"], "known already: nothing to do"


def test_a_failed_commit_interns_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Failing(store, lambda: CommitError("full")), pytest.raises(CommitError):
        store.origins.intern(50)
    assert not store.origins.numbers

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        with pytest.raises(StoreFailedError):
            store.origins.intern(50)
    assert not store.origins.numbers


def test_there_is_a_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins_module, "ORIGINS_MAX", 3)
    store.origins.intern(1, 2)
    with pytest.raises(ProtocolError, match="invents"):
        store.origins.intern(3, 4)
    store.origins.intern(2)


@pytest.mark.parametrize(
    ("key", "row"), [(b"\xff\xff\xff\xffo", SEQ.pack(1)), (origin_key(1), b"")]
)
def test_malformed_rows(store: Store, key: bytes, row: bytes) -> None:
    store.db.put(key, row)
    with pytest.raises(FormatError):
        Origins(store.level, store.db)
    store.db.delete(key)
