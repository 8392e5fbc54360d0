"""The source effects of one conversation: a snapshot, read ahead in threads.

LevelDB reads, encoding and sending overlap: up to `QUEUE_CHUNKS_MAX` chunks are read before the
conversation asks for them. So it is with answers to a peer's ranges, each of which is a walk too.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import trio

from replicator.config import CHUNK_BYTES, QUEUE_CHUNKS_MAX
from replicator.core.chunk import Chunk
from replicator.protocol.comparison import AnswerRead, ReadAnswer
from replicator.protocol.effects import (
    ChunkRead,
    CloseSource,
    Effect,
    Event,
    OpenSource,
    ReadChunk,
    SourceOpened,
)
from replicator.store.source import Source
from replicator.store.store import Store

EFFECTS_MAX = 8
"""Source effects that wait; a conversation has at most an open, a read and a close under way."""

CHUNKS_AT_ONCE = QUEUE_CHUNKS_MAX // 2
"""Chunks read by one call of a thread; a small round is one call."""

ITEMS_AT_ONCE_MAX = 64
"""The same where they are small: verdicts, and the records of a few keys."""

T = TypeVar("T")

SourceEffect = OpenSource | ReadChunk | ReadAnswer | CloseSource

SourceItem = Chunk | bytes
"""What a source is read for: records, or verdicts."""


class SourceReader:
    """Carries out the source effects of one conversation, one after the other.

    Args:
        store: where the snapshots come from.
        workers: bounds the threads that read.
        drained: waits until the transport has taken what was queued.
        post: takes the answers.
        failed: takes what the store raised, for one effect instead of an answer.
    """

    def __init__(
        self,
        store: Store,
        workers: trio.CapacityLimiter,
        drained: Callable[[], Awaitable[None]],
        post: Callable[[Event], None],
        failed: Callable[[Effect, Exception], None],
    ) -> None:
        self._store = store
        self._workers = workers
        self._drained = drained
        self._post = post
        self._failed = failed
        self._put, self._effects = trio.open_memory_channel[SourceEffect](EFFECTS_MAX)
        self._source: Source | None = None
        self._walk: _Walk | None = None

    def put(self, effect: SourceEffect) -> None:
        """Queue an effect behind the others."""
        self._put.send_nowait(effect)

    async def run(self) -> None:
        """Carry out effects until cancelled; an open source is closed in the end."""
        async with trio.open_nursery() as nursery:
            try:
                async for effect in self._effects:
                    try:
                        await self._carry_out(effect, nursery)
                    except Exception as error:
                        self._failed(effect, error)
            finally:
                with trio.CancelScope(shield=True):
                    await self._close()

    async def _carry_out(self, effect: SourceEffect, nursery: trio.Nursery) -> None:
        match effect:
            case OpenSource():
                self._source = await self._in_thread(self._store.open_source)
                self._post(SourceOpened(self._source.known, self._source.floor))
            case ReadChunk(lack):
                if self._walk is None:
                    source, self._source = self._opened(), None  # the walk closes it
                    chunks = source.read_all() if lack is None else source.read(lack)
                    self._walk = _Walk(chunks, self._workers, source.close)
                    nursery.start_soon(self._walk.run)
                chunk = await self._walk.next()
                assert not isinstance(chunk, bytes), "a walk is of one kind"
                await self._drained()
                self._post(ChunkRead(chunk))
            case ReadAnswer(parts, moment_ms):
                if self._walk is None:
                    items = self._opened().answer(parts, moment_ms)
                    self._walk = _Walk(items, self._workers, lambda: None)
                    nursery.start_soon(self._walk.run)
                item = await self._walk.next()
                if item is None:
                    self._walk = None  # the source stays open for further answers
                await self._drained()
                self._post(AnswerRead(item))
            case CloseSource():
                await self._close()

    def _opened(self) -> Source:
        assert self._source is not None, "it was opened before"
        return self._source

    async def _close(self) -> None:
        walk, self._walk = self._walk, None
        source, self._source = self._source, None
        if walk is not None:
            await walk.close()
        if source is not None:
            await self._in_thread(source.close)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._workers)


class _Walk:
    """What one walk through a source brings, read ahead in threads.

    Args:
        items: used by nobody else.
        over: called in a thread at the end, or by `close`.
    """

    def __init__(
        self,
        items: Iterator[SourceItem],
        workers: trio.CapacityLimiter,
        over: Callable[[], None],
    ) -> None:
        self._is_done = False
        self._items = items
        self._at_end = over
        self._workers = workers
        self._put, self._ahead = trio.open_memory_channel[SourceItem | Exception](
            QUEUE_CHUNKS_MAX - CHUNKS_AT_ONCE
        )
        self._scope = trio.CancelScope()
        self._over = trio.Event()

    async def run(self) -> None:
        """Read until the end, an error, or `close`."""
        try:
            with self._scope, self._put:
                try:
                    while not self._is_done:
                        for item in await trio.to_thread.run_sync(
                            self._read_some, limiter=self._workers
                        ):
                            await self._put.send(item)
                except Exception as error:
                    await self._put.send(error)
        finally:
            self._over.set()

    async def next(self) -> SourceItem | None:
        """The next item, None after the last; raises what reading it raised."""
        try:
            item = await self._ahead.receive()
        except trio.EndOfChannel:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    async def close(self) -> None:
        """Stop reading: when this returns, no thread uses the source any more."""
        self._scope.cancel()
        await self._over.wait()
        if not self._is_done:
            await trio.to_thread.run_sync(self._release, limiter=self._workers)

    def _read_some(self) -> list[SourceItem]:
        items: list[SourceItem] = []
        size = 0
        for item in self._items:
            items.append(item)
            size += len(item) if isinstance(item, bytes) else item.size_bytes
            if size >= CHUNKS_AT_ONCE * CHUNK_BYTES or len(items) == ITEMS_AT_ONCE_MAX:
                return items
        self._release()
        return items

    def _release(self) -> None:
        self._items = iter(())  # what is dropped here closes its LevelDB iterators
        self._at_end()
        self._is_done = True
