"""The commands of the socket that are about expiries, with Redis's answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.faces.control import execute
from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from replicator.faces.resp import Failure, Status
from replicator.faces.stepwise import Session


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    db = plyvel.DB(str(tmp_path / "store"), create_if_missing=True)
    with replicate(db, port=None, name="alone", join_timeout=0) as replica:
        yield replica


def run(replica: Replica, *request: bytes) -> Any:
    return execute(replica, Session(), list(request))


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [((b"EX", b"100"), 90, 100), ((b"px", b"100000"), 90, 100), ((), -1, -1)],
)
def test_set(replica: Replica, options: tuple[bytes, ...], least: int, most: int) -> None:
    assert run(replica, b"SET", b"k", b"v", *options) == Status("OK")
    assert run(replica, b"GET", b"k") == b"v"
    assert least <= run(replica, b"TTL", b"k") <= most


def test_time_to_live(replica: Replica) -> None:
    assert run(replica, b"TTL", b"k") == run(replica, b"PTTL", b"k") == -2
    run(replica, b"SET", b"k", b"v")
    assert run(replica, b"TTL", b"k") == run(replica, b"PTTL", b"k") == -1
    assert run(replica, b"EXPIRE", b"k", b"100") == 1
    assert 90_000 <= run(replica, b"PTTL", b"k") <= 100_000
    assert run(replica, b"PEXPIRE", b"k", b"900000") == 1
    assert 800 <= run(replica, b"TTL", b"k") <= 900
    assert run(replica, b"PERSIST", b"k") == 1
    assert run(replica, b"PERSIST", b"k") == 0
    assert run(replica, b"TTL", b"k") == -1
    for command in (b"EXPIRE", b"PEXPIRE"):
        assert run(replica, command, b"nothing there", b"5") == 0
        assert run(replica, command, b"nothing there", b"-5") == 0
    assert run(replica, b"PERSIST", b"nothing there") == 0


@pytest.mark.parametrize("command", [b"EXPIRE", b"PEXPIRE"])
@pytest.mark.parametrize("time", [b"0", b"-1"])
def test_a_time_that_is_over_deletes(replica: Replica, command: bytes, time: bytes) -> None:
    run(replica, b"SET", b"k", b"v")
    assert run(replica, command, b"k", time) == 1
    assert run(replica, b"GET", b"k") is None
    assert replica.versions(b"k")[0].is_delete


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ((b"SET", b"k", b"v", b"EX"), "ERR syntax error"),
        ((b"SET", b"k", b"v", b"EX", b"5", b"PX", b"5"), "ERR syntax error"),
        ((b"SET", b"k", b"v", b"NO", b"5"), "ERR syntax error"),
        ((b"SET", b"k", b"v", b"EX", b"0"), "ERR invalid expire time in 'set' command"),
        ((b"SET", b"k", b"v", b"PX", b"-3"), "ERR invalid expire time in 'set' command"),
        ((b"SET", b"k", b"v", b"EX", b"1.5"), "ERR value is not an integer or out of range"),
        ((b"SET", b"k", b"v", b"EX", b"9" * 40), "ERR value is not an integer or out of range"),
        ((b"SET", b"k", b"v", b"EX", b"9" * 15), "ERR invalid expire time in 'set' command"),
        ((b"EXPIRE", b"k", b"soon"), "ERR value is not an integer or out of range"),
        ((b"EXPIRE", b"k", b"--1"), "ERR value is not an integer or out of range"),
        ((b"EXPIRE", b"k"), "wrong number of arguments"),
        ((b"TTL",), "wrong number of arguments"),
    ],
)
def test_refused(replica: Replica, request_: tuple[bytes, ...], text: str) -> None:
    reply = run(replica, *request_)
    assert isinstance(reply, Failure)
    assert text in f"{reply.code} {reply.text}"
    assert replica.versions(b"k") == []
