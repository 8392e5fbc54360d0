"""Sync points are made one at a time, each for all who asked before it began."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from replicator.core.known import KnownSet
from replicator.errors import StoreFailedError
from replicator.peers.syncpoints import SyncPoints
from replicator.store.store import Store
from tests.node.peers import gathered, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    db, store = open_store(tmp_path / "store")
    store.put(b"k", b"v")
    yield store
    store.close()
    db.close()


class Counted:
    """Sync points of a store that are held up until they may go on."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        self.may_end = threading.Event()
        self._make = store.sync_point
        store.sync_point = self.make  # type: ignore[method-assign]

    def make(self) -> None:
        self.count += 1
        self.may_end.wait(30)
        self._make()


async def test_one_under_way_and_the_next_for_all_that_come_meanwhile(store: Store) -> None:
    counted = Counted(store)
    points = SyncPoints(store, trio.CapacityLimiter(4))
    done: list[int] = []

    async def ask(number: int) -> None:
        await points.make()
        done.append(number)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 0)
            await trio.testing.wait_all_tasks_blocked(0.01)
            for number in range(1, 20):
                nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert counted.count == 1
            counted.may_end.set()
    assert counted.count == 2
    assert done[0] == 0 and sorted(done) == list(range(20))


async def test_what_is_durable_needs_none(store: Store) -> None:
    counted = Counted(store)
    counted.may_end.set()
    points = SyncPoints(store, trio.CapacityLimiter(4))
    dots = store.known()
    assert await points.cover(dots) == dots
    assert await points.cover(dots) == dots
    assert counted.count == 1
    assert await points.cover(KnownSet.of((7, 1))) == KnownSet(), "what was forked away"


async def test_one_that_fails_fails_for_who_made_it(store: Store) -> None:
    failures = [StoreFailedError("the disk is full"), StoreFailedError("still")]
    make = store.sync_point

    def fail_twice() -> None:
        if failures:
            raise failures.pop(0)
        make()

    store.sync_point = fail_twice  # type: ignore[method-assign]
    points = SyncPoints(store, trio.CapacityLimiter(4))
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            await points.make()
            outcomes.append("made")
        except StoreFailedError as error:
            outcomes.append(str(error))

    with trio.fail_after(30):
        await gathered(*[ask] * 5)
    assert sorted(outcomes) == ["made", "made", "made", "still", "the disk is full"]
