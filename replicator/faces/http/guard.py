"""Judging requests before they are answered: by which name the node was asked for, from where, and
how much is sent.

A browser of somebody who reads this node's page also runs the scripts of other sites. Those cannot
read an answer of another origin, but for two ways, both closed here: a name of their own that they
point at this address (DNS rebinding), so only names of this node are answered (`Names`); and
requests that change something without reading the answer, so those must come from a page of this
node (Origin) and carry the token.

Every answer has the headers that keep a browser from running, framing, guessing or passing on
anything.
"""

import ipaddress
from collections.abc import Iterable
from typing import Protocol

import trio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replicator.faces.http.limits import (
    HTTP_BODY_BYTES_MAX,
    HTTP_BODY_SECONDS,
)

LOOPBACK_NAMES = ("localhost", "ip6-localhost")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer carries."""


class Judge(Protocol):
    """Who may do what: `replicator.faces.access.Access`."""

    @property
    def has_token(self) -> bool:
        """Whether there is a token for HTTP."""

    def is_token(self, token: str) -> bool:
        """Whether this is the token; False where there is none."""


class Names:
    """The names that this node is asked for by.

    Loopback in any form, the address that the connection came in on, and what is configured. An
    address of the network needs no configuration: rebinding takes a name.

    Args:
        configured: further names or addresses, without a port.
    """

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._names = {_normal(name) for name in (*LOOPBACK_NAMES, *configured)}

    def are_ours(self, host: str, local: str | None) -> bool:
        """Whether a Host header names this node.

        Args:
            host: as it came, with or without a port.
            local: the address of this end of the connection.
        """
        name = _normal(_without_port(host))
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or (local is not None and name == _normal(local))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _normal(name: str) -> str:
    """A name or address as it is compared; an IPv4 address within IPv6 is that address."""
    name = name.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def bearer(headers: Headers) -> str | None:
    """The token that a request shows; None where it shows none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


class BodyTooLarge(Exception):
    """A request has a longer body than `HTTP_BODY_BYTES_MAX`."""


async def read_body(receive: Receive) -> bytes:
    """The body of a request, within bounds.

    Raises:
        BodyTooLarge: it is too long.
        trio.TooSlowError: it takes longer than `HTTP_BODY_SECONDS`.
        ConnectionError: the client went away.
    """
    body = bytearray()
    with trio.fail_after(HTTP_BODY_SECONDS):
        while True:
            part = await receive()
            if part["type"] == "http.disconnect":
                raise ConnectionError("the client went away")
            body += part.get("body", b"")
            if len(body) > HTTP_BODY_BYTES_MAX:
                raise BodyTooLarge
            if not part.get("more_body", False):
                return bytes(body)


class Guard:
    """ASGI middleware: lets through what may be answered, and adds `HEADERS` to every answer.

    Args:
        app: answers.
        names: of this node.
    """

    def __init__(self, app: ASGIApp, names: Names) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        server = scope.get("server")
        host = headers.get("host", "")
        if not self._names.are_ours(host, None if server is None else server[0]):
            return PlainTextResponse(
                "this node is not known by the name in the Host header: ask for it by its address "
                "or by localhost, or add the name to allowed_hosts in the section [http] of its "
                "configuration\n",
                status_code=421,
            )
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        is_foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if is_foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return PlainTextResponse("another site may not change anything here\n", status_code=403)
        return None
