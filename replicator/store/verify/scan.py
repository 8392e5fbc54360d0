"""All of a store's rows verified, on one snapshot."""

import time
from collections import Counter
from collections.abc import Iterator

from plyvel._plyvel import Snapshot

from replicator.store.identity import Surroundings
from replicator.store.verify.entries import Entries
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.reading import Reading
from replicator.store.verify.records import Records
from replicator.store.verify.tables import Ground, read_ground


class Scan:
    """One verification. For one thread.

    Nothing is written, and what is in memory only is left out: so what is under way in a running
    store is no fault, because each of its commits leaves every row consistent.

    Args:
        snapshot: of the namespace; closed by `close`.
        prefix: what the namespace puts before every key.
        here: where the directory lies; None for a store that is open.

    Raises:
        FormatError: there is no store, or one of a newer format.

    Attributes:
        get: reads a row; None also where a damaged block hides it.
        ground: what the small rows say.
        counts: how many faults of each kind so far.
    """

    def __init__(self, snapshot: Snapshot, prefix: bytes, here: Surroundings | None = None) -> None:
        self._snapshot = snapshot
        self._reading = Reading(snapshot, prefix)
        self.get = self._reading.get
        self.ground: Ground = read_ground(self._reading, prefix, here)
        self.counts: Counter[Kind] = Counter()
        self._records = Records(self._reading, self.ground, time.time_ns() // 1_000_000)

    @property
    def keys(self) -> int:
        """Index rows looked at so far."""
        return self._records.keys

    @property
    def notes(self) -> list[str]:
        """What is unfinished, in words: no damage."""
        return self.ground.notes

    def faults(self) -> Iterator[Fault]:
        """Every fault, as it is found. Reads everything, in linear scans.

        Raises:
            plyvel.Error: LevelDB failed otherwise than by a damaged block.
        """
        return (step for step in self.steps() if step is not None)

    def steps(self) -> Iterator[Fault | None]:
        """The same in steps of bounded length: None where one has no fault."""
        for step in self._steps():
            if step is not None:
                self.counts[step.kind] += 1
            yield step

    def _steps(self) -> Iterator[Fault | None]:
        yield from self.ground.faults
        yield from self._records.steps()
        yield from Entries(self._reading, self.ground, self._records).steps()
        for stretch in self._reading.damaged:
            yield Fault(Kind.UNREADABLE, stretch.after, f"up to {stretch.until!r}")

    def close(self) -> None:
        """Let go of the snapshot. Idempotent."""
        self._snapshot.close()
