"""Rounds between two stores, as a conversation drives them, one step at a time."""

from collections.abc import Iterable, Iterator

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet, below_floor
from replicator.store.apply import Applied
from replicator.store.keyspace import SEQ, floor_key
from replicator.store.source import Source
from replicator.store.store import Store


def join(chunks: Iterable[Chunk]) -> Chunk:
    """One chunk of several of the same snapshot."""
    whole = Chunk(origins={})
    for chunk in chunks:
        whole.origins = {**whole.origins, **chunk.origins}
        whole.keys += chunk.keys
        whole.rows += chunk.rows
        whole.values += chunk.values
        whole.size_bytes += chunk.size_bytes
    return whole


class Round:
    """One side's catch-up with one snapshot of the other (R3, R4). Abandon it anywhere: a cut.

    Args:
        withheld: dots not asked for; then nothing is claimed, see `claim`.
    """

    def __init__(self, target: Store, source: Store, withheld: KnownSet | None = None) -> None:
        self.target = target
        self.withheld = withheld or KnownSet()
        self.done = False
        self._source = _open(source)
        self.known = self._source.known
        self.floor = self._source.floor
        lack = self.known.difference(target.known()).difference(self.withheld)
        self.chunks = self._source.read(lack)

    def steps(self) -> Iterator[Applied]:
        """Apply chunk by chunk, claim with the last."""
        chunks = list(self.chunks)
        self._source.close()
        for chunk in chunks[:-1]:
            yield self.target.apply(chunk, self.known)
        yield self._finish(chunks[-1] if chunks else Chunk())

    def whole(self) -> Applied:
        """Apply all of it in one commit."""
        chunk = join(self.chunks)
        self._source.close()
        return self._finish(chunk)

    def _finish(self, chunk: Chunk) -> Applied:
        claim = None if self.withheld else self.known
        self.done = True
        return self.target.finish(chunk, self.known, claim, self.floor)

    def claim(self) -> bool:
        """Claim a finished round whose withheld dots have come from elsewhere since (R5)."""
        if not self.target.known().issuperset(self.withheld):
            return False
        self.target.finish(Chunk(), self.known, self.known, self.floor)
        return True


class FullRound:
    """A full-state round (R9), one stretch a step."""

    def __init__(self, target: Store, source: Store) -> None:
        self.target = target
        self._source = _open(source)

    def steps(self) -> Iterator[Applied]:
        source, target = self._source, self.target
        after: bytes | None = None
        for chunk in source.read_all():
            yield target.apply_full(chunk, source.known, source.floor, after, chunk.keys[-1])
            after = chunk.keys[-1]
        yield target.apply_full(Chunk(), source.known, source.floor, after, None)
        yield target.finish(Chunk(), source.known, source.known, source.floor)
        source.close()


def _open(store: Store) -> Source:
    """A snapshot, whose own seqs count as shown before anybody sees them (R13)."""
    source = store.open_source()
    store.show(source.known.highest(store.origin))
    return source


def pull(target: Store, source: Store) -> int:
    """One complete round, full where the floor asks for it. Returns the records changed."""
    if below_floor(target.known(), source.floor):
        return sum(applied.changed for applied in FullRound(target, source).steps())
    return Round(target, source).whole().changed


def exchange(*stores: Store) -> None:
    """Rounds both ways between all, until nobody lacks anything."""
    for _ in range(len(stores) + 1):
        for target in stores:
            for source in stores:
                if target is not source:
                    pull(target, source)


def collect(store: Store, key: bytes) -> None:
    """What collecting will do (R8): drop a record whole, its context entries into the floor."""
    record = store.record(key)
    assert all(version.is_delete for version in record.versions)
    batch = store.db.write_batch()
    if store.remove(batch, key, record):
        store.own_known_row(batch)
    for origin, seq in record.context.items():
        store.floor[origin] = max(seq, store.floor.get(origin, 0))
        batch.put(floor_key(store.origins.number(origin)), SEQ.pack(store.floor[origin]))
    with store.level.lock:
        store.commit(batch)
