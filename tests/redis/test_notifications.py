"""Keyspace notifications: of clients' commands, of peers' writes, of expiry; nothing twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicator.faces.redis.flags import parse_flags
from replicator.faces.redis.hub import Hub
from replicator.faces.redis.limits import RESP_NOTIFICATIONS_MAX
from replicator.faces.redis.notifications import Notifications
from tests.cli.daemons import Daemon, serving
from tests.redis.talking import REDIS_SERVER, Connection, real_redis, socket_of, text

END = "__keyspace@0__:the end"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", ""),
        ("KEA", "AKE"),
        ("xK$g", "g$xK"),
        ("Kg$lshzxetd", "AK"),
        ("E", "E"),
        ("EEx", "xE"),
    ],
)
def test_flags(given: str, shown: str) -> None:
    assert parse_flags(given) == shown


@pytest.mark.parametrize("given", ["m", "Kn", "a", "K E", "é"])
def test_flags_that_there_are_not(given: str) -> None:
    with pytest.raises(ValueError, match="unknown letters"):
        parse_flags(given)


@pytest.mark.parametrize(
    ("flags", "are_on"),
    [("", False), ("K", False), ("g", False), ("Kg", True), ("EA", True), ("Kl", True)],
)
def test_both_kinds_of_letters_are_needed(flags: str, are_on: bool) -> None:
    notifications = Notifications(Hub())
    notifications.set_flags(flags)
    assert notifications.are_on is are_on


class Deaf(Hub):
    """Somebody listens, it seems."""

    is_empty = False  # type: ignore[assignment]


def test_what_comes_too_fast_is_dropped_and_counted() -> None:
    notifications = Notifications(Deaf())
    notifications.set_flags("KEA")
    for number in range(RESP_NOTIFICATIONS_MAX + 3):
        notifications.add(("$", b"set", b"%d" % number))
    assert notifications.dropped == 3
    notifications.publish_some(float("inf"))
    assert not notifications.waits


COMMANDS = """
    SET k v|SET k v EX 100|SET k v KEEPTTL|SETEX k 100 v|PSETEX k 100000 v|GET k|EXPIRE k 10
    EXPIRE k -1|SET n 1|INCR n|INCRBY n 5|DECR n|DECRBY n 3|INCRBYFLOAT n 1.5|APPEND n 0
    SETRANGE n 1 x|PERSIST n|EXPIRE n 100|PERSIST n|GETEX n EX 100|GETEX n PERSIST|GETEX n
    GETDEL n|DEL n|MSET a 1 b 2|MSETNX c 3 d 4|SETNX e 5|SETNX e 6|GETSET e 7|RENAME e f
    RENAMENX f g|DEL a b c nosuch|UNLINK d|PEXPIRE g 100000|EXPIREAT g 4000000000|SET g v NX
    SET g v XX GET|SET k v PXAT 4000000000000|MULTI;SET m 1;INCR m;DEL m;EXEC
    COPY g h|FLUSHALL"""
"""Redis's own commands; those that there are not here yet are left out by the test."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("notified") / "ours") as daemon:
        yield daemon


def listening(place: Path, flags: str = "KEA") -> Connection:
    """Somebody who is told of everything."""
    listener = Connection(place)
    assert text(listener.ask("CONFIG", "SET", "notify-keyspace-events", flags)) == "OK"
    listener.ask("PSUBSCRIBE", "__key*__:*")
    return listener


def heard(listener: Connection) -> list[tuple[str, str]]:
    """Channels and messages up to the one that ends a test."""
    messages = []
    while True:
        kind, _, channel, message = text(listener.get())
        assert kind == "pmessage"
        if channel == END:
            return messages
        messages.append((channel, message))


def requests() -> list[str]:
    parts = (part.strip() for line in COMMANDS.split("\n") for part in line.split("|"))
    return [part for part in parts if part]


def told_of(place: Path, some: list[str]) -> list[Any]:
    """What each request is told of by."""
    with listening(place) as listener, Connection(place) as writer:
        writer.ask("FLUSHALL")
        told = []
        for request in some:
            for one in request.split(";"):
                writer.say(one)
            writer.ask("PUBLISH", END, "")
            told.append([request, heard(listener)])
        return told


