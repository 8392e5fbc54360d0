"""Conflicts that are open: how many, and the first of them for the page.

The store keeps no list of them, so they are counted by reading the log index, in small steps that
take `CONFLICTS_SCAN_SHARE` of one core at most, while somebody looks and something has changed. In
between the listed ones are looked at again whenever they are told, and keys that the `conflict`
event names are listed at once.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from replicator.core.clock import to_ms
from replicator.core.resolve import is_conflict
from replicator.errors import StorageError
from replicator.faces.cli.output import jsonable
from replicator.faces.handle import Replica
from replicator.faces.http.limits import (
    CONFLICTS_POLL_SECONDS,
    CONFLICTS_SCAN_PAUSE_SECONDS,
    CONFLICTS_SCAN_ROWS,
    CONFLICTS_SCAN_SHARE,
    CONFLICTS_SHOWN_BYTES,
    CONFLICTS_SHOWN_MAX,
    VERSIONS_SHOWN_MAX,
)
from replicator.faces.http.shown import shown
from replicator.faces.lease import Lease, leased
from replicator.peers.journal import printable
from replicator.store.conflicts import Standing
from replicator.store.keyspace import index_key

logger = logging.getLogger("replicator")

Told = dict[str, Any]
"""A key in conflict as JSON; see `tell_conflict`."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A listed key: its index row when it was looked at last, and what was told of it then."""

    row: bytes
    told: Told


class OpenConflicts:
    """Counts and lists the conflicts of one handle. For one trio loop; the store is read in worker
    threads.

    Args:
        changes: gives something that differs when the store has changed.
        threads: what reads.
    """

    def __init__(
        self, replica: Replica, changes: Callable[[], object], threads: trio.CapacityLimiter
    ) -> None:
        self._replica = replica
        self._changes = changes
        self._threads = threads
        self._keys: dict[bytes, _Listed | None] = {}
        self._bytes = 0
        self._is_all = False
        self._counted: int | None = None
        self._looked_at: object = None
        self._turn = trio.Lock()

    @property
    def _lease(self) -> Lease:
        return self._replica._lease

    @property
    def count(self) -> int | None:
        """How many there are; None before they were counted once."""
        if self._counted is None or self._is_all:
            return None if self._counted is None else len(self._keys)
        return max(self._counted, len(self._keys))

    async def keep_counting(self, is_wanted: Callable[[], bool]) -> None:
        """Count again whenever something has changed; never ends."""
        counted: object = None
        while True:
            now = self._changes()
            if now == counted or not is_wanted():
                await trio.sleep(CONFLICTS_POLL_SECONDS)
                continue
            try:
                await self._count()
                counted = now
            except StorageError as error:
                logger.warning("conflicts could not be counted: %s", error)
            await trio.sleep(CONFLICTS_SCAN_PAUSE_SECONDS)

    async def _count(self) -> None:
        cursor: bytes | None = None
        count = 0
        first: list[bytes] = []
        while True:
            started = time.perf_counter()
            keys, cursor = await trio.to_thread.run_sync(
                self._step, cursor, limiter=self._threads, abandon_on_cancel=True
            )
            taken = time.perf_counter() - started
            count += len(keys)
            first += keys[: CONFLICTS_SHOWN_MAX - len(first)]
            if cursor is None:
                break
            await trio.sleep(taken * (1 / CONFLICTS_SCAN_SHARE - 1))
        self._counted = count
        self._is_all = True
        self.add(first)
        self._is_all &= count <= len(first)

    @leased
    def _step(self, cursor: bytes | None) -> tuple[list[bytes], bytes | None]:
        return self._replica._engine.store.keys_in_conflict(cursor, CONFLICTS_SCAN_ROWS)

    def add(self, keys: Iterable[bytes]) -> None:
        """List these, as far as there is room; whether they are in conflict is found out when they
        are told."""
        for key in keys:
            if key in self._keys:
                continue
            fits = self._bytes + len(key) <= CONFLICTS_SHOWN_BYTES
            if fits and len(self._keys) < CONFLICTS_SHOWN_MAX:
                self._keys[key] = None
                self._bytes += len(key)
                self._looked_at = None
            else:
                self._is_all = False

    async def told(self) -> list[Told]:
        """The listed conflicts in key order."""
        async with self._turn:
            now = self._changes()
            if self._looked_at == now:
                return self._as_told()
            # Before: a key that is added meanwhile takes this back.
            self._looked_at = now
            before = dict(self._keys)
            try:
                found = await trio.to_thread.run_sync(
                    self._look_at, before, limiter=self._threads, abandon_on_cancel=True
                )
            except BaseException:
                self._looked_at = None
                raise
            for key, listed in found.items():
                if listed is None:
                    self._keys.pop(key, None)
                    self._bytes -= len(key)
                else:
                    self._keys[key] = listed
            return self._as_told()

    def _as_told(self) -> list[Told]:
        return [listed.told for _, listed in sorted(self._keys.items()) if listed is not None]

    def _look_at(self, keys: Mapping[bytes, _Listed | None]) -> dict[bytes, _Listed | None]:
        """What there is to tell of keys now; None for those that are in conflict no more."""
        names = self._replica._names() if keys else {}
        return {key: self._look(key, before, names) for key, before in keys.items()}

    @leased
    def _look(self, key: bytes, before: _Listed | None, names: Mapping[int, str]) -> _Listed | None:
        store = self._replica._engine.store
        row = store.db.get(index_key(key))
        if row is None:
            return None
        if before is not None and before.row == row:
            return before  # values may be large: they are read once
        try:
            standing = store.standing(key)
            merged = store.db.get(key) if standing.is_merged else None
        except StorageError as error:
            return _Listed(row, {**_name(key), "versions": [], "fault": printable(str(error))})
        if not is_conflict(standing.versions):
            return None
        return _Listed(row, tell_conflict(standing, names, merged))


def _name(key: bytes) -> Told:
    return {"key": jsonable(key), "shown": shown(key)}


def tell_conflict(standing: Standing, names: Mapping[int, str], merged: bytes | None) -> Told:
    """A key in conflict as JSON.

    ``key`` is a string where the key is UTF-8, else ``{"base64": …}``; ``shown`` is what people
    see of it. ``versions`` has the first `VERSIONS_SHOWN_MAX`, the winner first; ``dots`` all of
    them.

    Args:
        names: of the nodes behind origins.
        merged: what the key shows where the resolver has merged its versions.
    """
    return {
        **_name(standing.key),
        "merged": None if merged is None else shown(merged),
        "dots": [str(version.dot) for version in standing.versions],
        "versions": [
            {
                "dot": str(version.dot),
                "node": printable(names.get(version.dot.origin, "")),
                "wins": place == 0 and not standing.is_merged,
                "operation": "delete" if version.is_delete else "put",
                "clock": version.clock,
                "time_ms": to_ms(version.timestamp),
                "expiry_ms": version.expiry_ms,
                "value": None if version.value is None else shown(version.value),
            }
            for place, version in enumerate(standing.versions[:VERSIONS_SHOWN_MAX])
        ],
    }
