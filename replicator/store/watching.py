"""What a store tells about itself, to be compared with other stores (R9, R16).

Two stores are compared without sending records: one cuts its keys into ranges (`Watching.scan`),
the other answers from a snapshot (`Source.answer`); what differs is split and scanned again.
`replicator.core.compare` says how.
"""

from collections.abc import Iterable
from itertools import islice

from plyvel._plyvel import Snapshot

from replicator.core.compare import Part, Stretch
from replicator.core.fingerprint import Fingerprint, OriginTable
from replicator.core.known import KnownSet
from replicator.store.comparing import BATCH_ROWS, add_rows, index_rows, scan
from replicator.store.state import State

DIGEST_STEP_ROWS = 1 << 14
"""Rows that a step of a digest looks at: some ten milliseconds."""


class DigestScan:
    """A digest in the making, as of a moment and of one snapshot, in bounded steps. For one thread
    at a time.

    Attributes:
        known, closed: the known and the closed set of the snapshot.
        is_settled: whether no full-state round that changed something here is incomplete; else the
            keys are ahead of the known set, and the digest says nothing.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        known: KnownSet,
        closed: KnownSet,
        is_settled: bool,
        whole: Fingerprint,
    ) -> None:
        self.known = known
        self.closed = closed
        self.is_settled = is_settled
        self._snapshot = snapshot
        self._index = index_rows(snapshot, None, None)
        self._whole = whole

    def step(self) -> bytes | None:
        """Look at some more rows. Returns the digest once that was all.

        Raises:
            FormatError: an index row is malformed.
        """
        for _ in range(0, DIGEST_STEP_ROWS, BATCH_ROWS):
            batch = list(islice(self._index, BATCH_ROWS))
            if not batch:
                return self._whole.digest()
            add_rows(self._whole, batch)
        return None

    def close(self) -> None:
        """Release the snapshot. Idempotent."""
        self._index.close()
        self._snapshot.close()


class Watching:
    """Scans of one store. Thread-safe.

    All raise `ClosedError` where the store is closed.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def scan(
        self, stretches: Iterable[Stretch], moment_ms: int | None = None
    ) -> tuple[tuple[Part, ...], tuple[Stretch, ...]]:
        """Fingerprints of ranges of keys, as they are now.

        Args:
            stretches: disjoint stretches of keys, to be cut into ranges.
            moment_ms: a wall clock: records without a put that expires later do not count. None
                counts all.

        Returns:
            As many ranges as go into one message, and what of the stretches they do not cover.

        Raises:
            FormatError: an index row is malformed.
        """
        state = self._state
        state.refuse_closed()
        return scan(state.db, OriginTable(state.origins.by_number), stretches, moment_ms)

    def digest(self, moment_ms: int) -> DigestScan:
        """Begin a digest (R16); the caller closes it.

        Args:
            moment_ms: a wall clock, milliseconds since the epoch: what expired before does not
                count.
        """
        state = self._state
        state.level.refuse_in_update()
        whole = Fingerprint(OriginTable(state.origins.by_number), moment_ms)
        with state.level.lock:
            state.refuse_closed()
            return DigestScan(
                state.db.snapshot(),
                state.known_now(),
                state.closed_dots,
                not state.unexplained,
                whole,
            )
