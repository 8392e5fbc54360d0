"""Nodes on loopback: they converge, keep one conversation, and suffer strangers."""

import logging
import shutil
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from replicator.config import FRAME_BYTES_MAX
from replicator.core.known import KnownSet
from replicator.core.resolve import default_resolver
from replicator.errors import CommitError, ConfigError, ForkedContentsError, UsageError
from replicator.events import Events
from replicator.node import Node
from replicator.peers.session import Session
from replicator.protocol.frames import frame
from replicator.protocol.messages import Bye, Hello, Ping, Want
from replicator.status import PeerStatus

from .peers import HELLO, SETTINGS, ByHand, Peer, by_hand, converged, open_store, running, until


def only_or_none(peer: Peer) -> PeerStatus | None:
    """What a node says of its one peer, if it has one."""
    return only(peer) if peer.node.status().peers else None


def only(peer: Peer) -> PeerStatus:
    """What a node says of its one peer."""
    (status,) = peer.node.status().peers
    return status


async def test_two_nodes_converge_whoever_dials(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        await a.put(b"from a", b"1")
        async with running(tmp_path / "b", a.address) as b:
            await b.put(b"from b", b"2")
            await converged(a, b)
            await a.put(b"later", b"3")
            await converged(a, b)
            assert b.db.get(b"later") == b"3"


async def test_three_nodes_in_a_line_converge(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a") as a,
        running(tmp_path / "b", a.address) as b,
        running(tmp_path / "c", b.address) as c,
    ):
        for peer in (a, b, c):
            await peer.put(b"key of %r" % peer.address, b"value")
            await peer.put(b"common key", peer.address.encode())
        await until(lambda: c.store.known().count() == 6)
        await converged(a, b, c)
        assert a.db.get(b"common key") == c.db.get(b"common key")


async def test_a_node_that_restarts_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        async with running(tmp_path / "b", a.address) as b:
            await b.put(b"first", b"1")
            await converged(a, b)
        await a.put(b"meanwhile", b"2")
        async with running(tmp_path / "b", a.address) as b:
            await b.put(b"second", b"3")
            await converged(a, b)
            assert a.store.known().count() == 3


async def test_events_tell_who_connected_and_what_came(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a", linger=30.0) as a,
        running(tmp_path / "b", linger=30.0) as b,
    ):
        await a.put(b"key", b"value")
        await b.put(b"key", b"other")
        b.node.add_peer(a.address)
        await converged(a, b)
        await until(lambda: len(a.told) == len(b.told) == 3)
        assert a.node.address is not None
        assert b.told[0] == ("connect", "127.0.0.1", a.node.address.port)
        assert a.told[0][0] == "connection"
        for peer, other in ((a, b), (b, a)):
            (done,) = [arguments[0] for name, *arguments in peer.told if name == "round"]
            assert (done.name, done.records, done.full) == (other.node.name, 1, False)
            (conflict,) = [arguments for name, *arguments in peer.told if name == "conflict"]
            assert conflict[0] == b"key"
            assert {version.value for version in conflict[1]} == {b"other", b"value"}


async def test_a_conflict_by_an_own_write_is_told(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        a.store.put(b"key", b"unseen")
        a.store.put_with(b"key", b"value", seen=())
        await until(lambda: "conflict" in a.names_told())
        (told,) = [arguments for name, *arguments in a.told if name == "conflict"]
        assert (told[0], {version.value for version in told[1]}) == (b"key", {b"unseen", b"value"})
        assert a.node.status().counters.conflicts == 1


async def test_joining_whom_one_talks_to_already(tmp_path: Path) -> None:
    """The conversation that is there stays, and counts."""
    settings = replace(SETTINGS, linger=30.0)
    async with (
        running(tmp_path / "a", settings=settings) as a,
        running(tmp_path / "b", a.address, settings=settings) as b,
    ):
        await until(lambda: a.store.gate.outcome != "waiting" and "connection" in a.names_told())
        await b.put(b"key", b"value")
        for peer, other in ((a, b), (b, a)):
            await trio.to_thread.run_sync(peer.node.join, other.address, 20.0)
        assert a.store.known() == b.store.known()


async def test_two_nodes_that_dial_each_other_keep_one_conversation(tmp_path: Path) -> None:
    settings = replace(SETTINGS, linger=30.0)
    async with (
        running(tmp_path / "a", settings=settings) as a,
        running(tmp_path / "b", settings=settings) as b,
    ):
        await a.put(b"key", b"value")
        a.node.add_peer(b.address)
        await converged(a, b)
        a.node.remove_peer(b.address)
        await until(lambda: not (only_or_none(a) or only_or_none(b)))
        for peer in (a, b):
            peer.told.clear()
        a.node.add_peer(b.address)
        b.node.add_peer(a.address)
        await until(lambda: _directions(a) + _directions(b) in (["dialled", "accepted"], _BACK))
        smaller, greater = sorted((a, b), key=lambda peer: peer.store.origin)
        if "connect" in smaller.names_told() and "connection" in smaller.names_told():
            # Both were open for a moment: what the smaller origin has dialled stays.
            assert (_directions(smaller), _directions(greater)) == (["dialled"], ["accepted"])
        assert a.errors() == b.errors() == []
        assert [only(peer).last_error for peer in (a, b)] == [None, None]


_BACK = ["accepted", "dialled"]


def _directions(peer: Peer) -> list[str | None]:
    """One entry for every row of the status."""
    return [row.direction for row in peer.node.status().peers]


async def test_a_node_recognises_itself(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        a.node.add_peer(a.address)
        await until(lambda: only(a).name == "a" or a.errors() or _is_self(a))
        assert a.errors() == []
        assert only(a).last_error is None
        assert not only(a).connected
        assert await a.node.synchronize(10)


def _is_self(peer: Peer) -> bool:
    return any(link.is_self for link in peer.node._contacts.links.values())


async def test_two_addresses_of_one_node_are_one_conversation(tmp_path: Path) -> None:
    settings = replace(SETTINGS, linger=30.0)
    async with running(tmp_path / "a", settings=settings, host="0.0.0.0", insecure=True) as a:
        assert a.node.address is not None
        port = a.node.address.port
        addresses = (f"127.0.0.1:{port}", f"127.0.0.2:{port}")
        async with running(tmp_path / "b", *addresses, settings=settings) as b:
            await b.put(b"key", b"value")
            await converged(a, b)
            await until(lambda: all(peer.connected for peer in b.node.status().peers))
            assert [peer.last_error for peer in b.node.status().peers] == [None, None]
            await until(lambda: len(b.node._hosting._open) == 1)


async def test_peers_come_and_go_at_run_time(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b") as b:
        await a.put(b"key", b"value")
        for _ in range(2):
            b.node.add_peer(a.address)
        await converged(a, b)
        for _ in range(2):
            b.node.remove_peer(a.address)
        await until(lambda: b.node.status().peers == a.node.status().peers == ())
        await a.put(b"unseen", b"value")
        await trio.sleep(0.2)
        assert b.db.get(b"unseen") is None
        b.node.add_peer(a.address)
        await converged(a, b)
        assert b.errors() == []
        with pytest.raises(ConfigError, match="the port is missing"):
            b.node.add_peer("localhost")


async def test_sync_brings_both_sides_in_step(tmp_path: Path) -> None:
    async with running(tmp_path / "a", linger=0.01) as a:
        async with running(tmp_path / "b", a.address, interval_max=3600.0, linger=0.01) as b:
            await until(lambda: "connect" in b.names_told() and not only(b).connected)
            a.store.put(b"key", b"value")
            assert b.db.get(b"key") is None, "nobody dials for an hour"
            assert await b.node.synchronize(10)
            assert b.db.get(b"key") == b"value"
            assert await a.node.synchronize(10)
        assert await a.node.synchronize(10), "nobody is left to ask"


async def test_sync_while_who_has_dialled_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had nothing more to say: as if it had left a moment before."""
    async with (
        running(tmp_path / "a") as a,
        running(tmp_path / "b", a.address, interval_max=3600.0) as b,
    ):
        await until(lambda: only_or_none(a) is not None and only(a).connected)
        in_step, left = Session.in_step, list[bool]()

        async def late(session: Session, *, fresh: bool) -> bool:
            await session._until(lambda: False)  # as soon as it is over, and not yet put away
            left.append(await in_step(session, fresh=fresh))
            return left[-1]

        monkeypatch.setattr(Session, "in_step", late)
        assert await a.node.synchronize(10)
        assert left == [False]
        assert b.errors() == a.errors() == []


async def test_sync_from_a_thread_and_its_time_limit(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        silent = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        address = "{}:{}".format(*silent.socket.getsockname())
        async with running(tmp_path / "b", a.address) as b:
            await a.put(b"key", b"value")
            assert await trio.to_thread.run_sync(b.node.sync, 10)
            assert b.db.get(b"key") == b"value"
            b.node.add_peer(address)
            assert not await trio.to_thread.run_sync(b.node.sync, 0.1)
            with pytest.raises(UsageError, match="await its asynchronous twin"):
                b.node.sync()
        assert not await trio.to_thread.run_sync(b.node.sync)
        await silent.aclose()


async def test_the_gate_waits_for_the_peers(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        await a.put(b"key", b"value")
        assert a.node.status().write_gate == "nobody there"
        async with running(tmp_path / "b", a.address) as b:
            await b.put(b"own", b"value")
            assert b.node.status().write_gate == "caught up"
            assert b.store.known().count() == 2, "what was there came before the first write"


async def test_the_gate_opens_when_nobody_is_there(tmp_path: Path) -> None:
    async with running(tmp_path / "a", "127.0.0.1:1", join_timeout=3600.0) as a:
        await a.put(b"key", b"value")
        assert a.node.status().write_gate == "nobody there"
        assert "Connection refused" in str(only(a).last_error)


async def test_the_gate_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    silent = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = "{}:{}".format(*silent.socket.getsockname())
    async with running(tmp_path / "a", address, join_timeout=0.05) as a:
        await a.put(b"key", b"value")
        assert a.node.status().write_gate == "timed out"
    await silent.aclose()


async def test_status_of_a_node_and_its_peers(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        await a.put(b"key", b"value")
        async with running(tmp_path / "b", a.address) as b:
            await converged(a, b)
            await until(lambda: only(a).lag_entries == 0)
            _check_status(a, b)
        status = b.node.status()
        assert not status.running
        assert not status.peers[0].connected


def _check_status(a: Peer, b: Peer) -> None:
    status = b.node.status()
    assert (status.name, status.running, status.address) == ("b", True, b.address)
    assert status.origin == f"{b.store.origin:016x}"
    assert status.cluster_id == a.node.status().cluster_id
    assert status.counters.applied == 1
    (peer,) = status.peers
    assert (peer.address, peer.name, peer.connected) == (a.address, "a", True)
    assert (peer.direction, peer.rounds, peer.records_in) == ("dialled", 1, 1)
    assert (peer.lag_entries, peer.lag_seconds, peer.last_error) == (0, 0.0, None)
    assert only(a).direction == "accepted"
    assert only(a).records_out == 1


async def test_lag_counts_what_a_peer_lacks(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address) as b:
        await converged(a, b)
        await b.put(b"own", b"value")
        await until(lambda: only(b).lag_entries == 0)
        a.node.stop()
        await until(lambda: not a.node.status().running)
        for number in range(5):
            await b.put(b"%d" % number, b"value")
        await until(lambda: only(b).lag_entries == 5)
        await until(lambda: (only(b).lag_seconds or 0) > 0)
        assert "the node stops" in str(only(b).last_error) or "Connection refused" in str(
            only(b).last_error
        )


@pytest.mark.parametrize(
    ("rubbish", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "the peer speaks another protocol"),
        (frame(b"\x00rubbish"), "holds no message"),
        ((FRAME_BYTES_MAX + 1).to_bytes(4, "big"), "a frame of 134217729 bytes"),
        (frame(b"truncated")[:7], "in the midst of a frame"),
        (b"", "closed the connection"),
    ],
)
async def test_rubbish_on_the_port_is_one_error_and_nothing_else(
    tmp_path: Path, rubbish: bytes, reason: str
) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address) as b:
        for _ in range(3):
            async with by_hand(a.address) as stranger:
                await stranger.stream.send_all(rubbish)
                await stranger.stream.send_eof()
                while await stranger.receive() is not None:
                    pass
        await until(a.errors)
        await a.put(b"key", b"value")
        await converged(a, b)
        await trio.sleep(0.05)
        (error,) = a.errors()
        assert reason in error
        assert b.errors() == []


async def test_oversized_frames_of_a_peer_that_has_greeted(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, by_hand(a.address) as stranger:
        await stranger.greet()
        await stranger.stream.send_all((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        answer = await stranger.receive()
        assert isinstance(answer, Bye)
        assert answer.code == "protocol"
        await until(a.errors)
        assert a.store.known() == KnownSet()


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (
            replace(HELLO, versions=(99, 120)),
            "this node speaks 1 to 2, node 'by hand' speaks 99 to 120",
        ),
        (replace(HELLO, cluster="other"), "of cluster 'other', this one of 'default'"),
    ],
)
async def test_a_peer_that_does_not_belong_here_is_refused(
    tmp_path: Path, hello: Hello, reason: str
) -> None:
    async with running(tmp_path / "a") as a, by_hand(a.address) as stranger:
        await stranger.send(hello)
        assert isinstance(await stranger.receive(), Hello)
        answer = await stranger.receive()
        assert isinstance(answer, Bye)
        assert answer.code == "refused"
        assert reason in answer.reason
        assert await stranger.receive() is None
        await until(a.errors)
        assert reason in a.errors()[0]
        assert a.node.status().peers == ()


async def test_a_stranger_is_told_once_though_others_of_its_host_are_welcome(
    tmp_path: Path,
) -> None:
    stranger = replace(HELLO, cluster="other", node="stranger")
    async with running(tmp_path / "a") as a:
        for origin in range(1, 4):
            async with by_hand(a.address) as peer:
                await peer.send(stranger)
                while await peer.receive() is not None:
                    pass
            async with by_hand(a.address) as peer:
                await peer.greet(replace(HELLO, origin=origin))
                await peer.send(Bye("nothing more to say", "idle"))
                while await peer.receive() is not None:
                    pass
            await until(lambda: not list(a.node._hosting))
        assert len(a.errors()) == 1


async def test_who_is_refused_is_told_so(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a") as a,
        running(tmp_path / "b", a.address, cluster="other") as b,
    ):
        await b.put(b"key", b"value")
        assert b.node.status().write_gate == "nobody there"
        assert "nodes of different cluster names never talk" in str(only(b).last_error)


async def test_a_peer_that_does_not_greet_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path / "a", connect_timeout=0.1) as a, by_hand(a.address) as stranger:
        assert isinstance(await stranger.receive(), Hello)
        assert isinstance(await stranger.receive(), Bye)
        assert await stranger.receive() is None
        await until(a.errors)
        assert "no greeting within 0.1 s" in a.errors()[0]


async def test_a_slow_reader_is_dropped_and_others_go_on(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a", keepalive=0.1) as a,
        running(tmp_path / "b", a.address, keepalive=0.1) as b,
    ):
        value = b"x" * 100_000
        for start in range(0, 400, 50):
            operations = [(b"%06d" % (start + n), value) for n in range(50)]
            await trio.to_thread.run_sync(a.store.write, operations)
        async with by_hand(a.address) as slow, trio.open_nursery() as nursery:
            await slow.greet()
            await slow.send(Want(1, None))
            nursery.start_soon(_keep_pinging, slow)
            await until(lambda: any("has read nothing for 0.3 s" in one for one in a.errors()))
        await converged(a, b)


async def _keep_pinging(peer: ByHand) -> None:
    """Be alive, without reading."""
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(Ping())
            await trio.sleep(0.05)


async def test_connections_are_capped(tmp_path: Path) -> None:
    async with running(tmp_path / "a", connections_max=1) as a, by_hand(a.address) as first:
        assert isinstance(await first.receive(), Hello)
        async with running(tmp_path / "b", a.address) as b:
            await until(b.errors)
            assert "1 connections are open, the most allowed here" in b.errors()[0]
            assert a.node.status().connections_refused >= 1
            await first.stream.aclose()
            await b.put(b"key", b"value")
            await converged(a, b)


async def test_a_port_in_use_is_one_clear_error(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        assert a.node.address is not None
        settings = replace(SETTINGS, port=a.node.address.port)
        db, store = open_store(tmp_path / "b", settings)
        with pytest.raises(UsageError, match="the port is in use"):
            await Node(store, settings, Events()).run()
        store.put(b"key", b"value")
        store.close()
        db.close()


async def test_a_node_need_not_listen(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address, port=None) as b:
        assert b.node.address is None
        await b.put(b"key", b"value")
        await converged(a, b)


@pytest.mark.parametrize(
    ("host", "looks_at"), [("localhost", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")]
)
async def test_where_a_node_that_does_not_listen_looks_for_peers(
    tmp_path: Path, host: str, looks_at: str
) -> None:
    async with running(tmp_path / "a", host=host, port=None) as a:
        assert a.node._advert().address.host == looks_at


def test_a_malformed_peer_is_refused_at_once(tmp_path: Path) -> None:
    settings = replace(SETTINGS, peers=("http://host:9000",))
    db, store = open_store(tmp_path / "a", settings)
    with pytest.raises(ConfigError, match="leave out the scheme"):
        Node(store, settings, Events())
    store.close()
    db.close()


async def test_a_failing_store_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "a") as a:
        await a.put(b"key", b"value")
        async with running(tmp_path / "b") as b:

            def fail(*_: Any) -> None:
                raise CommitError("no space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(b.store, "finish", fail)
                b.node.add_peer(a.address)
                await until(lambda: b.store.finish is fail and only(b).last_error)
                await trio.sleep(0.3)
                assert b.errors() == ["no space left on device"]
            await converged(a, b)


async def test_forked_contents_block_the_peer_until_a_person_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "a") as a:
        await a.put(b"key", b"value")
        async with running(tmp_path / "b") as b:

            def fail(*_: Any) -> None:
                raise ForkedContentsError("dot 1:1 of key b'key' has other contents")

            with monkeypatch.context() as patch:
                patch.setattr(b.store, "finish", fail)
                b.node.add_peer(a.address)
                await until(lambda: only(b).blocked)
            assert "dot 1:1" in str(only(b).last_error)
            assert not await b.node.synchronize(5)
            a.node.add_peer(b.address)
            await until(lambda: any("blocked until" in one for one in a.errors()))
            assert b.db.get(b"key") is None
            assert b.errors()[0].startswith("dot 1:1")


async def test_resolvers_that_differ_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b") as b:
        b.store.settler.resolver = lambda one, other: default_resolver(one, other)
        b.node.add_peer(a.address)
        await a.put(b"key", b"value")
        await converged(a, b)
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert any("resolver" in warning for warning in warnings)


async def test_many_nodes_at_once_converge(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        peers: list[Peer] = []
        for number in range(6):
            addresses = [peer.address for peer in peers]
            peers.append(
                await stack.enter_async_context(running(tmp_path / f"n{number}", *addresses))
            )
        for number, peer in enumerate(peers):
            await peer.put(b"key %d" % number, b"value")
        await until(lambda: peers[0].store.known().count() == 6)
        await converged(*peers)


async def test_a_rolled_back_directory_takes_a_new_origin_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    """R13: the same directory in an earlier state, as a restored machine has it."""
    async with running(tmp_path / "b") as b, running(tmp_path / "c") as c:
        async with running(tmp_path / "a", b.address, c.address) as a:
            await a.put(b"before", b"1")
            await converged(a, b, c)
            origin = a.store.origin
        shutil.copytree(tmp_path / "a", tmp_path / "backup")
        async with running(tmp_path / "a", b.address, c.address) as a:
            for number in range(5):
                await a.put(b"lost %d" % number, b"value")
            await converged(a, b, c)
        for file in (tmp_path / "a").iterdir():
            if file.name != "LOCK":
                file.unlink()
        for file in (tmp_path / "backup").iterdir():
            if file.name != "LOCK":
                shutil.copy(file, tmp_path / "a")
        async with running(tmp_path / "a", b.address, c.address) as a:
            assert a.store.origin == origin
            await until(lambda: a.store.origin != origin)
            await until(lambda: a.store.known().count() == 6)
            await a.put(b"after", b"2")
            await converged(a, b, c)
            assert a.db.get(b"lost 4") == b"value"
            assert a.node.status().origin == f"{a.store.origin:016x}"
            assert a.node.status().counters.forks == 1
