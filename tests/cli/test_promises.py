"""Writes of the socket under a condition, and batches; the digest in steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicator.faces.control import execute
from replicator.faces.handle import Replica
from replicator.faces.resp import Failure, Status
from replicator.faces.stepwise import Session
from replicator.store import digest
from tests.cli.test_commands import opened, run

OK = Status("OK")


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with opened(tmp_path / "store") as replica:
        yield replica


def dots(replica: Replica, key: bytes) -> list[bytes]:
    return [str(version.dot).encode() for version in replica.versions(key)]


def code_of(reply: Any) -> str:
    assert isinstance(reply, Failure), reply
    return reply.code


def test_a_put_where_exactly_these_are_live(replica: Replica) -> None:
    assert run(replica, b"REPL.PUT", b"k", b"1", b"IF") == OK
    first = dots(replica, b"k")
    assert code_of(run(replica, b"REPL.PUT", b"k", b"x", b"IF")) == "CHANGED"
    assert run(replica, b"REPL.PUT", b"k", b"2", b"PX", b"100000", b"IF", *first) == OK
    assert replica.ttl(b"k") is not None
    assert code_of(run(replica, b"REPL.PUT", b"k", b"x", b"IF", *first)) == "CHANGED"
    assert code_of(run(replica, b"REPL.DELETE", b"k", b"IF", *first)) == "CHANGED"
    assert replica.get(b"k") == b"2"
    assert len(replica.versions(b"k")) == 1
    second = dots(replica, b"k")
    replica.put(b"k", b"3", seen=[])  # beside it: in conflict
    both = dots(replica, b"k")
    assert code_of(run(replica, b"REPL.PUT", b"k", b"x", b"IF", *second)) == "CHANGED"
    assert run(replica, b"REPL.DELETE", b"k", b"SYNC", b"1", b"IF", *reversed(both)) == OK
    assert replica.get(b"k") is None
    (tombstone,) = dots(replica, b"k")  # a delete is a version, too
    assert code_of(run(replica, b"REPL.PUT", b"k", b"x", b"IF")) == "CHANGED"
    assert run(replica, b"REPL.PUT", b"k", b"4", b"IF", tombstone) == OK


def test_conditions_that_make_no_sense(replica: Replica) -> None:
    for words in ([b"IF", b"nonsense"], [b"SYNC"], [b"SYNC", b"x"], [b"IF", b"1" * 16 + b":0"]):
        assert code_of(run(replica, b"REPL.PUT", b"k", b"v", *words)) == "ERR"
    assert replica.get(b"k") is None


def test_a_batch_is_one_commit(replica: Replica) -> None:
    replica.put(b"gone", b"v")
    operations = [b"PUT", b"a", b"1", b"putpx", b"b", b"2", b"100000", b"DELETE", b"gone"]
    assert run(replica, b"REPL.BATCH", *operations, b"PUT", b"a", b"3") == 3
    assert [replica.get(key) for key in (b"a", b"b", b"gone")] == [b"3", b"2", None]
    assert replica.ttl(b"a") is None
    assert 99 < (replica.ttl(b"b") or 0) <= 100
    assert run(replica, b"REPL.BATCH", b"SYNC", b"1", b"PUT", b"PUT", b"PUT") == 1
    assert replica.get(b"PUT") == b"PUT"


@pytest.mark.parametrize(
    "words",
    [
        [b"PUT", b"a"],
        [b"PUT", b"a", b"1", b"FLY", b"b"],
        [b"PUT", b"a", b"1", b"DELETE"],
        [b"PUTPX", b"a", b"1", b"never"],
        [b"PUTPX", b"a", b"1", b"0"],
        [b"PUT", b"a", b"1", b"PUT", b"\xff\xff\xff\xff", b"x"],
        [b"TIMEOUT", b"1", b"PUT", b"a", b"1"],
        [b"REPLICAS", b"0", b"PUT", b"a", b"1"],
    ],
)
def test_of_a_batch_with_a_mistake_nothing_is_written(replica: Replica, words: list[bytes]) -> None:
    assert code_of(run(replica, b"REPL.BATCH", *words)) == "ERR"
    assert list(replica) == []


def test_a_batch_that_peers_do_not_hold_in_time_stays(replica: Replica) -> None:
    words = [b"REPLICAS", b"1", b"TIMEOUT", b"10", b"PUT", b"a", b"1"]
    assert code_of(run(replica, b"REPL.BATCH", *words)) == "NOREPLICAS"
    assert replica.get(b"a") == b"1"


def test_a_digest_in_steps_is_the_digest(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "STEP_KEYS", 10)
    for number in range(35):
        replica.put(b"%d" % number, b"v")
    session = Session()
    replies: list[Any] = [execute(replica, session, [b"REPL.DIGEST", b"STEPS", b"1"])]
    while not replies[-1]["is_done"]:
        replies.append(execute(replica, session, [b"REPL.MORE"]))
    assert [reply["keys"] for reply in replies] == [10, 20, 30, 30]
    assert [reply["digest"] for reply in replies[:-1]] == [None] * 3
    assert replies[-1]["digest"] == replica.digest() == run(replica, b"REPL.DIGEST")
    assert code_of(execute(replica, session, [b"REPL.MORE"])) == "ERR"
