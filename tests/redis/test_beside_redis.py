"""The same requests to a real redis-server and to a handle: the same replies."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from replicator.faces.handle import Replica
from tests.redis.beside import KEYS, REDIS_SERVER, Ours, Redis, Requests, comparable, redis_server

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed"),
]

REQUESTS = 1000
TIMES = (b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME")
MILLISECONDS_APART = 5000


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


def are_alike(request: tuple[bytes, ...], theirs: Any, ours: Any) -> bool:
    """Whether two replies are the same, but for the time between them."""
    if request[0] in TIMES and isinstance(theirs, int) and isinstance(ours, int):
        apart = MILLISECONDS_APART // (1 if request[0].startswith(b"P") else 1000)
        return (theirs < 0) == (ours < 0) and abs(theirs - ours) <= apart
    return bool(comparable(theirs) == comparable(ours))


@pytest.mark.parametrize("seed", range(6))
def test_random_requests(redis: Redis, replica: Replica, seed: int) -> None:
    redis.ask(b"FLUSHALL")
    requests, ours = Requests(seed), Ours(replica)
    for number in range(REQUESTS):
        request = requests.next()
        if request[0] == b"DBSIZE":
            redis.ask(b"EXISTS", *KEYS)  # it drops what has expired, which it counts otherwise
        theirs, own = redis.ask(*request), ours.ask(*request)
        assert are_alike(request, theirs, own), f"{number}: {request}: {theirs!r} {own!r}"
    assert sorted(redis.ask(b"KEYS", b"*")) == ours.ask(b"KEYS", b"*")


def test_patterns(redis: Redis, replica: Replica) -> None:
    redis.ask(b"FLUSHALL")
    chance = random.Random(3)
    ours = Ours(replica)
    keys = [bytes(chance.choices(b"ab[]-^*?\\", k=chance.randint(0, 5))) for _ in range(300)]
    pairs = [word for key in keys for word in (key, b"v")]
    assert redis.ask(b"MSET", *pairs) == ours.ask(b"MSET", *pairs)
    for _ in range(500):
        pattern = bytes(chance.choices(b"ab*?[]-^\\", k=chance.randint(0, 7)))
        assert sorted(redis.ask(b"KEYS", pattern)) == ours.ask(b"KEYS", pattern), pattern


@pytest.mark.parametrize(
    "request_",
    [
        (b"SCAN", b"x"),
        (b"SCAN", b" 1"),
        (b"SCAN", b"99999999999999999999"),
        (b"SCAN", b"0", b"COUNT", b"0"),
        (b"SCAN", b"0", b"COUNT", b"x"),
        (b"SCAN", b"0", b"MATCH"),
        (b"SCAN", b"0", b"WHAT", b"x"),
        (b"SCAN", b"0", b"TYPE", b"hash"),
        (b"SCAN", b"0", b"TYPE", b"String", b"count", b"1000", b"match", b"k*"),
        (b"SCAN",),
        (b"KEYS",),
        (b"RANDOMKEY",),
        (b"RANDOMKEY", b"x"),
        (b"DBSIZE", b"x"),
        (b"FLUSHALL", b"WHAT"),
        (b"FLUSHALL", b"SYNC", b"SYNC"),
        (b"FLUSHDB", b"async"),
        (b"COPY", b"k", b"k"),
        (b"COPY", b"k", b"l", b"DB", b"x"),
        (b"COPY", b"k", b"l", b"DB", b"16"),
        (b"COPY", b"k", b"l", b"DB", b"99999999999"),
        (b"COPY", b"k", b"l", b"DB", b"0"),
        (b"INCRBYFLOAT", b"k", b"0x10"),
        (b"INCRBYFLOAT", b"f", b"inf"),
        (b"INCRBYFLOAT", b"f", b"-infinity"),
        (b"INCRBYFLOAT", b"f", b"nan"),
        (b"INCRBYFLOAT", b"f", b"1e5000"),
        (b"INCRBYFLOAT", b"f", b"1_0"),
        (b"SETRANGE", b"k", b"4294967295", b"x"),
        (b"SETRANGE", b"none", b"5", b""),
        (b"RENAME", b"none", b"none"),
        (b"RENAMENX", b"k", b"k"),
    ],
)
def test_single_requests(redis: Redis, replica: Replica, request_: tuple[bytes, ...]) -> None:
    redis.ask(b"FLUSHALL")
    ours = Ours(replica)
    if request_[0] != b"RANDOMKEY":
        assert redis.ask(b"SET", b"k", b"v") == ours.ask(b"SET", b"k", b"v")
    theirs = redis.ask(*request_)
    assert comparable(theirs) == comparable(ours.ask(*request_))


def test_floating_point_numbers(redis: Redis, replica: Replica) -> None:
    chance = random.Random(11)
    ours = Ours(replica)
    for _ in range(500):
        for asked in (redis, ours):
            asked.ask(b"DEL", b"f")
        for _ in range(3):
            digits = chance.randint(-(10 ** chance.randint(1, 25)), 10 ** chance.randint(1, 25))
            number = b"%de%d" % (digits, chance.randint(-30, 12))
            request = (b"INCRBYFLOAT", b"f", number)
            assert redis.ask(*request) == ours.ask(*request), request
