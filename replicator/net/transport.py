"""Frames over a byte stream, with limits on what the other side may do to us.

A stream is anything that trio calls one: a TCP socket, TLS over it, or a pair in memory. Whoever
is too slow, sends too much or breaks off in the midst of a frame is reported as a `PeerError`
that says so; afterwards the stream is only good for closing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from replicator.errors import PeerError, ProtocolError
from replicator.net.address import Address
from replicator.net.tls import PeerCertificate
from replicator.protocol.frames import FrameReader, frame

RECEIVE_BYTES = 64 << 10
"""Asked of the socket at once."""

SEND_BYTES = 256 << 10
"""Handed to the socket at once: a peer must take that much within the time limit."""

FAREWELL_SECONDS = 1.0
"""How long a closing stream reads on, so that the last words reach the other side."""


class StalledError(PeerError):
    """The peer is there and does not read; what it says meanwhile is of no interest."""


class FramedStream:
    """Whole frames over one connection. One task may send while another receives.

    Args:
        stream: the connection; closed by `aclose`.
        remote: the other end.
        patience: seconds in which the peer must take `SEND_BYTES`.
        certificate: what the peer has shown; None without TLS.

    Attributes:
        remote, certificate: the same.
        bytes_in, bytes_out: what has come and gone so far, frames and all, without TLS's own.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        remote: Address,
        *,
        patience: float,
        certificate: PeerCertificate | None = None,
    ) -> None:
        self.remote = remote
        self.certificate = certificate
        self._stream = stream
        self._patience = patience
        self._reader = FrameReader()
        self._is_stalled = False
        self.bytes_in = 0
        self.bytes_out = 0

    async def send(self, payloads: Sequence[bytes]) -> None:
        """Send one frame for each payload.

        Raises:
            StalledError: the peer has stopped reading.
            PeerError: the connection is gone.
        """
        data = memoryview(b"".join(map(frame, payloads)))
        with _lost("sending"):
            for start in range(0, len(data), SEND_BYTES):
                with trio.move_on_after(self._patience) as limit:
                    await self._stream.send_all(data[start : start + SEND_BYTES])
                if limit.cancelled_caught:
                    self._is_stalled = True
                    raise StalledError(f"the peer has read nothing for {self._patience:g} s")
        self.bytes_out += len(data)

    async def receive(self) -> list[bytes] | None:
        """Take in what has come.

        Returns:
            The payloads that are complete now, perhaps none; None at the end of the stream.

        Raises:
            ProtocolError: a frame is too large, or the stream ends in the midst of one.
            PeerError: the connection is gone.
        """
        with _lost("receiving"):
            data = await self._stream.receive_some(RECEIVE_BYTES)
        if data:
            self.bytes_in += len(data)
            return self._reader.feed(data)
        if self._reader.partial_bytes:
            raise ProtocolError("the connection ended in the midst of a frame")
        return None

    async def aclose(self) -> None:
        """Close, letting what was sent arrive: reads on for a moment, and forgets what comes."""
        if self._is_stalled:
            await self.aclose_forcefully()
            return
        with trio.move_on_after(FAREWELL_SECONDS):
            try:
                line = self._line()
                if isinstance(line, trio.abc.HalfCloseableStream):
                    await line.send_eof()
                    while await self._stream.receive_some(RECEIVE_BYTES):
                        pass
                await self._stream.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        await self.aclose_forcefully()

    def _line(self) -> trio.abc.Stream:
        """What is half closed: beneath TLS, whose own farewell would wait for the peer's."""
        is_safe = isinstance(self._stream, trio.SSLStream)
        return self._stream.transport_stream if is_safe else self._stream  # type: ignore[attr-defined]

    async def aclose_forcefully(self) -> None:
        """Close at once, whatever is on its way."""
        await trio.aclose_forcefully(self._stream)


@contextmanager
def _lost(doing: str) -> Iterator[None]:
    """Turn what trio says of a dead connection into what a person can read."""
    try:
        yield
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        detail = f": {cause.strerror}" if isinstance(cause, OSError) and cause.strerror else ""
        raise PeerError(f"the connection was lost while {doing}{detail}") from error
    except trio.ClosedResourceError as error:
        raise PeerError("the connection was closed on this side") from error
