"""Which requests are answered at all, and what every answer carries."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from starlette.datastructures import Headers
from starlette.types import Message

from replicator.faces.http.guard import (
    HEADERS,
    POLICY,
    BodyTooLarge,
    Names,
    bearer,
    read_body,
)
from replicator.faces.http.limits import HTTP_BODY_BYTES_MAX

from .serving import ADMIN, TOKEN, alone


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.9.9.9:1",
        "[::1]",
        "[::1]:8080",
        "192.0.2.7:8080",
        "node.internal",
        "Node.Internal.:443",
        "198.51.100.9",
    ],
)
def test_names_of_this_node(host: str) -> None:
    assert Names(["node.internal", "198.51.100.9"]).are_ours(host, "192.0.2.7")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "192.0.2.8",
        "[2001:db8::1]:80",
        "0.0.0.0",
        "localhost, evil.example",
        "evillocalhost",
        "node.internal.evil.example",
        "\x00",
    ],
)
def test_names_that_are_not(host: str) -> None:
    assert not Names(["node.internal"]).are_ours(host, "192.0.2.7")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("[2001:DB8:0::1]:80", "2001:db8::1"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("[fe80::1]", "fe80::1%eth0"),
    ],
)
def test_an_address_is_the_same_however_it_is_written(host: str, local: str) -> None:
    assert Names().are_ours(host, local)
    assert not Names().are_ours(host, None)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
    ],
)
def test_the_token_of_a_request(header: str, token: str | None) -> None:
    assert bearer(Headers({"authorization": header})) == token


async def body_of(*parts: bytes, pause: float = 0.0) -> bytes:
    messages = [
        {"type": "http.request", "body": part, "more_body": place < len(parts) - 1}
        for place, part in enumerate(parts)
    ]

    async def receive() -> Message:
        await trio.sleep(pause)
        return messages.pop(0)

    return await read_body(receive)


async def test_a_body_within_bounds() -> None:
    assert await body_of(b"") == b""
    assert await body_of(b"a" * HTTP_BODY_BYTES_MAX) == b"a" * HTTP_BODY_BYTES_MAX
    assert await body_of(b"a", b"b", b"") == b"ab"
    with pytest.raises(BodyTooLarge):
        await body_of(b"a" * HTTP_BODY_BYTES_MAX, b"a")


async def test_a_body_that_trickles(autojump_clock: object) -> None:
    with pytest.raises(trio.TooSlowError):
        await body_of(*[b"a"] * 100, pause=1.0)


async def test_a_client_that_leaves() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ConnectionError):
        await read_body(receive)


async def test_a_foreign_name_is_refused_everywhere(tmp_path: Path) -> None:
    async with alone(tmp_path, allowed_hosts=["node.internal"]) as served:
        for path in ("/", "/healthz", "/metrics", "/status", "/events", "/static/page.js", "/no"):
            answer = await served.ask(path, headers={"Host": f"evil.example:{served.port}"})
            assert answer.status == 421
            assert "allowed_hosts" in answer.text and "amsterdam" not in answer.text
        answer = await served.settle({**ADMIN, "Host": "evil.example"}, key="k", dot="d")
        assert answer.status == 421
        assert (await served.ask("/healthz", headers={"Host": "node.internal:8080"})).status == 200
        # As it comes through `ssh -L 8080:localhost:9100`.
        assert (await served.ask("/healthz", headers={"Host": "localhost:8080"})).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_site_changes_nothing(headers: Mapping[str, str], tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        here = {**ADMIN, "Host": "localhost:8080"}
        answer = await served.settle({**here, **headers}, key="k", dot="0" * 16 + ":1")
        assert answer.status == 403
        own = {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}
        answer = await served.settle({**here, **own}, key="k", dot="0" * 16 + ":1")
        assert answer.status == 409  # asked, and there is no such version


async def test_every_answer_carries_what_keeps_a_browser_in_check(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        for path, status in (
            ("/", 200),
            ("/static/page.css", 200),
            ("/metrics", 200),
            ("/nowhere", 404),
            ("/conflicts", 401),
            ("/conflicts/resolve", 405),
        ):
            answer = await served.ask(path)
            assert answer.status == status
            for name, value in HEADERS.items():
                assert answer.headers[name.lower()] == value, (path, name)
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers
    for word in ("'unsafe-inline'", "'unsafe-eval'", "*", "http:", "data:"):
        assert word not in POLICY
    assert POLICY.startswith("default-src 'none'; ")


async def test_other_methods_and_protocols_are_refused(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        for method in ("POST", "PUT", "DELETE", "TRACE", "OPTIONS"):
            assert (await served.ask("/status", method, ADMIN)).status == 405
        assert (await served.ask("/status", "HEAD")).body == b""
        stream = await served.raw()
        await stream.send_all(
            b"GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b"101" not in bytes(await stream.receive_some(1 << 16)).split(b"\r\n")[0]


async def test_no_answer_tells_the_token(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        for path in ("/", "/metrics", "/status", "/conflicts", "/readyz"):
            answer = await served.ask(path, headers=ADMIN)
            assert TOKEN not in answer.text
