"""The handle of a client within trio: what `replicator.Replica` has, as far as a daemon tells."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from replicator.core.dots import Dot, parse_dot
from replicator.core.record import Version
from replicator.errors import NotLiveError, UsageError
from replicator.faces.client.answers import Facts, facts_of, text_of, versions_of
from replicator.faces.client.calling import Call, Caller, call_of
from replicator.faces.client.following import AsyncChanges, Following, Origins
from replicator.faces.client.limits import CLIENT_SLICE_SECONDS
from replicator.faces.client.optimistic import change
from replicator.faces.client.retries import READS, Retry
from replicator.faces.client.scanning import AsyncIterator, Pages
from replicator.faces.client.view import AsyncView
from replicator.faces.client.words import (
    key_of,
    lifetime_of,
    milliseconds,
    promises_of,
    seen_of,
    value_of,
)
from replicator.faces.seen import Seen

Choice = Dot | str | bytes | None
Conflict = tuple[bytes, list[Version]]

OF_ONE_CONNECTION = frozenset(
    b"AUTH CLIENT DISCARD EXEC HELLO MONITOR MULTI PSUBSCRIBE PUNSUBSCRIBE QUIT RESET SELECT "
    b"SUBSCRIBE UNSUBSCRIBE UNWATCH WATCH REPL.BACKUP REPL.EXPORT REPL.MORE REPL.RECORDS "
    b"REPL.VERIFY".split()
)
"""Commands that mean something to the connection alone on which they are sent."""


class AsyncClient(AsyncView):
    """Daemons, as one handle. Made by `replicator.connect_trio`; for any number of tasks.

    A call that is cancelled costs its connection, and leaves open whether it has happened.
    """

    def __init__(self, caller: Caller[Any]) -> None:
        super().__init__(caller, b"")

    async def update(
        self,
        key: bytes,
        fn: Callable[[list[Version]], bytes | None],
        *,
        sync: bool | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
    ) -> bytes | None:
        """Read, change and write one key, with no other write at this daemon in between.

        Args:
            fn: gets the live versions, winner first (none for an absent key; one that has expired
                as a delete), and returns the new value, or None to delete. It is called again
                where another write came in between. What it raises is passed on, and nothing is
                written.
            sync, replicas, timeout: see `put`.
            ttl: as in `put`: without it the new value never expires, whatever the old one did.

        Returns:
            What `fn` returned the last time.

        Raises:
            OutcomeUnknown: the answer was lost; it is never tried again.
            ContendedError: others wrote the key each time.
            What `put` raises.
        """
        promises, seconds = promises_of(sync, replicas, timeout)
        return await change(
            self._caller,
            self._full(key),
            fn,
            promises=promises,
            lifetime=lifetime_of(ttl),
            seconds=seconds,
        )

    async def versions(self, key: bytes) -> list[Version]:
        """All live versions of a key, winner first, tombstones included. Raises as `get`."""
        return versions_of(key, await self._caller.call(call_of(b"REPL.VERSIONS", key_of(key))))

    async def resolve(self, key: bytes, choice: Choice, *, seen: Seen | None = None) -> Dot:
        """Settle a conflict, by a write like any other. As `Replica.resolve`.

        Args:
            choice: the dot of a live version, which is written anew; or bytes, a new value; or
                None, which deletes.
            seen: what you have looked at: only these versions are superseded, and the chosen one.

        Returns:
            The dot of the new version.

        Raises:
            NotLiveError: no live version has this dot (any more).
            OutcomeUnknown: the answer was lost.
            What `put` raises.
        """
        words: tuple[bytes, ...] = (b"DELETE",)
        if isinstance(choice, bytes):
            words = (b"VALUE", value_of(choice))
        elif choice is not None:
            words = (b"DOT", str(choice).encode())
        call = call_of(b"REPL.RESOLVE", key_of(key), *words, *seen_of(key, seen))
        try:
            return parse_dot(text_of(await self._caller.call(call)))
        except UsageError as error:
            if words[0] == b"DOT" and "live" in str(error):
                raise NotLiveError(str(error)) from None
            raise

    async def reevaluate(self, timeout: float | None = None) -> bool:
        """Let every key in conflict show what the daemon's resolver makes of it now.

        Args:
            timeout: seconds; None waits to the end, 0 does not wait.

        Returns:
            Whether it is complete; it goes on in the background.
        """
        words, seconds = ((), float("inf")) if timeout is None else _waiting(timeout)
        told = await self._caller.call(call_of(b"REPL.REEVALUATE", *words, seconds=seconds))
        return bool(told[b"complete"])

    def conflicts(self, *, after: bytes | None = None) -> AsyncIterator[Conflict]:
        """Every key in conflict, in key order, with its live versions, winner first.

        Args:
            after: only keys behind this one.
        """
        behind: list[bytes] | None = [] if after is None else [b"AFTER", key_of(after)]

        async def page() -> list[Conflict]:
            nonlocal behind
            found: list[Conflict] = []
            while not found and behind is not None:
                last, told = await self._caller.call(call_of(b"REPL.CONFLICTS", *behind))
                behind = None if last is None else [b"AFTER", last]
                found = [(key, versions_of(key, versions)) for key, versions in told]
            return found

        return AsyncIterator(Pages(page))

    async def digest(self) -> str:
        """A hash, in hex, that is equal on nodes that hold the same data. Reads everything."""
        return text_of(await self._caller.call(call_of(b"REPL.DIGEST", seconds=float("inf"))))

    async def token(self, *, own: bool = False) -> str:
        """A short text that stands for what the daemon has now, to be carried to another one.

        Args:
            own: only what was written at this daemon, which is shorter.
        """
        return text_of(await self._caller.call(call_of(b"REPL.TOKEN", *([b"OWN"] if own else []))))

    async def wait_for(self, token: str, timeout: float | None = None) -> bool:
        """Wait until the daemon has what another one had when it gave `token`.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            Whether it has all of it.

        Raises:
            UsageError: it is no token.
            What `get` raises.
        """
        if timeout is not None:
            milliseconds(timeout)
        word = token.encode(errors="backslashreplace")
        end = float("inf") if timeout is None else self._caller.world.now() + timeout
        while True:
            left = max(min(end - self._caller.world.now(), CLIENT_SLICE_SECONDS), 0.0)
            call = call_of(b"REPL.WAITFOR", word, milliseconds(left), seconds=left)
            if await self._caller.call(call):
                return True
            if self._caller.world.now() >= end:
                return False

    def changes(
        self,
        since: str | None = None,
        *,
        origins: Origins = None,
        follow: bool = True,
        timeout: float | None = None,
    ) -> AsyncChanges:
        """What is written, at the daemon and at peers, as `Replica.changes`: at least once, each
        origin in its order, the latest state of each key.

        Args:
            since: the token behind which to go on; None begins with all there is.
            origins: only writes of "local" or "remote" nodes, or of one origin.
            follow: whether to wait for more at the end.
            timeout: ends when nothing has come for so many seconds; None waits for ever.

        Raises:
            UsageError: `origins` are none, or a timeout without following.
        """
        return AsyncChanges(Following(self._caller, since, origins, follow, timeout))

    async def status(self) -> Facts:
        """The daemon's node and its peers at this moment; the names are those of `Status`."""
        found: Facts = facts_of(await self._caller.call(call_of(b"REPL.STATUS")))
        return found

    async def members(self) -> tuple[Facts, ...]:
        """Every node of the cluster; the names are those of `MemberStatus`."""
        found: tuple[Facts, ...] = facts_of(await self._caller.call(call_of(b"REPL.MEMBERS")))
        return found

    async def sync(self, timeout: float | None = None) -> bool:
        """Have a round with every known peer of the daemon now.

        Args:
            timeout: seconds for all of them; None waits as long as they make progress.

        Returns:
            Whether that succeeded with all of them; True where there is none.
        """
        words, seconds = ((), float("inf")) if timeout is None else _waiting(timeout)
        return bool(await self._caller.call(call_of(b"REPL.SYNC", *words, seconds=seconds)))

    async def join(self, address: str, timeout: float | None = None) -> None:
        """Merge the daemon's cluster with the one of the node at ``host:port``, for good.

        Raises:
            PeerError: it did not come to that.
            OutcomeUnknown: the answer was lost.
        """
        words, seconds = ((), float("inf")) if timeout is None else _waiting(timeout)
        await self._caller.call(call_of(b"REPL.JOIN", address.encode(), *words, seconds=seconds))

    async def forget(self, node: str) -> None:
        """Take a node that is gone for good off the list of members, by its name or origin.

        Raises:
            UsageError: it is no member, it lives, or several have that name.
            OutcomeUnknown: the answer was lost.
        """
        await self._caller.call(call_of(b"REPL.FORGET", node.encode(errors="surrogateescape")))

    async def execute(self, *words: bytes, idempotent: bool = False) -> Any:
        """Run any command of the daemon, and give its reply as it comes.

        Args:
            words: the command and its arguments, for example ``b"STRLEN", b"key"``.
            idempotent: whether doing it twice is the same as once. Only then, or where it is known
                to read only, it is tried again after a lost answer.

        Raises:
            TypeError: a word is no bytes.
            UsageError: the command is about its connection, as MULTI and SUBSCRIBE are: several
                calls share connections. Use `write_batch`, `update` and `changes`.
            OutcomeUnknown: the answer was lost, and it is not idempotent.
        """
        if not words or not all(isinstance(word, bytes) for word in words):
            raise TypeError("a command is one or several words of bytes")
        name = words[0].upper()
        if name in OF_ONE_CONNECTION:
            raise UsageError(
                f"{text_of(name)} is about its connection, and calls of a client share several: "
                "use write_batch(), update() or changes()"
            )
        retry = Retry.ANYWHERE if idempotent or name in READS else Retry.NEVER
        return await self._caller.call(Call((name, *words[1:]), retry))

    @property
    def closed(self) -> bool:
        """Whether the client is closed."""
        return self._caller.chooser.is_closed

    @property
    def endpoint(self) -> str | None:
        """Which daemon it uses at the moment; None between two of them."""
        place = self._caller.chooser.current
        return None if place is None else str(place.endpoint)

    def close(self) -> None:
        """Hang up. Calls in other tasks end as they do; new ones are refused. Idempotent."""
        self._caller.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = " (closed)" if self.closed else ""
        return f"<replicator.{type(self).__name__} of {self.endpoint}{closed}>"


def _waiting(timeout: float) -> tuple[tuple[bytes, ...], float]:
    return (milliseconds(timeout),), timeout
