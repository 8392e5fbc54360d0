"""What one conversation is still to send, in order.

Encoding and sending happen in a task of their own, so that a peer that reads slowly holds up
nothing but what waits for `drained`: the next chunk, and announcements.
"""

from collections import deque
from collections.abc import Callable

import trio
from trio.lowlevel import ParkingLot

from replicator.errors import PeerError
from replicator.net.transport import FramedStream
from replicator.protocol.codec import encode
from replicator.protocol.messages import Message, Records

INLINE_BYTES_MAX = 8 << 10
"""Chunks above that are encoded in a worker thread, so that the event loop goes on."""


class Outbox:
    """Messages on their way out of one stream. For one trio thread.

    Args:
        stream: used for sending by nobody else.
        workers: bounds the threads that encode.
        on_drained: called whenever all that was queued is taken.
    """

    def __init__(
        self,
        stream: FramedStream,
        workers: trio.CapacityLimiter,
        on_drained: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._workers = workers
        self._on_drained = on_drained
        self._waiting: deque[Message] = deque()
        self._broken = False
        self._sender = ParkingLot()
        self._watchers = ParkingLot()

    def __len__(self) -> int:
        """How many messages the transport has not yet taken."""
        return len(self._waiting)

    def put(self, message: Message) -> None:
        """Queue a message behind the others; forget it where the connection is gone."""
        if not self._broken:
            self._waiting.append(message)
            self._sender.unpark_all()

    async def drained(self) -> None:
        """Return when the transport has taken all that was queued; never where it broke."""
        while self._waiting or self._broken:
            await self._watchers.park()

    async def run(self) -> None:
        """Send what is queued, until cancelled.

        Raises:
            PeerError: as `FramedStream.send`.
        """
        try:
            while True:
                while not self._waiting:
                    await self._sender.park()
                await self._send_all()
        except PeerError:
            self._broken = True
            self._waiting.clear()
            raise

    async def _send_all(self) -> None:
        while self._waiting:
            messages = list(self._waiting)
            await self._stream.send([await self._encoded(message) for message in messages])
            for _ in messages:
                self._waiting.popleft()
        self._watchers.unpark_all()
        self._on_drained()

    async def _encoded(self, message: Message) -> bytes:
        if type(message) is Records and message.chunk.size_bytes > INLINE_BYTES_MAX:
            return await trio.to_thread.run_sync(encode, message, limiter=self._workers)
        return encode(message)
