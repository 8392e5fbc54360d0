"""What one peer has sent and the conversation has not yet taken, in order.

Receiving and decoding happen in a task of their own, ahead of the conversation and within bounds;
beyond them nothing is read, which holds up the peer.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

import trio
from trio.lowlevel import ParkingLot

from replicator.config import INBOX_BYTES_MAX, INBOX_MESSAGES_MAX
from replicator.errors import PeerError, ProtocolError
from replicator.net.transport import FramedStream
from replicator.protocol.codec import decode
from replicator.protocol.effects import Lost, Stop
from replicator.protocol.messages import Message

INLINE_BYTES_MAX = 8 << 10
"""Frames above that are decoded in a worker thread, so that the event loop goes on."""

Item = Message | Lost | Stop
"""The last item is a `Stop` where the peer's bytes are wrong, a `Lost` where there are no more."""


class Inbox:
    """Messages on their way in from one stream. For one trio thread.

    Args:
        stream: used for receiving by nobody else.
        workers: bounds the threads that decode.
        on_arrival: called whenever there is something to take.
        on_part: called whenever a part of a message has come.
    """

    def __init__(
        self,
        stream: FramedStream,
        workers: trio.CapacityLimiter,
        on_arrival: Callable[[], None],
        on_part: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._workers = workers
        self._on_arrival = on_arrival
        self._on_part = on_part
        self._waiting: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._receiver = ParkingLot()
        self._scope = trio.CancelScope()
        self._end = ""

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def take(self) -> Item:
        """The next item; there is one."""
        item, size = self._waiting.popleft()
        self._bytes -= size
        self._receiver.unpark_all()
        return item

    def end(self, reason: str, read_on: float) -> None:
        """Nothing can be sent to the peer any more.

        Args:
            read_on: for how many seconds to read what the peer may have said before it left.
        """
        self._end = reason
        self._scope.deadline = trio.current_time() + read_on

    async def run(self) -> None:
        """Receive until there is nothing more, or cancelled."""
        try:
            with self._scope:
                await self._receive()
            await self._put(Lost(self._end or "the peer closed the connection"))
        except ProtocolError as error:
            await self._put(Stop("protocol", str(error)))
        except PeerError as error:
            await self._put(Lost(self._end or str(error)))

    async def _receive(self) -> None:
        while (payloads := await self._stream.receive()) is not None:
            for payload in payloads:
                await self._put(await self._decoded(payload), len(payload))
            if not payloads:
                self._on_part()

    async def _put(self, item: Item, size: int = 0) -> None:
        while len(self._waiting) >= INBOX_MESSAGES_MAX or self._bytes >= INBOX_BYTES_MAX:
            await self._receiver.park()
        self._waiting.append((item, size))
        self._bytes += size
        self._on_arrival()

    async def _decoded(self, payload: bytes) -> Message:
        if len(payload) <= INLINE_BYTES_MAX:
            return decode(payload)
        return await trio.to_thread.run_sync(partial(decode, payload), limiter=self._workers)
