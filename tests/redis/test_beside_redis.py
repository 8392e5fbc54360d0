"""The same requests to a real redis-server and to a handle: the same replies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from tests.redis.beside import REDIS_SERVER, Ours, Redis, Requests, comparable, redis_server

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed"),
]

REQUESTS = 1500
TIMES = (b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME")
MILLISECONDS_APART = 5000


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    db = plyvel.DB(str(tmp_path / "store"), create_if_missing=True)
    with replicate(db, port=None, name="alone", join_timeout=0) as replica:
        yield replica


def are_alike(request: tuple[bytes, ...], theirs: Any, ours: Any) -> bool:
    """Whether two replies are the same, but for the time between them."""
    if request[0] in TIMES and isinstance(theirs, int) and isinstance(ours, int):
        apart = MILLISECONDS_APART // (1 if request[0].startswith(b"P") else 1000)
        return (theirs < 0) == (ours < 0) and abs(theirs - ours) <= apart
    return bool(comparable(theirs) == comparable(ours))


@pytest.mark.parametrize("seed", range(8))
def test_random_requests(redis: Redis, replica: Replica, seed: int) -> None:
    redis.ask(b"FLUSHALL")
    requests, ours = Requests(seed), Ours(replica)
    for number in range(REQUESTS):
        request = requests.next()
        if request[0] == b"DBSIZE":
            redis.ask(b"KEYS", b"*")  # it drops what has expired, which it counts otherwise
        theirs, own = redis.ask(*request), ours.ask(*request)
        assert are_alike(request, theirs, own), f"{number}: {request}: {theirs!r} {own!r}"
    assert sorted(redis.ask(b"KEYS", b"*")) == ours.ask(b"KEYS", b"*")
