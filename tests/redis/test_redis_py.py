"""redis-py, in threads and in asyncio, on a daemon: what applications do with it."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.exceptions import (
    ExecAbortError,
    ResponseError,
    WatchError,
)

from tests.cli.daemons import serving
from tests.redis.talking import socket_of

pytestmark = pytest.mark.processes

SECONDS = 20.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(tmp_path_factory.mktemp("redis-py") / "store") as daemon:
        yield socket_of(daemon)


@pytest.fixture(params=[2, 3])
def client(place: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=str(place), protocol=request.param) as client:
        client.flushall()
        yield client


def test_what_it_knows_of_the_server(client: Any) -> None:
    assert client.ping() is True
    info = client.info()
    assert info["redis_mode"] == "standalone"
    assert info["role"] == "master"
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    (me,) = [one for one in client.client_list() if int(one["id"]) == client.client_id()]
    assert me["lib-name"].startswith("redis-py")
    assert client.client_setname("tests") is True
    assert client.client_getname() in ("tests", b"tests")
    assert client.client_info()["name"] == "tests"
    assert client.command_count() > 50
    assert client.execute_command("COMMAND", "INFO", "get")
    assert client.time()[0] > 1_700_000_000
    assert client.role()[0] in ("master", b"master")
    assert client.wait(0, 10) == 0


def test_pipelines_are_transactions(client: Any) -> None:
    with client.pipeline() as pipe:
        pipe.set("a", 1).incr("a").get("a").delete("nothing")
        assert pipe.execute() == [True, 2, b"2", 0]
    with client.pipeline() as pipe:
        pipe.set("a", "word").incr("a")
        with pytest.raises(ResponseError, match="not an integer"):
            pipe.execute()
        assert client.get("a") == b"word"
    with client.pipeline() as pipe:
        pipe.execute_command("NOSUCH")
        with pytest.raises((ExecAbortError, ResponseError)):
            pipe.execute()
    with client.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.set(f"k{number}", number)
        assert pipe.execute() == [True] * 2000


def test_a_watch_loop_of_many_threads(place: Path, client: Any) -> None:
    def add(count: int) -> None:
        with redis.Redis(unix_socket_path=str(place)) as mine:
            for _ in range(count):
                mine.transaction(
                    lambda pipe: (
                        (value := int(pipe.get("n") or 0), pipe.multi())
                        and pipe.set("n", value + 1)
                    ),
                    "n",
                )

    threads = [threading.Thread(target=add, args=(25,)) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert client.get("n") == b"100"


def test_a_watched_key_that_changes(place: Path, client: Any) -> None:
    with client.pipeline() as pipe, redis.Redis(unix_socket_path=str(place)) as other:
        pipe.watch("k")
        other.set("k", 1)
        pipe.multi()
        pipe.set("k", 2)
        with pytest.raises(WatchError):
            pipe.execute()


def test_subscribing(client: Any) -> None:
    with client.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("sp*")
        assert message(listener)["type"] == "subscribe"
        assert message(listener)["type"] == "psubscribe"
        assert client.publish("news", "hello") == 1
        assert client.publish("sport", "goal") == 1
        assert message(listener)["data"] == b"hello"
        got = message(listener)
        assert (got["type"], got["pattern"], got["data"]) == ("pmessage", b"sp*", b"goal")
        assert client.pubsub_numsub("news") == [(b"news", 1)]
        listener.ping()
        assert message(listener)["type"] == "pong"
        listener.unsubscribe()
        assert message(listener)["type"] == "unsubscribe"


def message(listener: Any) -> Any:
    got = listener.get_message(timeout=SECONDS)
    assert got is not None
    return got


def test_a_subscriber_in_a_thread(client: Any) -> None:
    came = threading.Event()
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(jobs=lambda _: came.set())
    worker = listener.run_in_thread(sleep_time=0.01)
    try:
        client.publish("jobs", "1")
        assert came.wait(SECONDS)
    finally:
        worker.stop()
        worker.join()
        listener.close()


def test_a_result_store_as_celerys(client: Any) -> None:
    """It subscribes for the result, reads what may be there already, and waits; the worker writes
    and publishes within one transaction."""
    key = "celery-task-meta-1"
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(key)
        assert client.mget([key]) == [None]
        with client.pipeline() as pipe:
            pipe.execute_command("SETEX", key, 86_400, b'{"status": "SUCCESS"}')
            pipe.publish(key, b'{"status": "SUCCESS"}')
            pipe.execute()
        listener.get_message(timeout=SECONDS)
        assert (message(listener))["data"] == b'{"status": "SUCCESS"}'
        assert client.get(key) == b'{"status": "SUCCESS"}'
        assert 86_000 < client.ttl(key) <= 86_400


def test_its_lock_can_be_taken_and_not_released(client: Any) -> None:
    """That is a Lua script, which there is not."""
    lock = client.lock("lock", timeout=10)
    assert lock.acquire(blocking=False)
    assert not client.lock("lock", timeout=10).acquire(blocking=False)
    with pytest.raises(ResponseError, match="unknown command 'EVALSHA'"):
        lock.release()


def test_asyncio(place: Path) -> None:
    async def use() -> None:
        async with redis.asyncio.Redis(unix_socket_path=str(place)) as client:
            await client.flushall()
            async with client.pipeline() as pipe:
                assert await pipe.set("a", 1).incr("a").execute() == [True, 2]
            async with client.pubsub() as listener:
                await listener.subscribe("news")
                await client.publish("news", "hello")
                types = [(await listener.get_message(timeout=SECONDS))["type"] for _ in range(2)]
                assert types == ["subscribe", "message"]

            async def add() -> None:
                for _ in range(10):
                    await client.transaction(step, "n")

            async def step(pipe: Any) -> None:
                value = int(await pipe.get("n") or 0)
                pipe.multi()
                pipe.set("n", value + 1)

            await asyncio.gather(*(add() for _ in range(5)))
            assert await client.get("n") == b"50"

    asyncio.run(use())
