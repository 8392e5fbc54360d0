"""Dialling a peer: a name is resolved anew on every attempt, the quickest address wins."""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from replicator.errors import PeerError
from replicator.net.address import Address
from replicator.net.transport import FramedStream, Tls


async def dial(
    address: Address, *, timeout: float, patience: float, tls: Tls | None = None
) -> FramedStream:
    """Connect to a peer, with TLS where it is configured.

    Args:
        timeout: seconds for resolving, connecting and the TLS handshake together.
        patience: see `FramedStream`.

    Raises:
        PeerError: nobody is there, or no safe connection; the message says what to look at.
    """
    with _explained(address, timeout):
        with trio.fail_after(timeout):
            stream = await trio.open_tcp_stream(address.host, address.port)
            if tls is None:
                return FramedStream(stream, address, patience=patience)
            return FramedStream(
                await _shake_hands(stream, tls, address), address, patience=patience
            )


async def _shake_hands(stream: trio.SocketStream, tls: Tls, address: Address) -> trio.abc.Stream:
    safe = trio.SSLStream(stream, tls.client, server_hostname=address.host, https_compatible=True)
    try:
        await safe.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return safe


@contextmanager
def _explained(address: Address, timeout: float) -> Iterator[None]:
    try:
        yield
    except trio.TooSlowError as error:
        raise PeerError(f"{address} does not answer within {timeout:g} s") from error
    except (socket.gaierror, UnicodeError) as error:
        raise PeerError(f"the name {address.host!r} does not resolve: {reason(error)}") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise PeerError(f"cannot connect to {address}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What lies behind a failed connection, in a few words."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, BaseExceptionGroup):
            return "; ".join(sorted({reason(part) for part in inner.exceptions}))
        if isinstance(inner, ssl.SSLError):
            return f"no safe connection ({getattr(inner, 'verify_message', '') or inner.reason})"
        if isinstance(inner, socket.gaierror):
            return inner.strerror or "unknown"
        if isinstance(inner, OSError) and inner.errno is not None:
            return os.strerror(inner.errno)  # trio writes the address into its `strerror`
        inner = inner.__cause__ or inner.__context__
    return str(error)
