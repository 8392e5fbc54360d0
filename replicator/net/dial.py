"""Dialling a peer: a name is resolved anew on every attempt, the quickest address wins."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from replicator.errors import PeerError
from replicator.net.address import Address
from replicator.net.handshake import go_in
from replicator.net.tls import Tls
from replicator.net.transport import FramedStream


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
            return await _safe(stream, address, patience, tls)


async def _safe(
    stream: trio.SocketStream, address: Address, patience: float, tls: Tls
) -> FramedStream:
    try:
        safe, certificate = await go_in(stream, tls)
    except PeerError as error:
        await trio.aclose_forcefully(stream)
        raise PeerError(f"no safe connection with {address}: {error}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return FramedStream(safe, address, patience=patience, certificate=certificate)


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
        if isinstance(inner, socket.gaierror):
            return inner.strerror or "unknown"
        if isinstance(inner, OSError) and inner.errno is not None:
            return os.strerror(inner.errno)  # trio writes the address into its `strerror`
        inner = inner.__cause__ or inner.__context__
    return str(error)
