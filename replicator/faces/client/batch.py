"""The write batch of a client: one request, which is one commit at the daemon."""

from types import TracebackType
from typing import Any, Self

from replicator.errors import UsageError
from replicator.faces.client.calling import Caller, call_of
from replicator.faces.client.words import key_of, lifetime_of, promises_of, value_of
from replicator.faces.redis.limits import RESP_ARGUMENTS_MAX, RESP_REQUEST_BYTES_MAX

REQUEST_BYTES_SPARE = 1024


class Operations:
    """What both kinds of batch share: operations in order. For one thread or task at a time.

    Args:
        within: what is put before the keys.
        transaction: whether a block that raises leaves the batch unwritten.
        sync, replicas, timeout: see `AsyncView.put`.
    """

    def __init__(
        self,
        caller: Caller[Any],
        within: bytes,
        transaction: bool,
        sync: bool | None,
        replicas: int | None,
        timeout: float | None,
    ) -> None:
        if not isinstance(transaction, bool):
            raise TypeError(f"transaction must be True or False, not {type(transaction).__name__}")
        self._caller = caller
        self._within = within
        self._transaction = transaction
        self._promises, self._seconds = promises_of(sync, replicas, timeout)
        self._words: list[bytes] = []
        self._size = 0

    def put(self, key: bytes, value: Any, *, ttl: float | None = None) -> None:
        """Set a key. The value is copied now.

        Args:
            ttl: seconds from when the batch is written; None is never.

        Raises:
            TypeError: the key is no bytes, the value has no buffer, or `ttl` is no number.
            ReservedKeyError: key or value are too large.
            ExpiryError: the time to live is out of range.
        """
        full, content = key_of(self._within + key_of(key)), value_of(value)
        if ttl is None:
            self._add(b"PUT", full, content)
        else:
            self._add(b"PUTPX", full, content, lifetime_of(ttl)[1])

    def delete(self, key: bytes) -> None:
        """Delete a key. Raises as `put`."""
        self._add(b"DELETE", key_of(self._within + key_of(key)))

    def clear(self) -> None:
        """Forget all operations so far."""
        self._words.clear()
        self._size = 0

    def append(self, source: "Operations") -> None:
        """Add the operations of another batch of a client behind the own ones.

        Raises:
            TypeError: `source` is no such batch.
        """
        if not isinstance(source, Operations):
            raise TypeError(f"cannot append {type(source).__name__}: only a batch of a client")
        self._add(*source._words)

    def approximate_size(self) -> int:
        """How many bytes of keys and values it has."""
        return self._size

    def _add(self, *words: bytes) -> None:
        self._words += words
        self._size += sum(map(len, words))

    async def _write(self) -> None:
        if not self._words:
            return
        words = (b"REPL.BATCH", *self._promises, *self._words)
        if (
            len(words) > RESP_ARGUMENTS_MAX
            or self._size > RESP_REQUEST_BYTES_MAX - REQUEST_BYTES_SPARE
        ):
            raise UsageError(
                f"a batch of {self._size} bytes in {len(words)} words: a daemon takes at most "
                f"{RESP_REQUEST_BYTES_MAX} bytes in {RESP_ARGUMENTS_MAX} words at once; write "
                "several batches"
            )
        await self._caller.call(call_of(*words, seconds=self._seconds))


class AsyncWriteBatch(Operations):
    """Operations that become one commit: all of them or none. For one task at a time.

    As an asynchronous context manager it is written at the end, even where the block raised,
    unless it is a transaction, or the block was cancelled.
    """

    async def write(self) -> None:
        """Commit. Does nothing where there are no operations. Raises as `AsyncView.put`."""
        await self._write()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not (self._transaction and exc_type is not None):
            await self._write()
        self.clear()
