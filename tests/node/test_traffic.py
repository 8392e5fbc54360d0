"""Totals of all conversations."""

from pathlib import Path

import trio.testing

from replicator.net.address import Address
from replicator.net.transport import FramedStream
from replicator.peers.traffic import Traffic
from replicator.protocol.effects import Report

from .peers import converged, running, until


def stream() -> FramedStream:
    ours, _ = trio.testing.memory_stream_pair()
    return FramedStream(ours, Address("127.0.0.1", 1), patience=1.0)


def test_bytes_outlive_the_conversation() -> None:
    traffic, one, other = Traffic(), stream(), stream()
    traffic.met(one)
    traffic.met(other)
    one.bytes_in, other.bytes_in, other.bytes_out = 5, 7, 9
    assert (traffic.status().bytes_in, traffic.status().bytes_out) == (12, 9)
    traffic.parted(one)
    assert traffic.status().bytes_in == 12
    other.bytes_in = 8
    traffic.parted(other)
    assert (traffic.status().bytes_in, traffic.status().bytes_out) == (13, 9)


def test_rounds_and_records_of_both_directions() -> None:
    traffic = Traffic()
    traffic.count(Report("round", records=3))
    traffic.count(Report("served", records=5))
    traffic.count(Report("round", records=4))
    status = traffic.status()
    assert (status.rounds, status.records_in, status.records_out) == (2, 7, 5)


async def test_two_nodes_tell_the_same_of_each_other(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, running(tmp_path / "b", a.address) as b:
        for number in range(20):
            await a.put(b"%d" % number, b"v" * 1000)
        await converged(a, b)
        # Counted when the node hears that the last piece is in, a little behind its commit.
        await until(lambda: b.node.status().traffic.records_in == 20)
        received = b.node.status().traffic
        assert received.rounds > 0 and received.bytes_in > 20_000
        await until(lambda: a.node.status().traffic.bytes_out >= received.bytes_in)
        assert a.node.status().traffic.bytes_in > 0
    assert a.node.status().traffic.bytes_out >= received.bytes_in
