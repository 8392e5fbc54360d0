"""Reading msgpack from a stranger: typed, limited, nothing allocated on the word of a length.

msgpack's own decoder builds whatever the bytes describe: five bytes may open a list of a billion
elements, a thousand nested ones each reserve the space they claim. Here containers are opened one
by one, by their headers alone, where the grammar of a message has one; anything else has to be a
plain value, and its type is checked before it is used.
"""

from collections.abc import Callable
from typing import Any

import msgpack

from replicator.errors import ProtocolError

NIL = b"\xc0"


class Reader:
    """Takes the fields of one message from its bytes, each checked.

    Its methods raise `ProtocolError`, or what msgpack raises for bytes that are none of its own.
    """

    __slots__ = ("_payload", "_unpacker", "next")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        # Containers are opened by their headers only, so none may turn up as an element.
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=len(payload), max_array_len=0, max_map_len=0, max_ext_len=0
        )
        self._unpacker.feed(payload)
        self.next: Callable[[], Any] = self._unpacker.unpack

    def array(self, low: int, high: int, what: str) -> int:
        """Open an array of ``low … high`` elements; how many there are."""
        return within(self._unpacker.read_array_header(), low, high, f"the number of {what}")

    def map(self, high: int, what: str) -> int:
        """Open a map of at most `high` entries; how many there are."""
        return within(self._unpacker.read_map_header(), 0, high, f"the number of {what}")

    def whole(self, low: int, high: int, what: str) -> int:
        value = self.next()
        if type(value) is not int:
            raise ProtocolError(f"{what} is no whole number")
        return within(value, low, high, what)

    def blob(self, low: int, high: int, what: str) -> bytes:
        value = self.next()
        if type(value) is not bytes:
            raise ProtocolError(f"{what} is no byte string")
        within(len(value), low, high, f"the length of {what}")
        return value

    def blobs(self, count: int, high: int, what: str) -> list[bytes]:
        """The next `count` byte strings of at most `high` bytes each."""
        step = self.next
        values = [step() for _ in range(count)]
        if any(type(value) is not bytes or len(value) > high for value in values):
            raise ProtocolError(f"one of the {what} is no byte string of at most {high} bytes")
        return values

    def text(self, high: int, what: str) -> str:
        value = self.next()
        if type(value) is not str:
            raise ProtocolError(f"{what} is no text")
        within(len(value.encode()), 0, high, f"the length of {what}")
        return value

    def flag(self, what: str) -> bool:
        value = self.next()
        if type(value) is not bool:
            raise ProtocolError(f"{what} is neither true nor false")
        return value

    def skip_nil(self) -> bool:
        """Whether the next field is nil, which is then taken."""
        start = self._unpacker.tell()
        if self._payload[start : start + 1] != NIL:
            return False
        self._unpacker.skip()
        return True

    def skip(self, count: int) -> None:
        for _ in range(count):
            self._unpacker.skip()

    def position(self) -> int:
        return self._unpacker.tell()


def within(value: int, low: int, high: int, what: str) -> int:
    """The value, if it lies within ``low … high``.

    Raises:
        ProtocolError: it does not.
    """
    if not low <= value <= high:
        raise ProtocolError(f"{what} is {value}, not within {low} and {high}")
    return value
