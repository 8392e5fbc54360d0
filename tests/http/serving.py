"""An HTTP server on a node of its own, within the test's loop, and ways to ask it."""

import http.client
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from replicator.faces.access import Access
from replicator.faces.http.server import HttpServer
from replicator.faces.library import open_replica
from replicator.faces.listening import bound_tcp, listen
from replicator.faces.nursery import TrioReplica
from replicator.net.address import Address

TOKEN = "correct-horse-battery-staple"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Resp:
    """Counters of a Redis server."""

    clients: int = 0
    refused: int = 0
    reads: int = 0
    auth_failures: int = 0
    commands: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Served:
    """A running server."""

    replica: TrioReplica
    server: HttpServer
    port: int
    scope: trio.CancelScope
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        host: str = "127.0.0.1",
    ) -> Answer:
        ask = partial(asked, self.port, path, method, headers or {}, body, host)
        return await trio.to_thread.run_sync(ask)

    async def settle(self, headers: Mapping[str, str] = ADMIN, **wanted: Any) -> Answer:
        sent = {"Content-Type": "application/json"} | dict(headers)
        return await self.ask("/conflicts/resolve", "POST", sent, json.dumps(wanted).encode())

    async def raw(self) -> trio.SocketStream:
        """A connection, closed with the server."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        assert isinstance(stream, trio.SocketStream)
        self.streams.append(stream)
        return stream


def asked(
    port: int,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    host: str = "127.0.0.1",
) -> Answer:
    """Ask in the calling thread."""
    connection = http.client.HTTPConnection(host, port, timeout=WAIT_SECONDS)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


@asynccontextmanager
async def node(directory: Path, **keywords: Any) -> AsyncIterator[TrioReplica]:
    """A node on loopback, alone unless a test names peers."""
    defaults: dict[str, Any] = {"port": 0, "discovery": [], "name": directory.name}
    async with open_replica(directory, **(defaults | keywords)) as replica:
        yield replica


@asynccontextmanager
async def serving(
    directory: Path,
    replica: TrioReplica,
    *,
    token: str | None = TOKEN,
    host: str = "127.0.0.1",
    **keywords: Any,
) -> AsyncIterator[Served]:
    """HTTP for a node as long as the context is open."""
    access = Access(token=None if token is None else token.encode())
    server = HttpServer(replica, directory, lambda: access, **keywords)
    sockets: list[socket.socket] = bound_tcp(Address(host, 0), [host])
    for one in sockets:
        listen(one)
    port = sockets[0].getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run, sockets)
        served = Served(replica, server, port, nursery.cancel_scope)
        try:
            yield served
        finally:
            nursery.cancel_scope.cancel()
            for stream in served.streams:
                stream.socket.close()


@asynccontextmanager
async def alone(tmp_path: Path, **keywords: Any) -> AsyncIterator[Served]:
    """A node with HTTP."""
    directory = tmp_path / "a"
    async with node(directory) as replica, serving(directory, replica, **keywords) as served:
        yield served


@asynccontextmanager
async def conflicting(
    tmp_path: Path,
    *keys: bytes,
    values: tuple[bytes, bytes] = (b"ours", b"theirs"),
    **keywords: Any,
) -> AsyncIterator[tuple[Served, TrioReplica]]:
    """Two nodes that have written the same keys and then met; the first one has HTTP."""
    async with node(tmp_path / "a") as ours, node(tmp_path / "b") as theirs:
        for key in keys:
            ours.put(key, values[0])
            theirs.put(key, values[1])
        async with serving(tmp_path / "a", ours, **keywords) as served:
            ours.add_peer(str(theirs.address))
            assert await ours.synchronize(WAIT_SECONDS)
            yield served, theirs


async def until(condition: Any) -> Any:
    """Wait until something asynchronous is true."""
    with trio.fail_after(WAIT_SECONDS):
        while not (found := await condition()):
            await trio.sleep(0.02)
    return found


class Events:
    """Reads server-sent events of one connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._held = ""
        self.is_over = False

    @classmethod
    async def open(cls, served: Served, headers: Mapping[str, str] | None = None) -> "Events":
        stream = await served.raw()
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        head = "\r\n".join(["GET /events HTTP/1.1", f"Host: localhost:{served.port}", *lines])
        await stream.send_all(f"{head}\r\n\r\n".encode())
        return cls(stream)

    async def next(self, kind: str) -> Any:
        """The content of the next event of a kind; None where the connection is over."""
        with trio.fail_after(WAIT_SECONDS):
            while True:
                while "\n\n" in self._held:
                    part, self._held = self._held.split("\n\n", 1)
                    # Behind the head of the answer, and of the chunk.
                    at = part.find("event: ")
                    name, _, data = part[at:].partition("\ndata: ")
                    if at >= 0 and name == f"event: {kind}":
                        return json.loads(data.replace("\r", "").split("\n")[0])
                data = await self._stream.receive_some(1 << 16)
                if not data:
                    self.is_over = True
                    return None
                self._held += bytes(data).decode()

    async def close(self) -> None:
        await self._stream.aclose()
