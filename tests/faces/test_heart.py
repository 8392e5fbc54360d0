"""Signs of life: while the loop turns and the store is well, and no longer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from replicator.faces.heart import Heart
from replicator.faces.notify import Notifier
from tests.faces.servicemanager import Manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


async def test_the_heart_beats_while_the_store_is_well(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    heart = Heart(Notifier(manager.address, 3.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heart._beat)
        await trio.sleep(2.5)
        starting = manager.heard()
        assert set(starting) == {"EXTEND_TIMEOUT_USEC=30000000"}
        fault: list[str | None] = [None]
        heart.fault = lambda: fault[0]
        await trio.sleep(9)
        assert manager.heard() == ["WATCHDOG=1"] * 9
        fault[0] = "the disk is gone"
        await trio.sleep(9)
        (status,) = manager.heard()
        assert status.startswith("STATUS=the store has failed")
        fault[0] = None
        await trio.sleep(2)
        assert "WATCHDOG=1" in manager.heard()
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_it_rests_once_started(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    heart = Heart(Notifier(manager.address))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heart._beat)
        await trio.sleep(4)
        assert len(manager.heard()) == 3
        heart.fault = lambda: None
        await trio.sleep(100)
        assert manager.heard() == []
