"""The commands of the socket, run on a handle, as a client of either protocol sees them."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import plyvel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.config import PAGE_BYTES, PAGE_ITEMS_MAX
from replicator.errors import (
    ClosedError,
    CommitError,
    GateClosedError,
    PeerRefusedError,
    ReservedKeyError,
    StoreFailedError,
)
from replicator.faces.commands import OWN
from replicator.faces.control import answer, execute
from replicator.faces.failures import failure
from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from replicator.faces.resp import Failure, Status
from replicator.faces.scanning import successor
from replicator.faces.stepwise import CommandError, Session


def opened(directory: Path) -> Replica:
    db = plyvel.DB(str(directory), create_if_missing=True)
    # No multicast: its threads draw from the random generator that hypothesis watches.
    return replicate(db, port=None, discovery=(), name="alone", join_timeout=0)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with opened(tmp_path / "store") as replica:
        yield replica


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """One handle for many examples."""
    with opened(tmp_path_factory.mktemp("commands") / "store") as replica:
        yield replica


def run(replica: Replica, *request: bytes) -> Any:
    return execute(replica, Session(), list(request))


def code_of(reply: object) -> str:
    assert isinstance(reply, Failure), reply
    return reply.code


def test_greetings(replica: Replica) -> None:
    session = Session()
    hello = execute(replica, session, [b"hello", b"3"])
    assert isinstance(hello, dict)
    assert (hello["server"], hello["proto"], hello["role"]) == ("replicator", 3, "master")
    assert session.protocol == 3
    assert execute(replica, session, [b"HELLO", b"4"]) == Failure(
        "NOPROTO", "unsupported protocol version"
    )
    assert session.protocol == 3
    assert run(replica, b"PING") == Status("PONG")
    assert run(replica, b"PING", b"x") == b"x"
    assert run(replica, b"ECHO", b"x") == b"x"


def test_what_is_no_command(replica: Replica) -> None:
    assert run(replica, b"FLY", b"to", b"\x1b") == Failure(
        "ERR", "unknown command 'FLY', with args beginning with: 'to' '\x1b' "
    )
    assert run(replica, b"GET") == Failure("ERR", "wrong number of arguments for 'get' command")
    assert run(replica, b"PING", b"1", b"2") == Failure(
        "ERR", "wrong number of arguments for 'ping' command"
    )


def test_data(replica: Replica) -> None:
    assert run(replica, b"SET", b"k", b"v") == Status("OK")
    assert run(replica, b"set", b"l", b"") == Status("OK")
    assert run(replica, b"GET", b"k") == b"v"
    assert run(replica, b"GET", b"nowhere") is None
    assert run(replica, b"MGET", b"k", b"nowhere", b"l") == [b"v", None, b""]
    assert code_of(run(replica, b"SET", b"k", b"v", b"NOSUCH")) == "ERR"
    assert run(replica, b"DEL", b"k", b"k", b"nowhere") == 1
    assert run(replica, b"GET", b"k") is None


def test_deleting_what_is_not_there_makes_no_tombstone(replica: Replica) -> None:
    assert run(replica, b"DEL", b"nowhere") == 0
    assert replica.versions(b"nowhere") == []


def test_the_reserved_range_is_refused_and_hidden(replica: Replica) -> None:
    key = b"\xff\xff\xff\xffx"
    for request in ([b"SET", key, b"v"], [b"REPL.LOAD", b"a", b"1", key, b"v"]):
        reply = run(replica, *request)
        assert code_of(reply) == "ERR"
        assert "reserved" in reply.text
    assert run(replica, b"GET", key) is None
    assert run(replica, b"GET", b"a") is None
    run(replica, b"SET", b"\xff\xff", b"v")
    assert run(replica, b"REPL.SCAN", b"PREFIX", b"\xff") == [None, [b"\xff\xff", b"v"]]
    assert run(replica, b"REPL.SCAN", b"START", key) == [None, []]


def test_a_load_writes_only_what_changes(replica: Replica) -> None:
    assert run(replica, b"REPL.LOAD", b"a", b"1", b"b", b"2") == {"written": 2, "unchanged": 0}
    (before,) = replica.versions(b"a")
    assert run(replica, b"REPL.LOAD", b"a", b"1", b"b", b"3") == {"written": 1, "unchanged": 1}
    (after,) = replica.versions(b"a")
    assert after.dot == before.dot
    assert run(replica, b"REPL.LOAD", b"c", b"1", b"c", b"2") == {"written": 1, "unchanged": 1}
    assert run(replica, b"GET", b"c") == b"2"
    assert code_of(run(replica, b"REPL.LOAD", b"a", b"1", b"b")) == "ERR"


def scanned(replica: Replica, *options: bytes) -> list[tuple[bytes, bytes]]:
    """All pages of a scan."""
    items: list[tuple[bytes, bytes]] = []
    after: list[bytes] = []
    while True:
        last, page = run(replica, b"REPL.SCAN", *options, *after)
        items += zip(page[::2], page[1::2], strict=True)
        if last is None:
            return items
        assert page[-2] == last
        after = [b"AFTER", last]


KEYS = st.binary(max_size=3) | st.sampled_from([b"\xff", b"\xff\xff", b"a", b"a\xff", b"a\0"])
BOUND = st.none() | KEYS


@settings(deadline=None)
@given(st.sets(KEYS, max_size=12), KEYS, BOUND, BOUND, st.integers(1, 5))
def test_scans_by_pages_show_what_is_in_the_range(
    shared: Replica,
    keys: set[bytes],
    prefix: bytes,
    start: bytes | None,
    stop: bytes | None,
    n: int,
) -> None:
    for key in {key for key, _ in scanned(shared)} - keys:
        shared.delete(key)
    for key in keys:
        shared.put(key, b"v" + key)
    options = [b"PREFIX", prefix, b"count", b"%d" % n]
    options += [] if start is None else [b"START", start]
    options += [] if stop is None else [b"STOP", stop]
    expected = [
        (key, b"v" + key)
        for key in sorted(keys)
        if key.startswith(prefix)
        and (start is None or key >= start)
        and (stop is None or key < stop)
    ]
    assert scanned(shared, *options) == expected


def test_pages_are_bounded(replica: Replica) -> None:
    with replica.write_batch() as batch:
        for number in range(PAGE_ITEMS_MAX + 1):
            batch.put(b"small%05d" % number, b"")
        for number in range(4):
            batch.put(b"z large%d" % number, bytes(PAGE_BYTES // 2))
    _, page = run(replica, b"REPL.SCAN", b"COUNT", b"999999")
    assert len(page) == 2 * PAGE_ITEMS_MAX
    _, page = run(replica, b"REPL.SCAN", b"PREFIX", b"z")
    assert len(page) == 2 * 2
    assert len(scanned(replica)) == PAGE_ITEMS_MAX + 5


@pytest.mark.parametrize(
    "options",
    [[b"COUNT"], [b"COUNT", b"x"], [b"COUNT", b"-1"], [b"WHAT", b"x"], [b"COUNT", b"1"] * 2],
)
def test_malformed_options(replica: Replica, options: list[bytes]) -> None:
    assert code_of(run(replica, b"REPL.SCAN", *options)) == "ERR"


@given(st.binary(max_size=3), st.binary(max_size=4))
def test_a_successor_is_the_least_key_behind_a_prefix(prefix: bytes, key: bytes) -> None:
    end = successor(prefix)
    if end is None:
        assert prefix.strip(b"\xff") == b""
    else:
        assert key.startswith(prefix) == (prefix <= key < end)


def test_versions_and_conflicts(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as a:
        for number in range(5):
            a.put(b"k%d" % number, b"from a")
        with replicate(plyvel.DB(str(tmp_path / "b"), create_if_missing=True), port=0) as b:
            for number in range(4):
                b.put(b"k%d" % number, b"from b")
            b.delete(b"k3")
            a.add_peer(str(b.address))
            until(lambda: a.known() == b.known())
            assert run(a, b"REPL.DIGEST") == run(b, b"REPL.DIGEST")
        pages = []
        after: list[bytes] = []
        while True:
            last, page = run(a, b"REPL.CONFLICTS", b"COUNT", b"3", *after)
            pages.append([key for key, _ in page])
            if last is None:
                break
            after = [b"AFTER", last]
        assert pages == [[b"k0", b"k1", b"k2"], [b"k3"]]
        winner, loser = run(a, b"REPL.VERSIONS", b"k3")
        assert (winner["operation"], winner["value"], winner["clock"]) == ("delete", None, 1)
        assert (loser["operation"], loser["value"], loser["clock"]) == ("put", b"from a", 0)
        assert loser["dot"] == str(a.versions(b"k3")[1].dot)
        a.put(b"k3", b"settled")
        assert [key for key, _ in run(a, b"REPL.CONFLICTS")[1]] == [b"k0", b"k1", b"k2"]


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_status_and_sync(replica: Replica) -> None:
    status = run(replica, b"REPL.STATUS")
    assert status["name"] == "alone"
    assert status["peers"] == []
    assert status["counters"]["writes"] == 0
    assert run(replica, b"REPL.SYNC", b"1000") is True


@pytest.mark.parametrize("protocol", [2, 3])
def test_every_reply_can_be_read(replica: Replica, protocol: int) -> None:
    run(replica, b"SET", b"k", b"v")
    arguments = {
        b"REPL.BATCH": [b"PUT", b"k", b"v"],
        b"REPL.LOAD": [b"k", b"v"],
        b"REPL.LOADPXAT": [b"k", b"v", b"1000"],
        b"REPL.RECORDS": [b"0"],
        b"REPL.RESOLVE": [b"k", b"VALUE", b"v"],
        b"REPL.SYNC": [b"100"],
        b"REPL.TOKEN": [b"OWN"],
        b"REPL.WAITFOR": [replica.token().encode(), b"100"],
    }
    for name, command in OWN.items():
        request = [name, *arguments.get(name, [b"k"] * (command.least - 1))]
        reader = hiredis.Reader()
        reader.feed(answer(replica, Session(protocol), request))
        reply = reader.gets()
        assert reply is not False
        is_error = isinstance(reply, hiredis.ReplyError)
        refused = (b"REPL.JOIN", b"REPL.FORGET", b"REPL.BACKUP", b"REPL.MORE")
        assert is_error == (name in refused), (name, reply)
        assert not reader.has_data()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ReservedKeyError("x"), "ERR"),
        (CommandError("NOPROTO x"), "NOPROTO"),
        (ClosedError("x"), "CLOSING"),
        (GateClosedError("x"), "CLOSING"),
        (CommitError("x"), "STORAGE"),
        (StoreFailedError("x"), "STORAGE"),
        (plyvel.IOError("x"), "STORAGE"),
        (plyvel.CorruptionError("x"), "STORAGE"),
        (TimeoutError("x"), "TIMEOUT"),
        (PeerRefusedError("x"), "PEER"),
    ],
)
def test_errors_have_codes(error: Exception, code: str) -> None:
    assert failure(error).code == code
    assert "x" in failure(error).text


def test_a_bug_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "replicator"):
        assert failure(ZeroDivisionError("x")) == Failure(
            "INTERNAL", "ZeroDivisionError: x; the log says where"
        )
    assert "ZeroDivisionError" in caplog.text


def test_a_closed_handle_answers(replica: Replica) -> None:
    replica.close()
    assert code_of(run(replica, b"GET", b"k")) == "CLOSING"
    assert code_of(run(replica, b"SET", b"k", b"v")) == "CLOSING"
    assert code_of(run(replica, b"REPL.DIGEST")) == "CLOSING"
