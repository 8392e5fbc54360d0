"""Full-state rounds and digests with real daemons: what differs is found range by range, whatever
happens in between, and data damaged behind a node's back is mended (R9, R16)."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.config import Settings
from replicator.store.keyspace import INDEX, RESERVED, log_key
from replicator.store.store import Store
from tests.cli.daemons import Daemon, documents, replicator, serving, until
from tests.store.rounds import collect

pytestmark = pytest.mark.processes

KEYS = 3000


def opened(data: Path) -> tuple[plyvel.DB, Store]:
    db = plyvel.DB(str(data), create_if_missing=True)
    return db, Store.open(db, settings=Settings(join_timeout=0))


def filled(data: Path, keys: int = KEYS) -> None:
    """A stopped directory of so many keys."""
    db, store = opened(data)
    for start in range(0, keys, 500):
        numbers = range(start, min(start + 500, keys))
        store.write([(b"key%06d" % number, b"v" * 100) for number in numbers])
    store.close()
    db.close()


def apart(data: Path, *writes: tuple[bytes, bytes]) -> None:
    """Let a stopped directory write, and collect a delete that nobody else has seen: whoever does
    not know it needs a full-state round."""
    db, store = opened(data)
    store.write(list(writes))
    gone = b"gone at " + data.name.encode()
    store.put(gone, b"")
    store.delete(gone)
    collect(store, gone)
    store.close()
    db.close()


def peer_of(data: Path) -> dict[str, Any]:
    (status,) = documents("status", "--data", str(data))
    (peer,) = status["peers"]
    assert isinstance(peer, dict)
    return peer


def are_equal(a: Path, b: Path) -> bool:
    return replicator("digest", "--data", str(a), "--with", str(b)).exit_code == 0


def test_what_differs_is_all_that_is_sent(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    filled(tmp_path / "base")
    for data in (a, b):
        shutil.copytree(tmp_path / "base", data)  # a copy takes an origin of its own (R13)
    apart(a, (b"key000007", b"changed at a"), (b"new at a", b"1"))
    apart(b, (b"key002003", b"changed at b"), (b"new at b", b"2"))
    with serving(a) as first, serving(b, "--peer", first.address):
        until(lambda: are_equal(a, b) and peer_of(a)["rounds"] > 0 and peer_of(b)["rounds"] > 0)
        for data in (a, b):
            assert 1 < peer_of(data)["records_in"] < 100, "all of it was sent"
            values = [
                replicator("get", key, "--data", str(data)).stdout
                for key in ("key000007", "key002003", "new at a", "new at b")
            ]
            assert values == ["changed at a\n", "changed at b\n", "1\n", "2\n"]
            assert replicator("get", f"gone at {data.name}", "--data", str(data)).exit_code == 1


def test_a_bootstrap_is_killed_and_begins_again_while_both_write(tmp_path: Path) -> None:
    """The receiver has nothing, so that the round takes a while; it dies in the middle of it."""
    a, b = tmp_path / "a", tmp_path / "b"
    filled(a, 40_000)
    apart(a)
    with serving(a) as first:
        second = Daemon(
            b, "--listen", "127.0.0.1:0", "--no-multicast", "--name", "b", "--peer", first.address
        )
        try:
            until(lambda: len(documents("scan", "--data", str(b), "--limit", "2")) == 2)
            second.end(signal.SIGKILL)
        finally:
            second.clean_up()
        db, store = opened(b)
        assert 2 <= sum(1 for _ in db.iterator(stop=RESERVED)) < 40_000, "in the middle of it"
        assert store.known().count() < 40_000
        store.close()
        db.close()
        with serving(b, "--peer", first.address):
            assert replicator("put", "key039999", "later at b", "--data", str(b)).exit_code == 0
            assert replicator("put", "key000009", "at a", "--data", str(a)).exit_code == 0
            until(lambda: are_equal(a, b))
            for data in (a, b):
                for key, value in (
                    ("key000009", "at a"),
                    ("key039999", "later at b"),
                    ("key020000", "v" * 100),
                ):
                    assert replicator("get", key, "--data", str(data)).stdout == f"{value}\n"


def lose(data: Path, key: bytes) -> None:
    """What a broken disk, or another program, may do to a stopped directory: a key is gone, and
    with it all that the replicator has noted of it but that its write is known."""
    db, store = opened(data)
    (version,) = store.record(key).versions
    number = store.origins.number(version.dot.origin)
    store.close()
    with db.write_batch() as batch:
        for row in (key, INDEX + key, log_key(number, version.dot.seq)):
            assert db.get(row) is not None
            batch.delete(row)
    db.close()


def test_what_is_lost_behind_a_nodes_back_is_found_and_mended(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    config = tmp_path / "replicator.toml"
    config.write_text("[replication]\ndigest_interval = 0.3\nlinger = 30.0\n")
    filled(a)
    options = ("--config", str(config))
    with serving(a, *options) as first:
        with serving(b, *options, "--peer", first.address) as second:
            until(lambda: are_equal(a, b))
            assert second.end() == 0
        lose(b, b"key001234")
        with serving(b, *options, "--peer", first.address) as second:
            until(lambda: documents("status", "--data", str(b))[0]["digests"]["mended"] > 0)
            until(lambda: are_equal(a, b))
            assert replicator("get", "key001234", "--data", str(b)).stdout == "v" * 100 + "\n"
            until(lambda: documents("status", "--data", str(b))[0]["digests"]["equal"] > 0)
            assert "hold different data (R16)" in second.log
            records = peer_of(b)["records_in"]
            assert records < 100, "no more was sent than what differs"
            before = documents("status", "--data", str(b))[0]["digests"]["differing"]
            time.sleep(1)
            after = documents("status", "--data", str(b))[0]["digests"]["differing"]
            assert after == before, "a difference that is mended is found again"
