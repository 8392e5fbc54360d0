"""Sending what happens to every page that is open, as server-sent events.

A message is encoded once for all of them. A page that does not keep up is let go: its connection
ends, it comes back by itself and begins anew with the whole state. So no message needs to be kept
for anybody, and nobody is ever told half of it.

Reference: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec
import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from replicator.faces.http.limits import (
    WATCHER_HEARTBEAT_SECONDS,
    WATCHER_MESSAGES_MAX,
    WATCHERS_MAX,
)

HEARTBEAT = b": still here\n\n"


def message(kind: str, content: object) -> bytes:
    """One server-sent event."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(content))


class Broadcast:
    """All pages that are open. For one trio loop.

    Attributes:
        dropped: pages that were let go because they did not keep up.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._pages: dict[trio.MemorySendChannel[bytes], bool] = {}
        self._is_over = False

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def is_full(self) -> bool:
        """Whether there is room for no further page."""
        return len(self._pages) >= WATCHERS_MAX

    @property
    def sees_data(self) -> bool:
        """Whether any of them may see keys and values."""
        return any(self._pages.values())

    @contextmanager
    def page(self, sees_data: bool) -> Iterator[trio.MemoryReceiveChannel[bytes]]:
        """A page that is open as long as the context is.

        Args:
            sees_data: whether it may see keys and values.
        """
        send, receive = trio.open_memory_channel[bytes](WATCHER_MESSAGES_MAX)
        if self._is_over:
            send.close()
        else:
            self._pages[send] = sees_data
        try:
            yield receive
        finally:
            self._pages.pop(send, None)
            send.close()
            receive.close()

    def send(self, text: bytes, *, to_data: bool | None = None) -> None:
        """Send a message to all, or only to those who may or may not see data."""
        for channel, sees_data in list(self._pages.items()):
            if to_data is not None and sees_data is not to_data:
                continue
            try:
                channel.send_nowait(text)
            except trio.WouldBlock:
                self.dropped += 1
                del self._pages[channel]
                channel.close()

    def let_go(self) -> None:
        """Let go of those who may see data: who may has changed, and they are to ask anew."""
        for channel in [one for one, sees_data in self._pages.items() if sees_data]:
            del self._pages[channel]
            channel.close()

    def end(self) -> None:
        """End all of them, and take no more."""
        self._is_over = True
        for channel in self._pages:
            channel.close()
        self._pages.clear()


async def next_message(messages: trio.MemoryReceiveChannel[bytes]) -> bytes | None:
    """The next message for a page, or something where there is none for long; None at the end."""
    with trio.move_on_after(WATCHER_HEARTBEAT_SECONDS):
        try:
            return await messages.receive()
        except trio.EndOfChannel:
            return None
    return HEARTBEAT


class EventStream(Response):
    """An answer that goes on until the page leaves or is let go.

    Args:
        broadcast: what the page is told, behind the first message.
        first: gives the message to begin with.
        sees_data: whether it may see keys and values.
    """

    def __init__(
        self, broadcast: Broadcast, first: Callable[[], Awaitable[bytes]], sees_data: bool
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self._broadcast = broadcast
        self._first = first
        self._sees_data = sees_data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_left, receive, nursery.cancel_scope)
                await self._tell(send)
                nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, send: Send) -> None:
        with self._broadcast.page(self._sees_data) as messages:
            text: bytes | None = await self._first()
            with suppress(trio.WouldBlock, trio.EndOfChannel):
                while True:
                    messages.receive_nowait()  # older than what it begins with
            while text is not None:
                await send({"type": "http.response.body", "body": text, "more_body": True})
                text = await next_message(messages)


async def _cancel_when_left(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
