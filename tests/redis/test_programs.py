"""A daemon process, and what people have: redis-py, redis-cli, Django's and dogpile's caches,
ioredis."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

from replicator.faces.unixsocket import DIRECTORY_NAME, SOCKET_NAME
from tests.cli.daemons import WAIT_SECONDS, serving

pytestmark = pytest.mark.processes

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a daemon."""
    data = tmp_path_factory.mktemp("daemon") / "store"
    with serving(data):
        yield str(data / DIRECTORY_NAME / SOCKET_NAME)


@pytest.fixture(params=[2, 3])
def db(path: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=path, protocol=request.param) as db:
        db.flushall()
        yield db


def test_redis_py(db: Any) -> None:
    assert db.set("k", "v", ex=100, nx=True)
    assert db.set("k", "w", nx=True) is None
    assert db.set("k", "w", get=True, keepttl=True) == b"v"
    assert 90 < db.ttl("k") <= 100
    assert db.expiretime("k") > 1_700_000_000
    assert db.expire("k", 50, gt=True) is False
    assert db.getex("k", persist=True) == b"w"
    assert db.ttl("k") == -1
    assert db.incrby("n", 5) == 5
    assert db.incrbyfloat("f", 0.1) == 0.1
    assert db.append("k", "xyz") == 4
    assert db.getrange("k", 1, -2) == b"xy"
    assert db.setrange("k", 5, "!") == 6
    assert db.mset({"a": 1, "b": 2})
    assert db.msetnx({"a": 3, "c": 3}) is False
    assert db.mget("a", "b", "none") == [b"1", b"2", None]
    assert db.copy("a", "c")
    assert db.rename("c", "d")
    with pytest.raises(redis.ResponseError, match="no such key"):
        db.rename("c", "d")
    assert db.type("d") == b"string"
    assert db.type("c") == b"none"
    assert db.exists("a", "b", "c", "d") == 3
    assert sorted(db.keys("?")) == [b"a", b"b", b"d", b"f", b"k", b"n"]
    assert db.dbsize() == 6
    assert db.exists(db.randomkey())
    assert db.delete("a", "b", "none") == 2
    assert db.getdel("d") == b"1"
    assert db.touch("d", "k") == db.unlink("d", "k") == 1
    with pytest.raises(redis.ResponseError, match="not an integer"):
        db.incr("f")
    with pytest.raises(redis.ResponseError, match="unknown command 'HSET'"):
        db.hset("h", "field", "value")


def test_redis_py_goes_through_all_keys_while_it_writes(db: Any) -> None:
    db.mset({f"key:{number:05}": number for number in range(3000)})
    seen = []
    for key in db.scan_iter(match="key:*", count=100):
        seen.append(key)
        if len(seen) % 100 == 0:
            db.set(b"%b:after" % key, "v")
            db.delete(b"key:00000")
    assert set(seen) >= {b"key:%05d" % number for number in range(1, 3000)}
    assert len(set(seen)) == len(seen)


def test_a_pipeline_of_thousands(db: Any) -> None:
    with db.pipeline(transaction=False) as pipeline:
        for number in range(5000):
            pipeline.set(f"key:{number}", number)
            pipeline.incr("n")
            pipeline.get(f"key:{number}")
        replies = pipeline.execute()
    assert replies[1::3] == list(range(1, 5001))
    assert replies[2::3] == [b"%d" % number for number in range(5000)]
    assert db.mget([f"key:{number}" for number in range(5000)]) == replies[2::3]
    assert db.delete(*db.keys("key:*")) == 5000
    assert db.keys() == [b"n"]


def test_redis_py_asyncio(path: str) -> None:
    async def count() -> tuple[int, list[bytes], bytes]:
        async with redis.asyncio.Redis(unix_socket_path=path, max_connections=300) as db:
            await db.flushdb()
            await asyncio.gather(*(db.incr("n") for _ in range(200)))
            await db.mset({f"key:{number}": number for number in range(50)})
            keys = [key async for key in db.scan_iter(match="key:*", count=7)]
            value = await db.set("k", "v", px=50_000, get=True)
            assert value is None
            return int(await db.get("n")), keys, await db.getex("k")

    counted, keys, value = asyncio.run(count())
    assert (counted, len(keys), len(set(keys)), value) == (200, 50, 50, b"v")


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_redis_cli(path: str) -> None:
    def cli(*words: str) -> str:
        ran = subprocess.run(
            ["redis-cli", "-s", path, *words], capture_output=True, text=True, timeout=WAIT_SECONDS
        )
        return ran.stdout

    assert cli("FLUSHALL") == "OK\n"
    assert cli("SET", "greeting", "hello", "EX", "100") == "OK\n"
    assert cli("GET", "greeting") == "hello\n"
    assert cli("-3", "MGET", "greeting", "none") == "hello\n\n"
    assert cli("MSET", *[word for number in range(200) for word in (f"k{number}", "v")]) == "OK\n"
    assert len(cli("--scan", "--pattern", "k*").split()) == 200
    assert cli("SCAN", "0", "COUNT", "0") == "ERR syntax error\n\n"
    assert cli("LPUSH", "list", "v").startswith("ERR unknown command 'LPUSH'")


