"""The keys of a client, all of them or those behind a prefix: within trio.

`replicator.faces.client.blocking` has the same for threads, out of these very methods.
"""

from collections.abc import Iterable
from typing import Any

from replicator.faces.client.batch import AsyncWriteBatch
from replicator.faces.client.calling import Call, Caller, call_of
from replicator.faces.client.retries import Retry
from replicator.faces.client.scanning import AsyncIterator, Pages, Scan
from replicator.faces.client.words import (
    key_of,
    lifetime_of,
    promises_of,
    seen_of,
    value_of,
)
from replicator.faces.seen import Seen


class AsyncView:
    """What a client and its prefixed views have in common. For any number of tasks."""

    def __init__(self, caller: Caller[Any], within: bytes) -> None:
        self._caller = caller
        self._within = within

    async def get(self, key: bytes, default: Any = None) -> Any:
        """The value of `key`, or `default` where there is none.

        Raises:
            TypeError: the key is no bytes.
            ReservedKeyError: the key is too large.
            UnreachableError: no daemon answers.
            StaleError: none that answers has what this client has written elsewhere.
            RuntimeError: the client is closed.
        """
        value = await self._caller.call(call_of(b"GET", self._full(key)))
        return default if value is None else value

    async def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of several keys, None where there is none, at once. Raises as `get`."""
        full = [self._full(key) for key in keys]
        if not full:
            return []
        found: list[bytes | None] = await self._caller.call(call_of(b"MGET", *full))
        return found

    async def put(
        self,
        key: bytes,
        value: Any,
        *,
        sync: bool | None = None,
        seen: Seen | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
    ) -> None:
        """Set a key. After a lost answer it is tried again (`replicator.faces.client.retries`).

        Args:
            value: anything with a buffer.
            sync: True returns when it survives a power cut at the daemon; None follows the
                daemon's setting.
            seen: what `versions` gave when the key was read: these alone are superseded. An empty
                list supersedes nothing, None everything.
            replicas: return only when so many peers of the daemon hold it on disk, from 1 on.
            timeout: seconds to wait for that; None waits as long as it takes.
            ttl: seconds, from when the daemon has it, after which the key shows nothing any more;
                None is never.

        Raises:
            TypeError: an argument is of another type.
            ReservedKeyError: key or value are too large.
            ExpiryError: the time to live is out of range.
            UsageError: the key is reserved, or an argument makes no sense.
            NotReplicated: it is in, and not at so many peers in time; it stays.
            OutcomeUnknown: the answer was lost, and no daemon was there to try it again.
            StorageError: the daemon's LevelDB refuses it.
            What `get` raises.
        """
        full, content = self._full(key), value_of(value)
        promises, seconds = promises_of(sync, replicas, timeout)
        careful = (*promises, *seen_of(full, seen))
        name = b"REPL.PUT" if careful else b"SET"
        await self._caller.call(
            call_of(name, full, content, *lifetime_of(ttl), *careful, seconds=seconds)
        )

    async def delete(
        self,
        key: bytes,
        *,
        sync: bool | None = None,
        seen: Seen | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Delete a key, also one that is not there: a peer may have it. See `put`."""
        full = self._full(key)
        promises, seconds = promises_of(sync, replicas, timeout)
        await self._caller.call(
            call_of(b"REPL.DELETE", full, *promises, *seen_of(full, seen), seconds=seconds)
        )

    def write_batch(
        self,
        *,
        transaction: bool = False,
        sync: bool | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
    ) -> AsyncWriteBatch:
        """A batch: its operations become one commit, at the daemon and at every reader.

        Args:
            transaction: whether a block that raises leaves the batch unwritten.
            sync, replicas, timeout: as in `put`.
        """
        return AsyncWriteBatch(self._caller, self._within, transaction, sync, replicas, timeout)

    def iterator(
        self,
        *,
        reverse: bool = False,
        start: bytes | None = None,
        stop: bytes | None = None,
        include_start: bool = True,
        include_stop: bool = False,
        prefix: bytes | None = None,
        include_key: bool = True,
        include_value: bool = True,
    ) -> AsyncIterator[Any]:
        """An iterator over a range of keys; the arguments are plyvel's.

        It reads page by page: a key that is written meanwhile may show its old or its new value.

        Raises:
            TypeError: an argument is of another type, or `prefix` comes with a start or stop.
        """
        scan = Scan(
            self._caller,
            self._within,
            reverse=reverse,
            start=start,
            stop=stop,
            include_start=include_start,
            include_stop=include_stop,
            prefix=prefix,
            include_key=include_key,
            include_value=include_value,
        )
        return AsyncIterator(Pages(scan.page))

    def __aiter__(self) -> AsyncIterator[tuple[bytes, bytes]]:
        return self.iterator()

    async def expire(self, key: bytes, ttl: float) -> bool:
        """Let what a key shows go in `ttl` seconds. A write like any other: it supersedes.

        Returns:
            Whether it was written: not where the key shows nothing.

        Raises:
            OutcomeUnknown: the answer was lost, and the daemon is gone.
            What `put` raises.
        """
        full = self._full(key)
        return bool(await self._caller.call(call_of(b"PEXPIRE", full, lifetime_of(ttl)[1])))

    async def persist(self, key: bytes) -> bool:
        """Let a key show for good what it shows. A write like any other.

        Returns:
            Whether it was written: not where the key shows nothing, or never expires anyway.

        Raises:
            As `expire`.
        """
        return bool(await self._caller.call(call_of(b"PERSIST", self._full(key))))

    async def ttl(self, key: bytes) -> float | None:
        """For how many seconds more a key shows what it shows, by the daemon's wall clock.

        Returns:
            Seconds; 0.0 where the key shows nothing; None where it never expires.

        Raises:
            As `get`.
        """
        left = await self._caller.call(call_of(b"PTTL", self._full(key)))
        return None if left == -1 else max(left, 0) / 1000

    async def set_if_absent(self, key: bytes, value: Any, *, ttl: float | None = None) -> bool:
        """Set a key that shows nothing. Decided by one daemon: at another one somebody may do the
        same, and then the two conflict.

        Returns:
            Whether it was set.

        Raises:
            OutcomeUnknown: the answer was lost.
            What `put` raises.
        """
        words = (b"SET", self._full(key), value_of(value), *lifetime_of(ttl), b"NX")
        return await self._caller.call(Call(words, Retry.NEVER)) is not None

    async def incr(self, key: bytes, by: int = 1) -> int:
        """Add to a number that is written as decimal digits; a key that shows nothing counts as 0.

        Decided by one daemon: what is added at two of them at the same moment conflicts, and one
        of the two sums is shown.

        Returns:
            The sum.

        Raises:
            TypeError: `by` is no whole number.
            UsageError: the key shows something else than a whole number of 64 bits, or the sum
                would be.
            OutcomeUnknown: the answer was lost.
            What `put` raises.
        """
        if isinstance(by, bool) or not isinstance(by, int):
            raise TypeError(f"by must be a whole number, not {type(by).__name__}")
        total: int = await self._caller.call(call_of(b"INCRBY", self._full(key), b"%d" % by))
        return total

    def prefixed_db(self, prefix: bytes) -> "AsyncPrefixedView":
        """The keys that begin with `prefix`, seen without it."""
        return AsyncPrefixedView(self._caller, self._within + key_of(prefix))

    def _full(self, key: bytes) -> bytes:
        return key_of(self._within + key_of(key)) if self._within else key_of(key)


class AsyncPrefixedView(AsyncView):
    """A client's keys behind a prefix, seen without it. For any number of tasks."""

    @property
    def prefix(self) -> bytes:
        """What is put before every key."""
        return self._within

    def __repr__(self) -> str:
        return f"<replicator.AsyncPrefixedView with prefix {self._within!r}>"
