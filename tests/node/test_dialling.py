"""When a node dials: itself hardly ever, another address of a peer at once, and everybody in
turn."""

from dataclasses import replace
from pathlib import Path

import trio
import trio.testing

from replicator.net.address import Address, parse_address
from replicator.peers.contacts import Contact

from .peers import SETTINGS, Peer, converged, running, until

FOUND = "found by a test"


def find(peer: Peer, *addresses: Address) -> None:
    """Let a node find these peers, and no others, by itself."""
    peer.node._dialling.replace(FOUND, addresses)


async def test_a_node_that_writes_does_not_dial_itself_more_often(tmp_path: Path) -> None:
    settings = replace(SETTINGS, interval_max=1000.0, interval_min=0.01)
    async with running(tmp_path / "a", settings=settings) as a:
        assert a.node.address is not None
        find(a, a.node.address)
        link = a.node._contacts.links[a.node.address]
        await until(lambda: link.attempts >= 8)
        before = link.attempts
        for number in range(300):
            await a.put(b"%d" % number, b"value")
            await trio.sleep(0.001)
        assert link.attempts <= before + 2
        assert link.is_self
        assert a.errors() == []


async def test_where_one_address_of_a_peer_is_dead_another_one_is_dialled_at_once(
    tmp_path: Path,
) -> None:
    settings = replace(SETTINGS, interval_max=1000.0)
    async with running(tmp_path / "b") as b, running(tmp_path / "a", settings=settings) as a:
        alive, dead = parse_address(b.address), Address("127.0.0.1", 1)
        assert dead < alive, "it is the better one while neither has failed"
        find(a, alive)
        await until(lambda: "connect" in a.names_told())
        find(a, alive, dead)
        a.node._dialling.expect(dead, b.store.origin)
        a.node._contacts.links[dead].settled.set()
        await until(lambda: not a.node._contacts.open_count())
        told = a.names_told().count("connect")
        for number in range(50):
            await a.put(b"%d" % number, b"value")
        await until(lambda: a.names_told().count("connect") > told)
        await converged(a, b)


async def test_who_is_to_be_dialled_now_is_dialled_when_the_conversation_that_ends_is_over(
    tmp_path: Path,
) -> None:
    settings = replace(SETTINGS, interval_max=1000.0, linger=1000.0)
    async with (
        running(tmp_path / "a", settings=settings) as a,
        running(tmp_path / "b", a.address, settings=settings) as b,
    ):
        await until(lambda: "connection" in a.names_told())
        there = parse_address(b.address)
        find(a, there)
        a.node._dialling.expect(there, b.store.origin)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.node._dialling.dial_now, a.node._contacts.links[there])
            await trio.testing.wait_all_tasks_blocked(0.05)
            (session,) = a.node._hosting
            session.stop("idle", "enough for now")
            await until(lambda: "connect" in a.names_told())


async def test_peers_that_stay_connected_leave_room_for_one_that_has_to_be_dialled(
    tmp_path: Path,
) -> None:
    settings = replace(SETTINGS, fanout=1, interval_max=0.5, linger=1000.0)
    async with (
        running(tmp_path / "a", settings=settings) as a,
        running(tmp_path / "b", a.address, settings=settings) as b,
        running(tmp_path / "c") as c,
    ):
        await until(lambda: "connection" in a.names_told())
        find(a, parse_address(c.address))
        await b.put(b"key", b"value")
        await until(lambda: c.db.get(b"key") == b"value")


async def test_room_that_one_link_has_no_use_for_is_taken_by_the_next(tmp_path: Path) -> None:
    settings = replace(SETTINGS, fanout=1, interval_max=0.5, linger=1000.0)
    async with (
        running(tmp_path / "a", settings=settings) as a,
        running(tmp_path / "b", a.address, settings=replace(settings, interval_max=1000.0)),
        running(tmp_path / "c") as c,
        running(tmp_path / "d") as d,
    ):
        await until(lambda: "connection" in a.names_told())
        blocked, there = parse_address(c.address), parse_address(d.address)
        for address in (blocked, there):  # in this order they wait
            a.node._dialling.add(address, FOUND)
        await trio.testing.wait_all_tasks_blocked(0.05)
        a.node._dialling.expect(blocked, c.store.origin)
        a.node._contacts.by_origin[c.store.origin] = Contact(c.store.origin, "c", blocked="look")
        await until(lambda: "connect" in a.names_told())
        assert any(row.name == "d" for row in a.node.status().peers)
