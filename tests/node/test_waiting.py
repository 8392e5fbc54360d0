"""A node that waits for its peers' disks: whom it asks, dials, and believes."""

from pathlib import Path

import pytest
import trio

from replicator.core.known import KnownSet
from replicator.errors import NotReplicated
from replicator.protocol.messages import Bye, Durable, Known, Secure
from tests.node.peers import HELLO, by_hand, gathered, running, until


def own(peer: object, *seqs: int) -> KnownSet:
    origin = peer.store.origin  # type: ignore[attr-defined]
    return KnownSet.of(*((origin, seq) for seq in seqs))


async def test_a_peer_is_asked_and_believed(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, by_hand(a.address) as hand:
        await a.put(b"k", b"v")
        await hand.greet()
        async with trio.open_nursery() as nursery:
            done = []

            async def wait() -> None:
                await a.node.replicated.until(own(a, 1), 1, 30)
                done.append(True)

            nursery.start_soon(wait)
            while not isinstance(message := await hand.receive(), Secure):
                assert isinstance(message, Known)
            assert message.dots == own(a, 1)
            assert not done
            await hand.send(Durable(own(a, 1)))


async def test_who_only_knows_it_does_not_count(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, by_hand(a.address) as hand:
        await a.put(b"k", b"v")
        await hand.greet()
        await hand.send(Known(own(a, 1)))
        with pytest.raises(NotReplicated) as caught:
            await a.node.replicated.until(own(a, 1), 1, 0.3)
        assert caught.value.held_at == ("by hand",)
        assert caught.value.durable_at == ()


async def test_who_comes_later_is_asked_too(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        await a.put(b"k", b"v")

        async def peer() -> None:
            async with by_hand(a.address) as hand:
                await hand.greet()
                while not isinstance(await hand.receive(), Secure):
                    pass
                await hand.send(Durable(own(a, 1)))
                await trio.sleep(0.2)

        async def wait() -> None:
            await a.node.replicated.until(own(a, 1), 1, 30)

        await gathered(wait, peer)


async def test_a_peer_of_version_1_is_not_asked(tmp_path: Path) -> None:
    from dataclasses import replace

    async with running(tmp_path / "a") as a, by_hand(a.address) as hand:
        await a.put(b"k", b"v")
        await hand.greet(replace(HELLO, versions=(1, 1)))
        with pytest.raises(NotReplicated):
            await a.node.replicated.until(own(a, 1), 1, 0.2)
        a.node.stop()
        while not isinstance(message := await hand.receive(), Bye):
            assert not isinstance(message, Secure)


async def test_whom_nobody_talks_to_is_dialled_at_once(tmp_path: Path) -> None:
    """The next conversation is not due for half an hour."""
    patient = {"interval_min": 1800.0, "interval_max": 1800.0, "linger": 0.05}
    async with running(tmp_path / "b") as b, running(tmp_path / "a", b.address, **patient) as a:
        await until(lambda: b.store.gate.outcome != "waiting" and a.node.status().peers)
        await until(lambda: not a.node.status().peers[0].connected)
        await a.put(b"k", b"v")
        await a.node.replicated.until(own(a, 1), 1, 30)
        assert b.store.durable_known().issuperset(own(a, 1))


async def test_a_peer_behind_a_peer_counts_by_what_is_passed_on(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a") as a,
        running(tmp_path / "b", a.address) as b,
        running(tmp_path / "c", b.address) as c,
    ):
        await a.put(b"k", b"v")
        await a.node.replicated.until(own(a, 1), 2, 30)
        assert c.store.durable_known().issuperset(own(a, 1))
        assert len(a.node.status().peers) == 1


async def test_a_fork_meanwhile(tmp_path: Path) -> None:
    """What was never shown is issued again, and that is waited for."""
    async with running(tmp_path / "a") as a:
        await a.put(b"k", b"v")
        dots = own(a, 1)

        async def wait() -> None:
            await a.node.replicated.until(dots, 1, 30)

        async def fork_and_meet() -> None:
            await a.node._hosting.fork(None, False)
            assert a.store.origin not in dots.origins()
            async with running(tmp_path / "b", a.address) as b:
                await until(lambda: b.store.durable_known().issuperset(own(a, 1)))
                await until(lambda: not a.node._hosting.waiting._acknowledgements.wanted())

        await gathered(wait, fork_and_meet)
