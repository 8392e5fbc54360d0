"""Listening for peers: opening the ports, and who may come in."""

import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio

from replicator.config import CONNECTIONS_PER_HOST_MAX
from replicator.errors import ConfigError, PeerError, UsageError
from replicator.net.address import Address
from replicator.net.dial import reason
from replicator.net.handshake import speaks_tls, take_in
from replicator.net.tls import Tls
from replicator.net.transport import FramedStream
from replicator.protocol.codec import encode
from replicator.protocol.frames import frame
from replicator.protocol.messages import Bye

TURN_AWAY_SECONDS = 0.1
"""How long a connection that finds no room may take to read that."""

TLS_ONLY = (
    "this node speaks TLS only: give the other one certificates of the cluster ([tls] in its "
    "configuration)"
)
"""What a peer is told that speaks without."""

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on every address of `host`, all on the same port.

    Args:
        host: a name or an IP address, ``0.0.0.0`` and ``::`` for all of this machine.
        port: 0 takes a free one.

    Raises:
        ConfigError: the host is none of this machine's.
        UsageError: the port is in use or not allowed; the message says what to do.
    """
    listeners: list[trio.SocketListener] = []
    missing: OSError | None = None
    try:
        for numeric in await _addresses_of(host):
            try:
                listeners += await trio.open_tcp_listeners(port, host=numeric)
                port = listening_on(listeners[0]).port
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise refusal(Address(numeric, port), error) from error
                missing = error
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    if not listeners:
        raise ConfigError(
            f"cannot listen on {host!r}: it is no address of this machine; take one of its own, "
            "127.0.0.1 for this machine alone, or 0.0.0.0 for all of its networks"
        ) from missing
    return listeners


async def refuse_strangers(host: str, tls: Tls | None, insecure: bool) -> None:
    """Refuse to listen where others than this machine's users may connect, without TLS.

    Args:
        host: as for `open_listeners`.
        insecure: whether a person has said that it is meant.

    Raises:
        ConfigError: the name does not resolve.
        UsageError: it has other addresses than loopback ones; the message names them.
    """
    if tls is not None or insecure:
        return
    addresses = [ipaddress.ip_address(text) for text in await _addresses_of(host)]
    if open_ones := [str(address) for address in addresses if not address.is_loopback]:
        raise UsageError(
            f"refuses to listen on {', '.join(open_ones)} without TLS: whoever reaches it could "
            "read and write everything. Give certificates ([tls] in the configuration, tls= in "
            "Python; `replicator certs init` makes them), or say --insecure (insecure = true, "
            "insecure=True) where nobody else can reach that network"
        )


def listening_on(listener: trio.SocketListener) -> Address:
    """Where a listener listens."""
    host, port = listener.socket.getsockname()[:2]
    return Address(host, port)


async def welcome(
    stream: trio.SocketStream, *, timeout: float, patience: float, tls: Tls | None = None
) -> FramedStream:
    """Take over an accepted connection, with TLS where it is configured. On an error it stays the
    caller's to close.

    Args:
        timeout: seconds for the TLS handshake.
        patience: see `FramedStream`.

    Raises:
        PeerError: the peer does not manage the handshake.
    """
    remote = remote_of(stream)
    if tls is None:
        return FramedStream(stream, remote, patience=patience)
    try:
        with trio.fail_after(timeout):
            if not await speaks_tls(stream):
                await _tell_of_tls(FramedStream(stream, remote, patience=timeout))
                raise PeerError(
                    "the peer speaks without TLS, or another protocol: give it certificates too "
                    "([tls] in its configuration)"
                )
            safe, certificate = await take_in(stream, tls)
    except trio.TooSlowError as error:
        raise PeerError(f"no TLS handshake within {timeout:g} s") from error
    except PeerError as error:
        raise PeerError(f"no safe connection: {error}") from error
    return FramedStream(safe, remote, patience=patience, certificate=certificate)


async def _tell_of_tls(stream: FramedStream) -> None:
    """Tell a peer that speaks without TLS what to do, and close its connection."""
    with suppress(PeerError):
        await stream.send([encode(Bye(TLS_ONLY, "refused"))])
        await stream.aclose()


async def turn_away(stream: trio.SocketStream, why: str) -> None:
    """Tell a connection that there is no room, if it takes that at once, and close it."""
    with trio.move_on_after(TURN_AWAY_SECONDS), suppress(trio.BrokenResourceError):
        await stream.send_all(frame(encode(Bye(why, "busy"))))
    await trio.aclose_forcefully(stream)


def remote_of(stream: trio.SocketStream) -> Address:
    """The other end of a connection; one that is gone already has none."""
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return Address("unknown", 0)
    return Address(host, port)


class Admission:
    """How many connections peers have open, in total and per host. For one trio thread.

    Args:
        total_max: most connections at the same time.
        per_host_max: most of them from one IP address.
    """

    def __init__(self, total_max: int, per_host_max: int = CONNECTIONS_PER_HOST_MAX) -> None:
        self._total_max = total_max
        self._per_host_max = per_host_max
        self._hosts: Counter[str] = Counter()
        self.refused = 0
        """How many connections found no room."""

    @contextmanager
    def admit(self, host: str) -> Iterator[str | None]:
        """Count one connection while it lasts.

        Yields:
            None where there is room, else what is full.
        """
        full = self._full(host)
        if full is not None:
            self.refused += 1
            yield full
            return
        self._hosts[host] += 1
        try:
            yield None
        finally:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    def _full(self, host: str) -> str | None:
        if self._hosts.total() >= self._total_max:
            return f"{self._total_max} connections are open, the most allowed here"
        if self._hosts[host] >= self._per_host_max:
            return f"{self._per_host_max} connections of {host} are open, the most for one host"
        return None


async def _addresses_of(host: str) -> list[str]:
    try:
        found = await trio.socket.getaddrinfo(
            host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(
            f"cannot listen on {host!r}: the name does not resolve ({reason(error)})"
        ) from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def refusal(address: Address, error: OSError) -> UsageError:
    """What to say of an address on which this process cannot listen."""
    if error.errno == errno.EADDRINUSE:
        advice = (
            "the port is in use: stop the program that has it, choose another port, or take port "
            "0 for a free one"
        )
    elif error.errno == errno.EACCES:
        advice = "this user may not take the port: choose one above 1023"
    else:
        advice = reason(error)
    return UsageError(f"cannot listen on {address}: {advice}")