@pytest.mark.processes
@pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed")
def test_the_same_events_as_redis(ours: Daemon, tmp_path: Path) -> None:
    with Connection(socket_of(ours)) as connection:
        there_are = {text(one) for one in connection.ask("COMMAND", "LIST")}
    some = [one for one in requests() if one.split()[0].lower() in there_are]
    with real_redis(tmp_path) as theirs:
        expected = told_of(theirs, some)
    assert told_of(socket_of(ours), some) == expected


@pytest.mark.processes
def test_only_what_the_flags_ask_for(ours: Daemon) -> None:
    place = socket_of(ours)
    with listening(place, "Eg") as listener, Connection(place) as writer:
        writer.say("SET k v EX 100")
        writer.say("DEL k")
        writer.ask("PUBLISH", END, "")
        assert heard(listener) == [("__keyevent@0__:expire", "k"), ("__keyevent@0__:del", "k")]


@pytest.mark.processes
def test_none_by_default(tmp_path: Path) -> None:
    with serving(tmp_path / "quiet") as daemon:
        place = socket_of(daemon)
        with Connection(place) as listener, Connection(place) as writer:
            listener.ask("PSUBSCRIBE", "*")
            writer.say("SET k v")
            writer.ask("PUBLISH", END, "")
            assert heard(listener) == []


@pytest.mark.processes
def test_writes_of_commands_in_threads(ours: Daemon) -> None:
    place = socket_of(ours)
    with listening(place, "KA") as listener, Connection(place) as writer:
        writer.say("SET old v")
        for request in (
            "REPL.PUT a 1",
            "REPL.PUT a 1 PX 100000",
            "REPL.LOAD old v new v",
            "REPL.RESOLVE a VALUE 2",
            "REPL.RESOLVE a DELETE",
            "REPL.PUT b 1 REPLICAS 1 TIMEOUT 0",
            "REPL.DELETE b",
            "REPL.PUT b",
            "REPL.BATCH SYNC 1 PUT c 1 PUT c 2 PUTPX d 1 100000 DELETE e",
            "REPL.LOADPXAT f 1 9000000000000",
            "REPL.LOADPXAT f 1 9000000000000",
        ):
            writer.say(request)
        writer.ask("PUBLISH", END, "")
        told = [
            (channel.removeprefix("__keyspace@0__:"), event) for channel, event in heard(listener)
        ]
        assert told == [
            ("old", "set"),
            ("a", "set"),
            ("a", "set"),
            ("a", "expire"),
            ("new", "set"),
            ("a", "set"),
            ("a", "del"),
            ("b", "set"),
            ("b", "del"),
            ("c", "set"),
            ("d", "set"),
            ("d", "expire"),
            ("e", "del"),
            ("f", "set"),
            ("f", "expire"),
        ]


@pytest.mark.processes
def test_peers_writes_and_expiry_are_told_at_every_node_once(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "a") as a,
        serving(tmp_path / "b", "--peer", a.address) as b,
        listening(socket_of(a), "KA") as near,
        listening(socket_of(b), "KA") as far,
        Connection(socket_of(a)) as writer,
    ):
        for request in ("SET k 1", "SET gone 1 PX 300", "DEL k"):
            writer.say(request)
            assert writer.say("WAIT 1 20000") == 1  # so that the feed cannot leave one out
        events = [("k", "set"), ("gone", "set"), ("k", "del"), ("gone", "expired")]
        assert told_until_expired(far) == events
        here = [("k", "set"), ("gone", "set"), ("gone", "expire"), ("k", "del")]
        assert told_until_expired(near) == [*here, ("gone", "expired")]
        for place, listener in ((socket_of(a), near), (socket_of(b), far)):
            with Connection(place) as other:
                other.ask("PUBLISH", END, "")
            assert heard(listener) == []


def told_until_expired(listener: Connection) -> list[tuple[str, str]]:
    """Keys and events up to the first that has expired."""
    told = []
    while not told or told[-1][1] != "expired":
        _, _, channel, event = text(listener.get())
        told.append((channel.removeprefix("__keyspace@0__:"), event))
    return told
