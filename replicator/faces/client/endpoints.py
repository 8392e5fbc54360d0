"""Where a daemon is, and what to say to be let in: URLs, passwords, TLS.

====================================== ============================================================
``unix:PATH``                          a socket, or the data directory whose daemon made one
``redis://[user:password@]host[:port]``  TCP; the port is 6379 unless it is named
``rediss://…``                         the same with TLS
====================================== ============================================================

A user and a password may also be given apart, or by the environment (`USER`, `PASSWORD`): what is
in a URL comes first. They are never part of what is printed, logged or raised.
"""

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from replicator.errors import ConfigError

PORT = 6379
USER = "REPLICATOR_CLIENT_USER"
PASSWORD = "REPLICATOR_CLIENT_PASSWORD"

Tls = ssl.SSLContext | Mapping[str, str] | None
"""How a daemon is trusted: a context; or files, ``ca``, and ``certificate`` with ``key`` where it
wants to see one; None trusts the CAs of this machine."""

_FORMS = "write unix:PATH, redis://host:port or rediss://host:port"
_HIDDEN = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One daemon.

    Attributes:
        path: of its socket, or of its data directory; None for TCP.
        host, port: for TCP.
        user, password: None where nobody logs in.
        tls: None without.
    """

    path: Path | None
    host: str = ""
    port: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'redis' if self.tls is None else 'rediss'}://{host}:{self.port}"

    @property
    def login(self) -> tuple[bytes, ...]:
        """What follows ``HELLO 3``."""
        if self.password is None:
            return ()
        return b"AUTH", (self.user or "default").encode(), self.password.encode()


def endpoints_of(
    urls: str | Sequence[str], user: str | None, password: str | None, tls: Tls
) -> list[Endpoint]:
    """The daemons that a program names.

    Raises:
        ConfigError: a URL is none of the three, is named twice, or `tls` makes no sense.
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    if not urls:
        raise ConfigError(f"connect() needs the URL of a daemon: {_FORMS}")
    context = _Context(tls)
    user = os.environ.get(USER) if user is None else user
    password = os.environ.get(PASSWORD) if password is None else password
    endpoints = [_endpoint(url, user, password, context) for url in urls]
    names = [str(endpoint) for endpoint in endpoints]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name} is named twice")
    return endpoints


class _Context:
    """The TLS context, made for the first endpoint that needs it."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._made: ssl.SSLContext | None = None

    def get(self) -> ssl.SSLContext:
        if self._made is None:
            self._made = _context(self._tls)
        return self._made


def _context(tls: Tls) -> ssl.SSLContext:
    if isinstance(tls, ssl.SSLContext):
        return tls
    files = dict(tls or {})
    ca, certificate, key = (files.pop(name, None) for name in ("ca", "certificate", "key"))
    if files or (certificate is None) != (key is None):
        raise ConfigError(
            "tls= takes the files ca, and certificate with key where the daemon wants to see one"
        )
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"tls: of {dict(tls or {})} not all can be read: {error}") from error
    return context


def _endpoint(url: str, user: str | None, password: str | None, context: _Context) -> Endpoint:
    if not isinstance(url, str):
        raise ConfigError(f"a URL must be text, not {type(url).__name__}: {_FORMS}")
    shown = _HIDDEN.sub("//…@", url)
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path or path.startswith("//") or "\0" in path:
            raise ConfigError(f"{shown!r} names no path: write unix:PATH, or unix:///PATH")
        return Endpoint(Path(path), user=user, password=password)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{shown!r} is no URL ({error}): {_FORMS}") from None
    if parts.scheme not in ("redis", "rediss") or not host or port == 0:
        raise ConfigError(f"{shown!r} names no daemon: {_FORMS}")
    if parts.path not in ("", "/", "/0") or parts.query or parts.fragment:
        raise ConfigError(f"{shown!r}: nothing may follow the port; a daemon has one database")
    return Endpoint(
        None,
        host,
        PORT if port is None else port,
        unquote(parts.username) if parts.username else user,
        unquote(parts.password) if parts.password else password,
        context.get() if parts.scheme == "rediss" else None,
    )
