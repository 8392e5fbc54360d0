"""The same conversations with a real redis-server and with a daemon: the same words."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.daemons import serving
from tests.redis.talking import REDIS_SERVER, Connection, real_redis, socket_of, text

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed"),
]

CONVERSATIONS = {
    "connection": """
        PING|PING hello|PING a b|ECHO hello|ECHO|SELECT 0|SELECT 99999|SELECT x|CLIENT GETNAME
        CLIENT SETNAME me|CLIENT GETNAME|CLIENT SETNAME|CLIENT NOSUCH|CLIENT|CLIENT NO-EVICT on
        CLIENT NO-EVICT maybe|CLIENT KILL 1.2.3.4:5|CLIENT KILL ID x|CLIENT KILL ID 99999
        CLIENT KILL NOSUCH x|CLIENT LIST TYPE nosuch|CLIENT REPLY maybe|CLIENT REPLY ON|HELLO 4
        HELLO x|HELLO 2 NOSUCH|AUTH x|AUTH default x|AUTH nobody x|AUTH a b c|RESET|CLIENT GETNAME
        nosuch a b c|NOSUCH|client id x""",
    "transaction": """
        MULTI|SET a 1|INCR a|GET a|EXEC|EXEC|DISCARD|MULTI|MULTI|WATCH a|PING|EXEC|MULTI|SET a 5
        DISCARD|GET a|MULTI|GET|EXEC|GET a|MULTI|NOSUCH|PING|EXEC|MULTI|EXEC|MULTI|SET a x|INCR a
        SET b 1|EXEC|GET b|MULTI a|EXEC a|UNWATCH|WATCH|WATCH a b c|MULTI|UNWATCH|EXEC
        MULTI|SELECT 0|ECHO x|PUBLISH ch x|CONFIG GET save|TIME x|EXEC|DEL a b""",
    "watch": """
        SET a 1|WATCH a|SET a 2|MULTI|GET a|EXEC|GET a|WATCH a|MULTI|GET a|EXEC|WATCH a b|GET a
        UNWATCH|SET a 3|MULTI|GET a|EXEC|WATCH b|DEL b|MULTI|PING|EXEC|WATCH b|SET b 1|DEL b|MULTI
        PING|EXEC|WATCH a|SET a 9|DISCARD|MULTI|DISCARD|MULTI|GET a|EXEC|WATCH a|INCR a|RESET
        MULTI|GET a|EXEC|DEL a|WATCH a|SET a 1 PX 1|sleep|MULTI|EXEC|DEL a""",
    "pubsub": """
        PUBSUB CHANNELS|PUBSUB NUMPAT|PUBSUB NUMSUB a b|PUBSUB NOSUCH|PUBSUB NUMPAT x|PUBSUB
        PUBLISH a b|PUBLISH a|UNSUBSCRIBE|PUNSUBSCRIBE|UNSUBSCRIBE a|SUBSCRIBE a|PING|PING hello
        GET a|SET a b|PSUBSCRIBE a*|SUBSCRIBE a|UNSUBSCRIBE a|PUNSUBSCRIBE a*|GET a|PING
        PSUBSCRIBE b*|SUBSCRIBE c|MULTI|RESET|GET a|PING""",
    "configuration": """
        CONFIG GET nosuch|CONFIG GET save|CONFIG GET maxmemory|CONFIG SET nosuch 1|CONFIG GET
        CONFIG NOSUCH|CONFIG SET maxclients|CONFIG SET databases 3|CONFIG SET timeout x
        CONFIG SET timeout 1 timeout 2|CONFIG GET timeout|CONFIG SET timeout 77|CONFIG GET timeout
        CONFIG SET timeout 0|CONFIG GET notify-keyspace-events
        CONFIG SET notify-keyspace-events KEA|CONFIG GET notify-keyspace-events
        CONFIG SET notify-keyspace-events Kg$x|CONFIG GET notify-keyspace-events
        CONFIG SET notify-keyspace-events q|CONFIG GET notify*|CONFIG RESETSTAT
        CONFIG SET notify-keyspace-events K|CONFIG SET timeout 5 loglevel nosuch|CONFIG GET timeout
        CONFIG SET loglevel notice""",
    "server": """
        TIME x|WAIT x 0|WAIT 0 x|WAIT 0 -1|WAIT 0|WAIT 0 1|SHUTDOWN NOSUCH|SHUTDOWN ABORT
        SHUTDOWN SAVE NOSAVE|COMMAND COUNT x|COMMAND NOSUCH|COMMAND INFO nosuch
        COMMAND LIST NOSUCH|COMMAND DOCS nosuch|COMMAND LIST FILTERBY MODULE nosuch
        COMMAND LIST FILTERBY PATTERN geT""",
}
"""Requests, with `|` or the end of a line behind each."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    directory = tmp_path_factory.mktemp("alike")
    with real_redis(directory) as theirs, serving(directory / "ours") as daemon:
        yield theirs, socket_of(daemon)


def requests_of(conversation: str) -> list[str]:
    parts = (part.strip() for line in conversation.split("\n") for part in line.split("|"))
    return [part for part in parts if part]


def converse(place: Path, requests: list[str], protocol: int) -> list[Any]:
    with Connection(place, protocol) as connection:
        return [[request, said(connection, request)] for request in requests]


def said(connection: Connection, request: str) -> Any:
    """The reply to a request; errors without the letters that mean something only there."""
    if request == "sleep":
        return time.sleep(0.02)
    reply = text(connection.say(request))
    return reply.replace("eKEtmdn", "eKEtd") if isinstance(reply, str) else reply


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_same_words(places: tuple[Path, Path], name: str, protocol: int) -> None:
    requests = requests_of(CONVERSATIONS[name])
    theirs, ours = (converse(place, requests, protocol) for place in places)
    assert ours == theirs
