"""What a store holds, without its values: to be compared with what another one holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zlib import crc32

from plyvel._plyvel import Snapshot

from replicator.core import rows
from replicator.core.known import KnownSet
from replicator.core.record import Version
from replicator.store.digest import digest, digest_steps
from replicator.store.keyspace import INDEX, after
from replicator.store.state import State


@dataclass(frozen=True, slots=True)
class Summary:
    """One key.

    Attributes:
        key: the user's key.
        shown: CRC-32 of the value that it shows; None where it shows none.
        versions: its live versions in dot order, values not loaded.
    """

    key: bytes
    shown: int | None
    versions: tuple[Version, ...]


class Summaries:
    """All records of one moment. For one thread; `close` may come from any.

    Attributes:
        known: the known set of exactly this moment.
    """

    def __init__(self, snapshot: Snapshot, known: KnownSet, origins: Mapping[int, int]) -> None:
        self.known = known
        self._snapshot = snapshot
        self._origins = origins

    @classmethod
    def of(cls, store: State) -> "Summaries":
        """As of now.

        Raises:
            ClosedError: the store is closed.
        """
        store.level.refuse_in_update()
        with store.level.lock:
            store.refuse_closed()
            return cls(store.db.snapshot(), store.known_now(), store.origins.by_number)

    def digests(self, moment_ms: int) -> Iterator[str]:
        """The digest of what has not expired at a wall clock (R16), as an iterator of one step."""
        yield digest(self._snapshot, self._origins, moment_ms)

    def digest_steps(self, moment_ms: int) -> Iterator[int | str]:
        """The same in steps: how many records so far, and at the end the digest."""
        yield (yield from digest_steps(self._snapshot, self._origins, moment_ms))

    def read(self) -> Iterator[Summary]:
        """Every record, in key order."""
        with self._snapshot.iterator(start=INDEX, stop=after(INDEX), fill_cache=False) as index:
            for row_key, row in index:
                key = row_key[len(INDEX) :]
                record, visible = rows.unpack(row, key, self._origins)
                yield Summary(key, self._shown(key, record.versions, visible), record.versions)

    def _shown(self, key: bytes, versions: tuple[Version, ...], visible: int) -> int | None:
        version = None if visible == rows.MERGED else versions[visible]
        if version is not None and version.expiry_ms is None:
            return None if version.is_delete else version.checksum
        value = self._snapshot.get(key)  # merged, or perhaps expired
        return None if value is None else crc32(value)

    def close(self) -> None:
        """Let go of the snapshot. Idempotent."""
        self._snapshot.close()
