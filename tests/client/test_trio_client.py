"""The client within trio, on real daemons."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import replicator
from replicator import ClosedError, UnreachableError
from tests.cli.daemons import Daemon, serving

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("trio") / "a") as daemon:
        yield daemon


async def test_it_is_the_handle_for_threads_with_awaits(daemon: Daemon) -> None:
    async with replicator.connect_trio(f"unix:{daemon.data}") as db:
        view = db.prefixed_db(os.urandom(8))
        await view.put(b"k", b"v", ttl=100)
        assert await view.get(b"k") == b"v"
        assert 99 < (await view.ttl(b"k") or 0) <= 100
        assert await view.persist(b"k")
        async with view.write_batch() as batch:
            for number in range(1500):
                batch.put(b"n%04d" % number, b"v")
            batch.delete(b"k")
        assert [key async for key in view.iterator(prefix=b"n1", include_value=False)] == [
            b"n%04d" % number for number in range(1000, 1500)
        ]
        assert len([item async for item in view]) == 1500
        with pytest.raises(ZeroDivisionError):
            async with view.write_batch(transaction=True) as batch:
                batch.put(b"k", b"w")
                raise ZeroDivisionError
        assert await view.get(b"k") is None
        assert await view.incr(b"sum", 5) == 5
        assert not await view.set_if_absent(b"sum", b"x")
        key = view.prefix + b"sum"
        assert await db.update(key, lambda versions: versions[0].value) == b"5"
        assert (await db.versions(key))[0].value == b"5"
        assert [item async for item in db.conflicts()] == []
        assert (await db.status()).name == "a"
        assert await db.wait_for(await db.token(), 5)
        changes = db.changes(follow=False)
        assert key in {change.key async for change in changes}
        assert [change async for change in db.changes(changes.token, timeout=0.02)] == []
    with pytest.raises(ClosedError):
        await db.get(b"k")


async def test_sums_of_many_tasks_are_exact(daemon: Daemon) -> None:
    key = os.urandom(8)
    async with replicator.connect_trio(f"unix:{daemon.data}", connections_max=4) as db:

        async def work() -> None:
            for _ in range(20):
                await db.incr(key)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(work)
        assert await db.get(key) == b"160"


async def test_it_moves_when_its_daemon_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as a, serving(tmp_path / "b", "--peer", a.address) as b:
        urls = [f"unix:{daemon.data}" for daemon in (a, b)]
        async with replicator.connect_trio(urls, catch_up=20, timeout=0.3) as db:
            await db.put(b"k", b"v", replicas=1, timeout=20)
            a.end(signal.SIGKILL)
            assert await db.get(b"k") == b"v"
            assert db.endpoint == urls[1]
            b.end()
            with pytest.raises(UnreachableError):
                await db.get(b"k")