def test_djangos_cache(path: str) -> None:
    from django.conf import settings
    from django.core.cache.backends.redis import RedisCache

    if not settings.configured:
        settings.configure(USE_TZ=True)
    cache = RedisCache(f"unix://{path}", {"TIMEOUT": 300, "KEY_PREFIX": "django"})
    cache.clear()
    cache.set("k", {"any": ["thing"]})
    assert cache.get("k") == {"any": ["thing"]}
    assert cache.get("none", 7) == 7
    assert cache.add("k", 1) is False
    assert cache.add("new", 1, timeout=30) is True
    assert cache.incr("new", 5) == 6
    assert cache.decr("new") == 5
    with pytest.raises(ValueError, match="not found"):
        cache.incr("none")
    assert cache.set_many({"a": 1, "b": "two"}, timeout=60) == []
    assert cache.get_many(["a", "b", "none"]) == {"a": 1, "b": "two"}
    assert cache.get_or_set("lazy", lambda: "made") == "made"
    assert cache.touch("a", timeout=None)
    assert cache.has_key("a")
    assert "none" not in cache
    cache.set("gone", 1, timeout=0)
    assert "gone" not in cache
    cache.delete_many(["a", "b"])
    assert cache.delete("new") is True
    assert cache.delete("new") is False
    cache.clear()
    assert cache.get("k") is None
    cache.close()


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
def test_dogpiles_cache(path: str) -> None:
    region = make_region().configure(
        "dogpile.cache.redis",
        expiration_time=100,
        arguments={
            "url": f"unix://{path}",
            "redis_expiration_time": 200,
            "distributed_lock": False,
        },
    )
    calls: list[int] = []

    @region.cache_on_arguments()
    def square(number: int) -> int:
        calls.append(number)
        return number * number

    assert [square(7), square(7), square(8)] == [49, 49, 64]
    assert calls == [7, 8]
    square.invalidate(7)
    assert square(7) == 49
    assert calls == [7, 8, 7]
    region.set_multi({"a": 1, "b": 2})
    assert region.get_multi(["a", "b", "none"]) == [1, 2, NO_VALUE]
    region.delete_multi(["a", "b"])
    assert region.get("a") is NO_VALUE


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ioredis, of the versions of package-lock.json."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    place = tmp_path_factory.mktemp("programs")
    shutil.copytree(PROGRAMS, place, dirs_exist_ok=True)
    installed = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install ioredis: {installed.stderr[-300:]}")
    return place


def test_ioredis(path: str, node_modules: Path) -> None:
    ran = subprocess.run(
        ["node", "ioredis.js", path],
        cwd=node_modules,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert 90 < told.pop("ttl") <= 100
    assert told == {
        "set": "OK",
        "get": "value",
        "missing": None,
        "buffer": b"value".hex(),
        "incr": [1, 2, 42],
        "float": "0.1",
        "mset": "OK",
        "mget": ["0", "499", None],
        "scanned": 500,
        "pipeline": [[None, "OK"], [None, 2], [None, "ab"]],
        "error": "ERR value is not an integer or out of range",
        "unknown": "ERR unknown command 'lpush'",
        "del": 2,
    }


def test_ioredis_and_node_redis_talk(path: str, node_modules: Path) -> None:
    ran = subprocess.run(
        ["node", "talking.js", path],
        cwd=node_modules,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["ioredis"] == {
        "subscribed": 1,
        "psubscribed": 2,
        "published": [1, 1, 0],
        "multi": [[None, "OK"], [None, 2], [None, 1]],
        "messages": [["news", "hello"], ["sp*", "sport", "goal"], ["news", "done"]],
        "aborted": None,
        "value": "7",
        "unsubscribed": 1,
    }
    assert told["resp2"] == told["resp3"]
    assert told["resp3"] == {
        "published": [1, 1],
        "messages": [["news", "hello"], ["sport", "goal"], ["news", "done"]],
        "multi": ["OK", 2, 1],
        "aborted": "WatchError",
        "value": "7",
        "name": "tests",
    }


@pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="redis-benchmark is missing")
def test_redis_benchmark(path: str) -> None:
    ran = subprocess.run(
        [
            "redis-benchmark",
            "-s",
            path,
            "-t",
            "ping,set,get,incr,mset",
            *["-n", "2000", "-P", "16", "-q"],
        ],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert ran.returncode == 0
    assert "WARNING" not in ran.stdout + ran.stderr  # it could not read the configuration
    assert len(re.findall(r": [0-9.]+ requests per second", ran.stdout)) == 6


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_redis_cli_subscribes_and_runs_transactions(path: str) -> None:
    def cli(*lines: str) -> str:
        ran = subprocess.run(
            ["redis-cli", "-s", path],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )
        return ran.stdout

    assert cli("MULTI", "SET cli:k 1", "INCR cli:k", "EXEC") == "OK\nQUEUED\nQUEUED\nOK\n2\n"
    assert cli("COMMAND DOCS get").startswith("get\nsummary\n")
    assert "redis_mode:standalone" in cli("INFO server").split()
    listener = subprocess.Popen(
        ["redis-cli", "-s", path, "SUBSCRIBE", "news"], stdout=subprocess.PIPE, text=True
    )
    assert listener.stdout is not None
    try:
        assert [listener.stdout.readline() for _ in range(3)] == ["subscribe\n", "news\n", "1\n"]
        assert cli("PUBLISH news hello") == "1\n"
        assert [listener.stdout.readline() for _ in range(3)] == ["message\n", "news\n", "hello\n"]
    finally:
        listener.kill()
        listener.wait()
        listener.stdout.close()
