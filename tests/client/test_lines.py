"""Connections of both worlds: Unix sockets, TCP, TLS; answers in pieces, and none at all."""

import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

import replicator
from replicator import UnreachableError
from replicator.errors import ConfigError
from replicator.faces.client import choosing
from replicator.faces.client.endpoints import Endpoint
from replicator.faces.client.lines import LostError, Threads
from replicator.faces.client.triolines import Tasks
from replicator.faces.resp import RequestReader, Status, encode
from replicator.faces.unixsocket import DIRECTORY_NAME, SOCKET_NAME
from tests.client.fake import KEEP_SILENT, fakes, once

World = Threads | Tasks

GREETING = [encode({"server": "replicator"}, 3), encode("token", 3)]


class Server:
    """Answers over TCP, with TLS where there is a context; one connection after the other.

    Args:
        by_byte: whether answers come byte by byte.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, by_byte: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._tls = tls
        self._by_byte = by_byte
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                if self._tls is None:
                    self._serve(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as safe:
                        self._serve(safe)

    def _serve(self, connection: socket.socket) -> None:
        reader = RequestReader()
        while data := connection.recv(1 << 16):
            for request in reader.feed(data):
                name = request[0]
                reply = b"v" * 3 if name == b"GET" else Status("OK")
                answer = {b"HELLO": GREETING[0], b"REPL.TOKEN": GREETING[1]}.get(name)
                whole = answer or encode(reply, 3)
                pieces = [whole]
                if self._by_byte:
                    pieces = [whole[place : place + 1] for place in range(len(whole))]
                for piece in pieces:
                    connection.sendall(piece)

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def served(tls: ssl.SSLContext | None = None, *, by_byte: bool = False) -> Iterator[Server]:
    server = Server(tls, by_byte=by_byte)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def both(url: str, **keywords: Any) -> list[bytes]:
    """What a key shows, read in both worlds."""
    with replicator.connect(url, **keywords) as db:
        found = [db.get(b"k")]

    async def read() -> None:
        async with replicator.connect_trio(url, **keywords) as db:
            found.append(await db.get(b"k"))

    trio.run(read)
    return found


def refused(url: str, **keywords: Any) -> list[str]:
    """Why it cannot be connected to, in both worlds."""
    with pytest.raises(UnreachableError) as first:
        replicator.connect(url, **keywords)

    async def connect() -> str:
        with pytest.raises(UnreachableError) as second:
            async with replicator.connect_trio(url, **keywords):
                pass
        return str(second.value)

    return [str(first.value), trio.run(connect)]


@pytest.mark.parametrize("by_byte", [False, True])
def test_tcp(by_byte: bool) -> None:
    with served(by_byte=by_byte) as server:
        assert both(f"redis://127.0.0.1:{server.port}") == [b"vvv"] * 2


def test_tls(authority: trustme.CA, server_side: ssl.SSLContext, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(ca)
    with served(server_side, by_byte=True) as server:
        url = f"rediss://127.0.0.1:{server.port}"
        assert both(url, tls={"ca": str(ca)}) == [b"vvv"] * 2
        for why in refused(url):  # the CAs of this machine know nothing of it
            assert "certificate verify failed" in why


def test_tls_with_a_certificate_of_the_client(authority: trustme.CA, tmp_path: Path) -> None:
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(strict)
    authority.configure_trust(strict)
    strict.verify_mode = ssl.CERT_REQUIRED
    ca, certificate, key = (str(tmp_path / name) for name in ("ca", "crt", "key"))
    authority.cert_pem.write_to_path(ca)
    own = authority.issue_cert("client")
    own.private_key_pem.write_to_path(key)
    own.cert_chain_pems[0].write_to_path(certificate)
    with served(strict) as server:
        url = f"rediss://127.0.0.1:{server.port}"
        files = {"ca": ca, "certificate": certificate, "key": key}
        assert both(url, tls=files) == [b"vvv"] * 2
        refused(url, tls={"ca": ca})
    with pytest.raises(ConfigError, match="not all can be read"):
        replicator.connect(url, tls={**files, "key": ca})


def test_tls_is_not_spoken_by_mistake(
    server_side: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "CLIENT_DIAL_SECONDS", 0.2)
    with served() as plain, served(server_side) as safe:
        assert all("127.0.0.1" in why for why in refused(f"rediss://127.0.0.1:{plain.port}"))
        assert all("127.0.0.1" in why for why in refused(f"redis://127.0.0.1:{safe.port}"))


def test_a_name_that_nobody_knows() -> None:
    for why in refused("redis://no.such.host.invalid:1"):
        assert why.startswith("no daemon answers: redis://no.such.host.invalid:1: ")


def test_a_data_directory_with_a_long_name(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    (data / DIRECTORY_NAME).mkdir(parents=True)
    for why in refused(f"unix:{data}"):
        assert "no daemon is there" in why
    (data / DIRECTORY_NAME / SOCKET_NAME).touch()
    for why in refused(f"unix:{data}"):
        assert "no daemon is there" in why


@contextmanager
def line_to(world: World, answer: Callable[[socket.socket], object]) -> Iterator[Any]:
    """A line whose other end does something when it was asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint(None, "127.0.0.1", listener.getsockname()[1])
        thread.join()


