"""The handle that `replicate` gives: plyvel's shape, and what replication adds to it."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Version
from replicator.core.token import read_token, write_token
from replicator.faces.batch import check_flag
from replicator.faces.changes import Changes, Origins
from replicator.faces.lease import leased
from replicator.faces.peering import Peering
from replicator.faces.seen import Seen, seen_by
from replicator.faces.ttl import expiry_after
from replicator.faces.verification import Verification
from replicator.peers.replicated import check_timeout
from replicator.release import software_version
from replicator.store.backup import BackupProgress, back_up
from replicator.store.conflicts import Choice, Standing
from replicator.store.growth import wait_until_known
from replicator.store.listing import Listed, listed
from replicator.store.summaries import Summaries
from replicator.store.verify.scan import Scan

Item = TypeVar("Item")

Conflict = tuple[bytes, list[Version]]
"""A key and its live versions, winner first."""


class Replica(Peering):
    """A replicated ``plyvel.DB`` or ``PrefixedDB``. Made by `replicate`; thread-safe.

    It has all methods of ``plyvel.DB``, also where it wraps a ``PrefixedDB``: those that
    plyvel's ``PrefixedDB`` lacks then keep to the prefix, but for `get_property`, which tells of
    the whole LevelDB. Closing it closes a wrapped ``DB``, never the ``DB`` behind a wrapped
    ``PrefixedDB``. A handle that nobody refers to any more is closed, as plyvel's is; so is one
    that is open when the program ends.

    Keys that begin with ``FF FF FF FF`` belong to the replicator: no read shows them, and writing
    them raises ReservedKeyError.
    """

    __slots__ = ()

    # Data

    def update(
        self,
        key: bytes,
        fn: Callable[[list[Version]], bytes | None],
        *,
        sync: bool | None = None,
        replicas: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
    ) -> bytes | None:
        """Read, change and write one key, with no other write on this node in between.

        Args:
            fn: gets the live versions, winner first (none for an absent key; one that has expired
                as a delete), and returns the new value, or None to delete. Other writers wait
                while it runs: keep it short. What it raises is passed on, and nothing is written.
            sync, replicas, timeout: see `put`.
            ttl: as in `put`: without it the new value never expires, whatever the old one did.

        Returns:
            What `fn` returned.

        Raises:
            UsageError: `fn` writes to this handle or closes it.
            NotReplicated: as by `put`.
        """
        self._check_waiting(replicas, timeout)
        value, dot = self._update(key, fn, sync, ttl)
        self._wait_for_peers(KnownSet.of(dot), replicas, timeout)
        return value

    @leased
    def _update(
        self,
        key: bytes,
        fn: Callable[[list[Version]], bytes | None],
        sync: bool | None,
        ttl: float | None,
    ) -> tuple[bytes | None, Dot]:
        check_flag("sync", sync)
        store = self._engine.store
        expiry_ms = None if ttl is None else expiry_after(ttl, store.wall_ms())
        return store.update_with(key, fn, sync=sync, expiry_ms=expiry_ms)

    @leased
    def versions(self, key: bytes) -> list[Version]:
        """All live versions of a key, winner first, tombstones included.

        Where the resolver merges, the key shows what none of them holds; then they are in dot
        order.
        """
        return self._engine.store.versions(key)

    @leased
    def resolve(
        self, key: bytes, choice: Choice, *, seen: Seen | None = None, sync: bool | None = None
    ) -> Dot:
        """Settle a conflict, by a write like any other: at every node that gets it the conflict is
        over.

        Args:
            choice: the dot of a live version (`Version.dot`, or ``"origin:seq"`` as text), which is
                written anew with its value and expiry, or deletes where it is a tombstone; or
                bytes, a new value; or None, which deletes.
            seen: what you have looked at: versions, as `versions` gave them, or their dots. Only
                these are superseded, and the chosen one; a version that has come since stays beside
                the new one, in conflict with it. None supersedes whatever is live at this moment.
            sync: see `put`.

        Returns:
            The dot of the new version; where the chosen one is the only one anyway, its own, and
            nothing is written.

        Raises:
            NotLiveError: no live version has this dot (any more); the message names those that are.
            UsageError: the choice is text that is no dot, or `seen` holds something else.
            What `put` raises.
        """
        check_flag("sync", sync)
        dots, clock = seen_by(key, seen)
        return self._engine.store.resolve(key, choice, seen=dots, seen_clock=clock, sync=sync)

    def reevaluate(self, timeout: float | None = None) -> bool:
        """Let every key in conflict show what the resolver makes of it now.

        Happens by itself when a store is opened with a resolver of another name or mode. Call it
        when the code of one has changed, or when it has failed for a while. It runs in the
        background, also after the timeout, and across restarts; `status` tells how far it is.

        Args:
            timeout: seconds; None waits to the end, 0 does not wait.

        Returns:
            Whether it is complete.

        Raises:
            UsageError: called in the function given to `update`.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        return self._engine.store.reevaluate(timeout)

    def conflicts(self, *, after: bytes | None = None) -> Iterator[Conflict]:
        """Every key in conflict, in key order, with its live versions, winner first.

        As of the first step. A later write of the key settles it, as `resolve` does.

        Args:
            after: only keys behind this one.
        """
        for found in self._standings(after):
            yield found.key, list(found.versions)

    def _standings(self, after: bytes | None) -> Iterator[Standing]:
        return self._stepped(self._engine.store.standings(after))

    def records(self, start: bytes = b"", stop: bytes | None = None) -> Generator[Listed]:
        """Every record of a range of keys, deleted ones included, in key order.

        As of the first step.

        Args:
            start, stop: the first key, and the first one that does not belong to it.
        """
        return self._stepped(listed(self._engine.store, start, stop))

    @leased
    def verify(self) -> Verification:
        """Check every row of the replicator, and every value against its checksum, as of now.

        Iterate over what comes back for the faults (`replicator.store.verify.faults.Fault`). Reads
        everything; nothing is written and nobody waits. Mended is a stopped directory:
        ``replicator verify DIR --repair``.

        Raises:
            RuntimeError: the handle is closed.
        """
        store = self._engine.store
        return Verification(self, Scan(store.db.snapshot(), store.prefix))

    @leased
    def summaries(self) -> Summaries:
        """All records of this moment without their values, to be compared with another node's."""
        return Summaries.of(self._engine.store)

    def backup(
        self,
        path: str | os.PathLike[str],
        *,
        compress: bool = False,
        since: str | os.PathLike[str] | None = None,
        progress: Callable[[BackupProgress], object] | None = None,
    ) -> BackupProgress:
        """Write a backup of this moment into one file; nobody waits meanwhile.

        `replicator.restore` and ``replicator restore`` make a directory out of it.

        Args:
            path: of the file. Nothing may be there; it appears when it is complete.
            compress: whether to deflate it.
            since: an earlier backup, full or an increment; then the file holds what has changed.
            progress: told now and then how far it is. What it raises ends the backup.

        Returns:
            What was written.

        Raises:
            UsageError: `path` is taken or lies in the LevelDB's directory; `since` is of another
                store, or of writes that this one has lost.
            StorageError: the file cannot be written, or `since` not read.
            RuntimeError: the handle is closed.
        """
        steps = self.backup_steps(path, compress=compress, since=since)
        for step in steps:
            if progress is not None:
                progress(step)
        return step

    def backup_steps(
        self,
        path: str | os.PathLike[str],
        *,
        compress: bool = False,
        since: str | os.PathLike[str] | None = None,
    ) -> Generator[BackupProgress]:
        """`backup` in steps of bounded length; closed before the last, it leaves nothing."""
        steps = back_up(
            self._engine.store,
            Path(path),
            node=self._engine.node.name,
            version=software_version(),
            compress=compress,
            since=None if since is None else Path(since),
        )
        for step in self._stepped(steps):
            yield step
            if step.is_done:  # whatever happens to the handle now
                return

    def _stepped(self, found: Iterator[Item]) -> Generator[Item]:
        """The items of a generator that holds a snapshot until it is closed."""
        assert isinstance(found, Generator)
        held = self._engine.held
        held.add(found)
        try:
            while (item := self._next(found)) is not None:
                yield item
        finally:
            held.discard(found)
            self._release(found)

    @leased
    def _next(self, found: Iterator[Item]) -> Item | None:
        return next(found, None)

    @leased
    def _standing(self, key: bytes) -> Standing:
        return self._engine.store.standing(key)

    def _names(self) -> dict[int, str]:
        """What the nodes behind origins call themselves."""
        self._check_open()
        return self._engine.node.names()

    @leased
    def digest(self) -> str:
        """A hash, in hex, that is equal on nodes that hold the same data. Reads everything."""
        return self._engine.store.digest()

    @leased
    def known(self) -> KnownSet:
        """Which writes of which origins this node holds: a copy."""
        return self._engine.store.known()

    # Guarantees

    def token(self, *, own: bool = False) -> str:
        """A short text that stands for what this node has now, to be carried to another one.

        Args:
            own: only what was written here, which is shorter.

        Raises:
            UsageError: see `replicator.core.token.write_token`.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        store = self._engine.store
        return write_token(store.written() if own else store.known())

    def wait_for(self, token: str, timeout: float | None = None) -> bool:
        """Wait until this node has what another one had when it gave `token`: whoever has written
        or read there, reads here what is no older.

        Nobody is dialled for that; it waits for what comes as it always does.

        Args:
            timeout: seconds; None waits as long as it takes. What a power cut or a fork has taken
                from the other node in the meantime, before anybody had it, never comes.

        Returns:
            Whether it has all of it.

        Raises:
            UsageError: it is no token, or called in the function given to `update`.
            RuntimeError: the handle is closed, or was meanwhile.
        """
        self._check_open()
        check_timeout(timeout)
        return wait_until_known(self._engine.store, read_token(token), timeout)

    def changes(
        self,
        since: str | None = None,
        *,
        origins: Origins = None,
        follow: bool = True,
        timeout: float | None = None,
    ) -> Changes:
        """What is written, here and at peers: at least once, each origin in its order, the latest
        state of each key. See `Changes` and `replicator.store.feed.Change`.

        Args:
            since: the token behind which to go on; None begins with all there is.
            origins: only writes of some origins, as hex digits; "local" for this node's own under
                its present origin, "remote" for all others.
            follow: whether to wait for more at the end.
            timeout: ends when nothing has come for so many seconds; None waits for ever.

        Raises:
            UsageError: `since` is no token, `origins` are none, or a timeout without following.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        return Changes(self, since, origins, follow, timeout)
