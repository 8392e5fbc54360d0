"""Connections: how many, how long, and how they end. Also what this relies on in anycorn, of which
it uses a name that is not documented."""

import logging
import socket
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from replicator.faces.http import listening, pulse
from replicator.faces.http.limits import HTTP_HEAD_BYTES_MAX

from .serving import TOKEN, Events, Served, alone, until

OK = b"HTTP/1.1 200"


async def all_of(stream: trio.abc.Stream) -> bytes:
    """What comes until the other side closes."""
    data = b""
    with trio.fail_after(30), suppress(trio.BrokenResourceError):
        while part := bytes(await stream.receive_some(1 << 16)):
            data += part
    return data


async def is_served(served: Served) -> bool:
    with suppress(OSError):
        return (await served.ask("/healthz")).status == 200
    return False


async def test_several_requests_go_over_one_connection(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        stream = await served.raw()
        for _ in range(3):
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = b""
            while not data.endswith(b"alive\n"):
                data += bytes(await stream.receive_some(1 << 16))
            assert data.startswith(OK)


async def test_a_head_that_trickles_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HTTP_IDLE_SECONDS", 0.3)
    async with alone(tmp_path) as served, trio.open_nursery() as nursery:
        stream = await served.raw()

        async def trickle() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
                while True:
                    await stream.send_all(b"X-A: b\r\n")
                    await trio.sleep(0.01)

        nursery.start_soon(trickle)
        assert b"200" not in await all_of(stream)
        nursery.cancel_scope.cancel()


async def test_an_idle_connection_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HTTP_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(pulse, "SAMPLE_SECONDS", 0.15)
    async with alone(tmp_path) as served:
        assert await all_of(await served.raw()) == b""
        events = await Events.open(served)  # which is not idle, though the client says nothing
        for _ in range(3):
            assert await events.next("tick") is not None


async def test_a_long_head_is_refused(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        stream = await served.raw()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * HTTP_HEAD_BYTES_MAX)
        assert (await all_of(stream)).split(b"\r\n")[0] in (b"HTTP/1.1 431 ", b"")
        assert await is_served(served)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"POST /conflicts/resolve HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e9\r\n\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
)
async def test_rubbish_is_refused_and_others_go_on(
    rubbish: bytes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "HTTP_IDLE_SECONDS", 0.5)
    async with alone(tmp_path) as served:
        stream = await served.raw()
        await stream.send_all(rubbish)
        answer = await all_of(stream)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert await is_served(served)
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_upgraded_to_http_2_the_same_rules_hold(tmp_path: Path) -> None:
    """anycorn takes such an upgrade; what is behind it is our own application."""
    async with alone(tmp_path) as served:
        stream = await served.raw()
        await stream.send_all(
            b"GET /status HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        data = b""
        with trio.move_on_after(0.3):
            while part := bytes(await stream.receive_some(1 << 16)):
                data += part
        assert b"write_gate" not in data
        await stream.aclose()
        assert await is_served(served)


async def test_no_more_connections_than_there_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HTTP_CONNECTIONS_MAX", 4)
    monkeypatch.setattr(pulse, "SAMPLE_SECONDS", 0.1)
    async with alone(tmp_path) as served:
        held = [await Events.open(served) for _ in range(4)]
        for events in held:
            assert await events.next("state") is not None
        answer = await served.ask("/healthz")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.text == "too many connections: try again in a moment\n"
        for events in held:
            assert await events.next("tick") is not None
        await held[0].close()
        assert await until(partial(is_served, served))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not over at once is never over."""
    monkeypatch.setattr(listening, "HTTP_CLOSE_SECONDS", 1000)
    monkeypatch.setattr(listening, "HTTP_IDLE_SECONDS", 1000)


async def test_who_leaves_makes_room_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: None
) -> None:
    monkeypatch.setattr(listening, "HTTP_CONNECTIONS_MAX", 2)
    async with alone(tmp_path) as served:
        with trio.move_on_after(30) as limit:
            for _ in range(10):
                assert await until(partial(is_served, served))
            lines = served.server._listening._open
            idle = await served.raw()
            await idle.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await idle.receive_some(1 << 16)
            while any(line.requests for line in lines):
                await trio.sleep(0.01)
            await idle.aclose()
            while lines:
                await trio.sleep(0.01)
        monkeypatch.setattr(listening, "HTTP_CLOSE_SECONDS", 0)
        assert not limit.cancelled_caught


async def test_who_says_no_more_is_still_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: None
) -> None:
    async with alone(tmp_path) as served:
        stream = await served.raw()
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await stream.send_eof()
        with trio.move_on_after(30):
            assert b"replicator_writes_total" in await all_of(stream)
        monkeypatch.setattr(listening, "HTTP_CLOSE_SECONDS", 0)
        assert not served.server._listening._open


async def test_a_client_that_does_not_read_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HTTP_SEND_SECONDS", 0.2)
    async with alone(tmp_path) as served:
        stream = await served.raw()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with suppress(trio.BrokenResourceError), trio.fail_after(30):
            while True:  # answers fill what the kernel holds for both sides
                await stream.send_all(
                    b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
                )
        lines = served.server._listening._open

        async def is_gone() -> bool:
            return not lines

        assert await until(is_gone)


async def test_requests_under_way_end_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HTTP_CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(listening, "HTTP_SEND_SECONDS", 60)
    with trio.fail_after(30):
        async with alone(tmp_path) as served:
            half = await served.raw()  # a request that never ends
            await half.send_all(
                b"POST /conflicts/resolve HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                b"Content-Type: application/json\r\nAuthorization: Bearer %s\r\n\r\n"
                % TOKEN.encode()
            )
            deaf = await served.raw()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with trio.move_on_after(0.5):
                while True:
                    await deaf.send_all(
                        b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
                    )
            events = await Events.open(served)
            assert await events.next("state") is not None
            lines = served.server._listening._open
            assert len(lines) == 3
            served.scope.cancel()
            with trio.move_on_after(30, shield=True):
                assert await events.next("never") is None
                while lines:
                    await trio.sleep(0.01)
            assert not lines


async def test_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    client = ssl.create_default_context()
    ca.configure_trust(client)
    async with alone(tmp_path, tls=context) as served:
        safe = trio.SSLStream(
            await served.raw(), client, server_hostname="localhost", https_compatible=True
        )
        await safe.send_all(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert (await all_of(safe)).startswith(OK)
        plain = await served.raw()
        await plain.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"alive" not in await all_of(plain)
        safe = trio.SSLStream(await served.raw(), client, server_hostname="localhost")
        await safe.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"<!doctype html>" in await all_of(safe)


async def test_a_client_that_never_greets_by_tls_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HTTP_SEND_SECONDS", 0.2)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with alone(tmp_path, tls=context) as served:
        assert await all_of(await served.raw()) == b""
