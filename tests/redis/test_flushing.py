"""FLUSHALL deletes what was there when it was asked for, and nothing else."""

import threading
from dataclasses import replace

import pytest

from replicator.faces.control import execute
from replicator.faces.handle import Replica
from replicator.faces.redis import limits
from replicator.faces.redis.table import Slices, Work
from replicator.faces.stepwise import Session
from replicator.store.level import Level
from tests.redis.beside import Ours

KEYS = [b"key:%04d" % number for number in range(8 * limits.RESP_WRITES_KEYS)]


def written(replica: Replica) -> int:
    return replica._engine.store.writes


def begun(replica: Replica) -> Slices:
    work = execute(replica, Session(), [b"FLUSHALL"])
    assert isinstance(work, Work)
    return work.slices


@pytest.mark.parametrize(
    "request_", [(b"FLUSHALL",), (b"flushdb", b"async"), (b"FLUSHALL", b"SYNC")]
)
def test_everything_is_deleted_by_deletes(
    replica: Replica, ours: Ours, request_: tuple[bytes, ...]
) -> None:
    ours.ask(b"MSET", *[word for key in KEYS for word in (key, b"v")])
    ours.ask(b"EXPIRE", KEYS[7], b"1000")
    ours.ask(b"DEL", KEYS[9])
    before = written(replica)
    assert ours.ask(*request_) == b"OK"
    assert ours.ask(b"DBSIZE") == 0
    assert all(replica.versions(key)[0].is_delete for key in KEYS)
    assert written(replica) == before + len(KEYS) - 1  # one was deleted already
    assert ours.ask(*request_) == b"OK"
    assert written(replica) == before + len(KEYS) - 1


def test_what_is_written_meanwhile_stays(replica: Replica, ours: Ours) -> None:
    ours.ask(b"MSET", *[word for key in KEYS for word in (key, b"v")])
    slices = begun(replica)
    while replica.get(KEYS[0]) is not None:
        next(slices)
    assert replica.get(KEYS[100]) == b"v"
    assert replica.get(KEYS[-1]) == b"v"
    for key in (KEYS[0], KEYS[-1], KEYS[-2], b"key:new", b"new"):
        ours.ask(b"SET", key, b"written meanwhile")
    ours.ask(b"EXPIRE", KEYS[-3], b"1000")
    ours.ask(b"DEL", KEYS[-4])
    writes = written(replica)
    assert b"".join(slices) == b"+OK\r\n"
    assert ours.ask(b"KEYS", b"*") == [*(KEYS[0], KEYS[-3], KEYS[-2], KEYS[-1], b"key:new", b"new")]
    assert written(replica) == writes + len(KEYS) - limits.RESP_WRITES_KEYS - 4


def test_conflicts_are_settled_by_it(replica: Replica, ours: Ours) -> None:
    replica.put(b"k", b"one")
    replica.put(b"k", b"other", seen=[])
    assert len(replica.versions(b"k")) == 2
    assert ours.ask(b"FLUSHALL") == b"OK"
    assert [version.is_delete for version in replica.versions(b"k")] == [True]


@pytest.mark.parametrize(
    "request_",
    [
        (b"FLUSHALL",),
        (b"DEL", *(b"%d" % number for number in range(1500))),
        (b"MSET", *(b"%d" % (number // 2) for number in range(3000))),
    ],
)
def test_it_waits_for_the_disk_where_every_write_does(
    replica: Replica, ours: Ours, monkeypatch: pytest.MonkeyPatch, request_: tuple[bytes, ...]
) -> None:
    """Like all that goes on in slices."""
    synced: list[str] = []
    monkeypatch.setattr(
        Level, "sync", lambda _: synced.append(threading.current_thread().name.split("_")[0])
    )
    ours.ask(b"SET", b"k", b"v")
    ours.ask(*request_)
    assert "replicator-aside" not in synced
    store = replica._engine.store
    monkeypatch.setattr(store, "settings", replace(store.settings, sync=True))
    ours.ask(*request_)
    assert synced.count("replicator-aside") == 1
