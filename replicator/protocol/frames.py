"""Frames: a payload's length as 4 bytes, big-endian, then the payload.

Example: the payload ``91 08`` (a `Ping`) travels as ``00000002 9108``.
"""

from replicator.config import FRAME_BYTES_MAX, GREETING_BYTES_MAX
from replicator.errors import ProtocolError

LENGTH_BYTES = 4

TLS_BEGINNINGS = (0x1503, 0x1603)
"""How TLS begins, an alert or a handshake; as a length it is above every limit."""


def frame(payload: bytes) -> bytes:
    """The payload as it travels."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream of bytes, in whatever portions, into payloads.

    It holds less than one frame, and nothing is reserved for a frame before its bytes come.

    Args:
        limit: largest payload accepted, in bytes.
        first_limit: the same for the first payload, which is read from a stranger.
    """

    __slots__ = ("_buffer", "_first_limit", "_limit")

    def __init__(self, limit: int = FRAME_BYTES_MAX, first_limit: int = GREETING_BYTES_MAX) -> None:
        self._limit = limit
        self._first_limit: int | None = first_limit
        self._buffer = bytearray()

    @property
    def partial_bytes(self) -> int:
        """How many bytes of a frame have come that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take in what has come.

        Returns:
            The payloads that are complete now.

        Raises:
            ProtocolError: a frame is empty or larger than the limit; the stream is of no use any
                more. Payloads before it in the same portion are lost with it.
        """
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        place = 0
        while len(buffer) - place >= LENGTH_BYTES:
            start = place + LENGTH_BYTES
            size = int.from_bytes(buffer[place:start], "big")
            self._check(size)
            if len(buffer) - start < size:
                break
            place = start + size
            payloads.append(bytes(buffer[start:place]))
            self._first_limit = None
        del buffer[:place]
        return payloads

    def _check(self, size: int) -> None:
        limit = self._limit if self._first_limit is None else min(self._first_limit, self._limit)
        if size >> 16 in TLS_BEGINNINGS:
            raise ProtocolError(
                "the peer speaks TLS and this node does not: give it certificates of the cluster "
                "([tls] in its configuration)"
            )
        if not 1 <= size <= limit:
            raise ProtocolError(
                f"a frame of {size} bytes, where 1 to {limit} are allowed: the peer speaks another "
                "protocol, or sends too much"
            )
