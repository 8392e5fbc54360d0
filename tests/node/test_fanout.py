"""Of many peers that nobody named, a node dials a few at a time; a write makes it dial sooner."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio
import trio.testing

from replicator.net.address import Address, parse_address
from replicator.net.listen import listening_on, open_listeners

from .peers import SETTINGS, Peer, running, until

FOUND = "found by a test"


@asynccontextmanager
async def silent_peers(count: int) -> AsyncIterator[tuple[list[Address], list[trio.SocketStream]]]:
    """Listeners that take connections and say nothing; the list of those grows."""
    accepted: list[trio.SocketStream] = []

    async def take(stream: trio.SocketStream) -> None:
        accepted.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        addresses = []
        for _ in range(count):
            listeners = await open_listeners("127.0.0.1", 0)
            addresses.append(listening_on(listeners[0]))
            nursery.start_soon(trio.serve_listeners, take, listeners)
        yield addresses, accepted
        nursery.cancel_scope.cancel()


def find(peer: Peer, *addresses: Address) -> None:
    """Let a node find these peers, and no others, by itself."""
    peer.node._dialling.replace(FOUND, addresses)


async def test_attempts_under_way_count_for_the_fanout(tmp_path: Path) -> None:
    settings = replace(SETTINGS, fanout=3)
    async with (
        silent_peers(20) as (addresses, accepted),
        running(tmp_path / "a", settings=settings) as a,
    ):
        find(a, *addresses)
        await until(lambda: len(accepted) >= 3)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(accepted) == 3


async def test_an_attempt_that_comes_to_nothing_makes_room(tmp_path: Path) -> None:
    settings = replace(SETTINGS, fanout=3, connect_timeout=0.05)
    async with (
        silent_peers(12) as (addresses, accepted),
        running(tmp_path / "a", settings=settings) as a,
    ):
        find(a, *addresses)
        await until(lambda: len(accepted) >= 12)


async def test_a_write_makes_room_sooner(tmp_path: Path) -> None:
    settings = replace(SETTINGS, fanout=1, interval_max=1000.0, linger=0.05, reask_timeout=0.1)
    async with (
        running(tmp_path / "a", settings=settings) as a,
        running(tmp_path / "b") as b,
        running(tmp_path / "c") as c,
    ):
        find(a, parse_address(b.address))
        await until(lambda: "connect" in a.names_told())
        await until(lambda: not a.node._contacts.open_count())
        find(a, parse_address(c.address))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert a.names_told().count("connect") == 1
        for number in range(50):
            await a.put(b"%d" % number, b"value")
        await a.put(b"key", b"value")
        await until(lambda: c.db.get(b"key") == b"value")


async def test_who_is_awaited_needs_no_room(tmp_path: Path) -> None:
    """A person asks for somebody who waits for room, while silent peers take all there is."""
    settings = replace(SETTINGS, fanout=2, connect_timeout=60.0)
    async with (
        silent_peers(2) as (addresses, accepted),
        running(tmp_path / "a", settings=settings) as a,
        running(tmp_path / "b") as b,
    ):
        find(a, *addresses)
        await until(lambda: len(accepted) == 2)
        there = parse_address(b.address)
        find(a, *addresses, there)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await a.put(b"key", b"value")
        with trio.fail_after(20):
            await trio.to_thread.run_sync(a.node.join, b.address, 15.0)
        assert b.store.known() == a.store.known()