def run(world: World, work: Callable[[], Awaitable[Any]]) -> Any:
    if isinstance(world, Tasks):
        return trio.run(work)
    return replicator.faces.client.blocking.finished(work())  # type: ignore[arg-type]


@pytest.mark.parametrize("world", [Threads(), Tasks()], ids=["threads", "trio"])
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda connection: connection.sendall(b"+O"), "it went away"),
        (lambda connection: connection.sendall(b"what?\r\n"), "no RESP"),
        (lambda connection: connection.recv(100), "does not answer"),
    ],
)
def test_an_answer_that_does_not_come(
    world: World, answer: Callable[[socket.socket], object], says: str
) -> None:
    async def ask(endpoint: Endpoint) -> None:
        line = await world.dial(endpoint, 5)
        assert line.is_quiet()
        try:
            with pytest.raises(LostError, match=says) as caught:
                await world.exchange(line, b"PING\r\n", 1, 0.1)  # type: ignore[arg-type]
            assert caught.value.may_have_run
        finally:
            line.close()
            line.close()

    with line_to(world, answer) as endpoint:
        run(world, lambda: ask(endpoint))


@pytest.mark.parametrize("world", [Threads(), Tasks()], ids=["threads", "trio"])
def test_what_nobody_asked_for_makes_a_line_useless(world: World) -> None:
    async def look(endpoint: Endpoint) -> None:
        line = await world.dial(endpoint, 5)
        await world.exchange(line, b"PING\r\n", 1, 5)  # type: ignore[arg-type]
        while line.is_quiet():
            await world.pause(0.001)
        line.close()

    with line_to(world, lambda connection: connection.sendall(b"+PONG\r\n+AGAIN\r\n")) as endpoint:
        run(world, lambda: look(endpoint))


@pytest.mark.parametrize("world", [Threads(), Tasks()], ids=["threads", "trio"])
def test_slots(world: World) -> None:
    async def take() -> None:
        slots = world.slots(1)
        assert await slots.take(0)
        assert not await slots.take(0)
        assert not await slots.take(0.01)
        slots.give_back()
        assert await slots.take(1)

    run(world, take)


def test_a_call_that_is_cancelled_costs_its_connection_alone(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with replicator.connect_trio(url) as db:
            with trio.move_on_after(0.05) as scope:
                await db.get(b"k")
            assert scope.cancelled_caught
            assert await db.get(b"k") == b"v"

    with fakes(tmp_path, 1) as (daemon,):
        daemon.acts[b"GET"] = once(KEEP_SILENT, b"v")
        trio.run(main, daemon.url)
        assert daemon.connections == 2
