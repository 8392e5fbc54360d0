"""Sweeping while a node runs: when it looks, also after the wall clock was set; nodes agree."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from replicator.errors import CommitError
from replicator.peers.sweeping import Sweeping
from replicator.store.state import State
from replicator.store.store import Store

from .peers import converged, running, until

START_MS = 4_000_000_000_000
"""Ahead of every clock that nodes tell their peers: else what expires here would be collected."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the wall clock that expiries are compared with, in ms from `START_MS`."""
    now = [START_MS]
    monkeypatch.setattr(State, "wall_ms", lambda state: now[0])
    return lambda ms: now.__setitem__(0, START_MS + ms)


def shown(store: Store) -> dict[bytes, bytes]:
    return dict(store.db.iterator(stop=b"\xff\xff\xff\xff"))


async def test_the_clock_is_put_forward_and_back(
    tmp_path: Path, clock: Callable[[int], None]
) -> None:
    """No timer follows that."""
    async with running(tmp_path / "a") as a:
        a.store.put_with(b"k", b"v", expiry_ms=START_MS + 3_600_000)
        clock(3_600_000)
        await until(lambda: shown(a.store) == {})
        clock(0)
        await until(lambda: shown(a.store) == {b"k": b"v"})
        clock(3_600_000)
        await until(lambda: shown(a.store) == {})


async def test_a_commit_right_behind_another_one(
    tmp_path: Path, clock: Callable[[int], None]
) -> None:
    """The node is told of the first of them only, and must see what the second one brought."""
    async with running(tmp_path / "a") as a:
        for number in range(20):
            moment = START_MS + 1 + number
            a.store.put(b"plain", b"v")
            a.store.put_with(b"k", b"v", expiry_ms=moment)
            clock(1 + number)
            await until(lambda: b"k" not in shown(a.store))
            a.store.due.restart()  # as if nothing had ever expired here


async def test_what_arrives_expires_at_both(tmp_path: Path, clock: Callable[[int], None]) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address) as b:
        a.store.put_with(b"k", b"v", expiry_ms=START_MS + 1000)
        a.store.put_with(b"gone", b"v", expiry_ms=START_MS - 1)
        await converged(a, b)
        assert shown(a.store) == shown(b.store) == {b"k": b"v"}
        known = a.store.known()
        clock(1000)
        await until(lambda: shown(a.store) == shown(b.store) == {})
        assert a.store.known() == b.store.known() == known
        b.store.put_with(b"k", b"w", expiry_ms=None)
        await until(lambda: shown(a.store) == {b"k": b"w"})


async def test_a_commit_that_fails_is_told_and_tried_again(
    tmp_path: Path, clock: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "a") as a:
        a.store.put_with(b"k", b"v", expiry_ms=START_MS + 1)
        with monkeypatch.context() as patch:

            def full(batch: object) -> None:
                raise CommitError("no space left")

            patch.setattr(a.store.level, "commit", full)
            clock(1)
            await until(lambda: "no space left" in a.errors())
        await until(lambda: shown(a.store) == {})


async def test_nothing_is_done_where_nothing_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    pause = Sweeping._pause

    def counted(sweeping: Sweeping) -> float:
        pauses.append(1)
        return pause(sweeping)

    monkeypatch.setattr(Sweeping, "_pause", counted)
    async with running(tmp_path / "a") as a:
        for number in range(20):
            await a.put(b"%d" % number, b"value")
            await trio.sleep(0.01)
        assert pauses == []
        a.store.put_with(b"k", b"v", expiry_ms=a.store.wall_ms() + 3_600_000)
        await until(lambda: len(pauses) > 1)
