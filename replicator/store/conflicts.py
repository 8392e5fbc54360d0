"""Conflicts for people: which versions a key has, which of them it shows, and settling that (R6).

What a key shows stands in its index row, as whoever wrote the row found with its resolver; so
reading needs no resolver, and shows what plain readers of the LevelDB see.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from replicator.core import rows
from replicator.core.dots import Dot, parse_dot
from replicator.core.record import Record, Version
from replicator.core.resolve import is_conflict
from replicator.errors import NotLiveError
from replicator.store.careful import CarefulWrites
from replicator.store.keyspace import INDEX, after
from replicator.store.local import check_key
from replicator.store.revisit import Revisit, RevisitStatus
from replicator.store.state import winner_first

Choice = Dot | str | bytes | bytearray | memoryview | None
"""What a key is to hold: the dot of a live version, as such or as text; a new value; or None, a
delete."""

NAMED_MAX = 8
"""Live versions that a message names."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One key with its live versions.

    Attributes:
        versions: winner first; in dot order where the key shows a merged value.
        is_merged: whether it does: then no version is the winner.
    """

    key: bytes
    versions: tuple[Version, ...]
    is_merged: bool


class Conflicts(CarefulWrites):
    """What people ask and say about conflicts. Thread-safe.

    Attributes:
        revisit: looks at conflicts again after a change of the resolver.
    """

    revisit: Revisit

    def record(self, key: bytes) -> Record:
        """All of one key, values loaded; without versions where there is none."""
        self.refuse_closed()
        with self.db.snapshot() as snapshot:
            return self.read(key, snapshot.get)

    def standing(self, key: bytes) -> Standing:
        """A key with its live versions; without any where it was never written."""
        self.refuse_closed()
        with self.db.snapshot() as snapshot:
            return standing_of(key, *self.read_shown(key, snapshot.get))

    def versions(self, key: bytes) -> list[Version]:
        """The live versions of a key, tombstones included, winner first."""
        return list(self.standing(key).versions)

    def standings(self, after_key: bytes | None = None) -> Iterator[Standing]:
        """Every key in conflict, in key order.

        As of the moment of the first step; closes its snapshot at the end or when dropped.

        Args:
            after_key: only keys behind this one.
        """
        self.refuse_closed()
        start = INDEX if after_key is None else INDEX + after_key + b"\0"
        with (
            self.db.snapshot() as snapshot,
            snapshot.iterator(start=start, stop=after(INDEX)) as index,
        ):
            for row_key, row in index:
                if row[0] == rows.SINGLE:
                    continue
                key = row_key[len(INDEX) :]
                record, visible = rows.unpack(row, key, self.origins.by_number)
                if len(record.versions) > 1:
                    record = self.load(record, snapshot.get)
                    if is_conflict(record.versions):
                        yield standing_of(key, record, visible)

    def keys_in_conflict(
        self, after_key: bytes | None, rows_max: int
    ) -> tuple[list[bytes], bytes | None]:
        """The keys in conflict among the next rows of the index, without a look at any value.

        Two versions whose values differ and have one checksum count as equal: for counting.

        Args:
            after_key: only keys behind this one; None begins at the first.

        Returns:
            The keys, and the last one that was looked at; None there at the end.
        """
        self.refuse_closed()
        start = INDEX if after_key is None else INDEX + after_key + b"\0"
        found = []
        row_key = b""
        with self.db.iterator(start=start, stop=after(INDEX), fill_cache=False) as index:
            rows_read = 0
            for row_key, row in islice(index, rows_max):
                rows_read += 1
                if row[0] != rows.SINGLE:
                    key = row_key[len(INDEX) :]
                    versions = rows.unpack(row, key, self.origins.by_number)[0].versions
                    if len({(one.is_delete, one.checksum) for one in versions}) > 1:
                        found.append(key)
        return found, row_key[len(INDEX) :] if rows_read == rows_max else None

    def conflicts(self, after_key: bytes | None = None) -> Iterator[tuple[bytes, list[Version]]]:
        """As `standings`: each key with its versions."""
        for found in self.standings(after_key):
            yield found.key, list(found.versions)

    def resolve(
        self,
        key: bytes,
        choice: Choice,
        *,
        seen: Collection[Dot] | None = None,
        seen_clock: int = -1,
        sync: bool | None = None,
    ) -> Dot:
        """Settle a key, by a write like any other (R1).

        Args:
            choice: the dot of a live version, which is written anew with its operation, value and
                expiry, so that a tombstone's deletes; or a new value; or None, which deletes.
            seen: dots of what is superseded, as far as that is live, beside the chosen one. All
                others stay. None is all that are live at the moment of the call.
            seen_clock, sync: see `put_with`.

        Returns:
            The dot of the new version; where the chosen one is the only one anyway, that of this
            one, and nothing is written.

        Raises:
            NotLiveError: there is no live version with this dot (any more).
            UsageError: the choice is text that is no dot.
        """
        check_key(key)
        dot = _dot_of(choice) if isinstance(choice, str | tuple) else None
        record = self.record(key)
        if dot is None:
            assert not isinstance(choice, str | tuple)
            value, expiry_ms = None if choice is None else bytes(memoryview(choice)), None
        else:
            chosen = _live(record, key, dot)
            if len(record.versions) == 1:
                return dot
            value, expiry_ms = chosen.value, chosen.expiry_ms
        live = {version.dot for version in record.versions}
        superseded = live if seen is None else {*seen} | ({dot} if dot else set())
        if not live <= superseded:
            self.revisit.foresee()
        return self.put_with(
            key,
            value,
            sync=sync,
            expiry_ms=expiry_ms,
            seen=superseded,
            seen_clock=max(seen_clock, _highest_clock(record, superseded)),
        )

    def reevaluate(self, timeout: float | None = None) -> bool:
        """Let every key in conflict show what the resolver makes of it now.

        Goes on in the background, also after the timeout, and at the next opening.

        Args:
            timeout: seconds; None waits to the end.

        Returns:
            Whether it is complete.
        """
        self.level.refuse_in_update()
        self.refuse_closed()
        self.revisit.force()
        return not self.revisit.is_foreign and self.revisit.wait(timeout)

    def revisiting(self) -> RevisitStatus | None:
        """How far looking at conflicts again is; None where there is nothing to do."""
        return self.revisit.status()


def standing_of(key: bytes, record: Record, visible: int) -> Standing:
    """A record, values loaded, as people are shown it."""
    return Standing(key, winner_first(record, visible), visible == rows.MERGED)


def _dot_of(named: Dot | str) -> Dot:
    return parse_dot(named) if isinstance(named, str) else Dot(*named)


def _highest_clock(record: Record, dots: Collection[Dot]) -> int:
    return max((one.clock for one in record.versions if one.dot in dots), default=-1)


def _live(record: Record, key: bytes, dot: Dot) -> Version:
    for version in record.versions:
        if version.dot == dot:
            return version
    names = [str(version.dot) for version in record.versions]
    if not names:
        raise NotLiveError(f"key {key[:40]!r} has no versions at all, so none is {dot}")
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    raise NotLiveError(
        f"{dot} is no live version of key {key[:40]!r} (any more): "
        f"{', '.join(names[:NAMED_MAX])}{more} {'is' if len(names) == 1 else 'are'}; look at the "
        "versions again"
    )
