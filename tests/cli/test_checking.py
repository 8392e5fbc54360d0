"""REPL.VERIFY and REPL.RECORDS: bounded replies, one snapshot, given up with the client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.config import PAGE_ITEMS_MAX
from replicator.faces.control import execute
from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from replicator.faces.resp import Failure
from replicator.faces.stepwise import Session

KEYS = 2 * PAGE_ITEMS_MAX + 5


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    db = plyvel.DB(str(tmp_path / "store"), create_if_missing=True)
    with replicate(db, port=None, join_timeout=0) as replica:
        with replica.write_batch() as batch:
            for number in range(KEYS):
                batch.put(b"k%05d" % number, b"v")
        yield replica


def steps(replica: Replica, *request: bytes) -> Iterator[Any]:
    """The reply of a request and all of those behind it."""
    session = Session()
    reply = execute(replica, session, list(request))
    while not isinstance(reply, Failure):
        yield reply
        reply = execute(replica, session, [b"REPL.MORE"])


def test_faults_come_in_pages(replica: Replica) -> None:
    raw = replica._engine.store.db
    for number in range(KEYS):
        raw.put(b"k%05d" % number, b"changed")
    *pages, last = steps(replica, b"REPL.VERIFY")
    assert [len(page["faults"]) for page in pages] == [PAGE_ITEMS_MAX] * 2
    assert not any(page["is_done"] for page in pages)
    assert pages[0]["faults"][0] == {
        "fault": "value-changed",
        "key": b"k00000",
        "detail": "",
        "dot": None,
    }
    assert (last["is_done"], last["keys"], last["counts"]) == (
        True,
        KEYS,
        {"value-changed": KEYS},
    )


def test_records_are_of_one_moment(replica: Replica) -> None:
    found = steps(replica, b"REPL.RECORDS", b"0")
    head = next(found)
    replica.put(b"later", b"v")
    assert head["known"] == {replica.origin: [1, KEYS + 1]}
    pages = list(found)
    assert [len(page) for page in pages] == [PAGE_ITEMS_MAX, PAGE_ITEMS_MAX, 5, 0]
    key, shown, ((dot, operation, clock, _, expiry_ms, checksum),) = pages[0][0]
    assert (key, dot, operation, clock, expiry_ms) == (
        b"k00000",
        f"{replica.origin}:1",
        "put",
        0,
        None,
    )
    assert shown == checksum


@pytest.mark.parametrize("moment", [b"", b"x", b"-1", b"1" * 16])
def test_a_moment_that_is_none(replica: Replica, moment: bytes) -> None:
    reply = execute(replica, Session(), [b"REPL.RECORDS", moment])
    assert isinstance(reply, Failure) and reply.code == "ERR"


def test_a_client_goes_away_in_the_middle(replica: Replica) -> None:
    for request in ([b"REPL.VERIFY"], [b"REPL.RECORDS", b"0"]):
        session = Session()
        execute(replica, session, request)
        session.close()
        assert isinstance(execute(replica, session, [b"REPL.MORE"]), Failure)
