"""Nodes on loopback for tests, and a peer driven by hand."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import plyvel
import trio

from replicator.config import PROTOCOL_VERSION, PROTOCOL_VERSION_LEAST, Settings
from replicator.core.known import KnownSet
from replicator.events import EVENTS, Events
from replicator.net.address import Address, parse_address
from replicator.net.tls import Tls
from replicator.node import Node
from replicator.protocol.codec import decode, encode
from replicator.protocol.frames import FrameReader, frame
from replicator.protocol.messages import Hello, Known, Message, Quiet
from replicator.store.store import Store

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must come; never reached where things work."""

SETTINGS = Settings(
    port=0,
    join_timeout=10.0,
    linger=0.3,
    interval_max=1.0,
    sync_interval=0.05,
    dial_members=False,
)


@dataclass(eq=False)
class Peer:
    """One running node with what it has told.

    Attributes:
        told: every event so far, its name first.
    """

    db: plyvel.DB
    store: Store
    node: Node
    told: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.node.address)

    async def put(self, key: bytes, value: bytes) -> None:
        """Write, as a thread of the program does."""
        await trio.to_thread.run_sync(self.store.put, key, value)

    def names_told(self) -> list[str]:
        return [name for name, *_ in self.told]

    def errors(self) -> list[str]:
        return [str(told[1]) for told in self.told if told[0] == "error"]


def open_store(directory: Path, settings: Settings = SETTINGS) -> tuple[plyvel.DB, Store]:
    db = plyvel.DB(str(directory), create_if_missing=True)
    return db, Store.open(db, settings=settings)


@asynccontextmanager
async def running(
    directory: Path,
    *peers: str,
    settings: Settings = SETTINGS,
    tls: Tls | None = None,
    **changes: Any,
) -> AsyncIterator[Peer]:
    """A node that runs in the block and says farewell at its end."""
    settings = replace(settings, name=directory.name, peers=peers, **changes)
    db, store = open_store(directory, settings)
    events = Events(directory.name)
    peer = Peer(db, store, Node(store, settings, events, tls=tls))
    for name in EVENTS:
        events.on(name, lambda *arguments, name=name: peer.told.append((name, *arguments)))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(run_node, peer.node)
            try:
                yield peer
            finally:
                peer.node.stop()
    finally:
        events.close()
        store.close()
        db.close()


async def run_node(node: Node, *, task_status: trio.TaskStatus[None]) -> None:
    await node.run(task_status=task_status)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that must come to hold."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():
            await trio.sleep(0.005)


async def converged(*peers: Peer) -> None:
    """Wait until all nodes know the same, and see that they hold the same."""
    await until(lambda: all(peer.store.known() == peers[0].store.known() for peer in peers))
    assert len({peer.store.digest() for peer in peers}) == 1


HELLO = Hello(
    versions=(PROTOCOL_VERSION_LEAST, PROTOCOL_VERSION),
    cluster="default",
    cluster_id=None,
    node="by hand",
    origin=0xAAAA,
    instance=b"instance",
    resolver="default_order",
    explicit=True,
    has_data=False,
    wall_ms=0,
    block_hashes=KnownSet().block_hashes(),
    members=bytes(8),
    port=0,
    dialled="",
)


class ByHand:
    """A peer whose every message a test decides.

    Args:
        stream: the raw connection.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._reader = FrameReader()
        self._received: list[Message] = []

    async def send(self, *messages: Message) -> None:
        await self.stream.send_all(b"".join(frame(encode(message)) for message in messages))

    async def receive(self) -> Message | None:
        """The next message other than a sign of life or about members; None at the end."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not self._received:
                try:
                    data = await self.stream.receive_some(65536)
                except trio.BrokenResourceError:
                    return None
                if not data:
                    return None
                messages = map(decode, self._reader.feed(data))
                self._received += [one for one in messages if not isinstance(one, Quiet)]
        return self._received.pop(0)

    async def greet(self, hello: Hello = HELLO, known: KnownSet | None = None) -> None:
        """Greet, and tell what the peer knows; both answers are taken in."""
        await self.send(hello)
        assert isinstance(await self.receive(), Hello)
        await self.send(Known(known or KnownSet()))
        assert isinstance(await self.receive(), Known)


@asynccontextmanager
async def by_hand(address: Address | str) -> AsyncIterator[ByHand]:
    """A connection to a node, driven by hand."""
    if isinstance(address, str):
        address = parse_address(address)
    stream = await trio.open_tcp_stream(address.host, address.port)
    async with stream:
        yield ByHand(stream)


async def gathered(*tasks: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What all the tasks return, run at the same time."""
    results: list[Any] = [None] * len(tasks)

    async def run(number: int) -> None:
        results[number] = await tasks[number]()

    async with trio.open_nursery() as nursery:
        for number in range(len(tasks)):
            nursery.start_soon(partial(run, number))
    return results
