"""A tiny store in memory and an oracle of causal history, for conversations to run against.

The store does what R1–R3, R8 and R9 say and nothing else; after every commit the oracle checks that
what a node claims to know is what it holds: of every key the live puts are exactly the causally
maximal ones among the dots it knows. A claim made before its effects fails there at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from replicator.config import CHUNK_RECORDS_MAX
from replicator.core import rows
from replicator.core.chunk import Chunk, fill
from replicator.core.compare import Part, Piece
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.members import Roster
from replicator.core.merge import merge, next_clock, raise_context, write
from replicator.core.record import ABSENT, Record, Version, merge_contexts
from replicator.errors import ForkError
from replicator.protocol.effects import Applied
from replicator.protocol.me import Me
from tests.comparing import answers


def pack_chunk(records: list[tuple[bytes, Record]]) -> Chunk:
    """Records as they travel; an origin's number is its own low half."""
    chunk = Chunk({})
    numbers: dict[int, int] = {}
    for key, record in records:
        for origin in record.context:
            numbers[origin & 0xFFFFFFFF] = origin
        values = [version.value for version in record.versions if version.value is not None]
        chunk.append(key, rows.pack(record, lambda origin: origin & 0xFFFFFFFF), values)
    chunk.origins = numbers
    return chunk


def unpack_chunk(chunk: Chunk) -> Iterator[tuple[bytes, Record]]:
    values = iter(chunk.values)
    for key, row in zip(chunk.keys, chunk.rows, strict=True):
        yield key, fill(rows.unpack(row, key, chunk.origins)[0], values)


@dataclass
class Oracle:
    """What really happened: every write, its key, and which writes of the key it had seen."""

    keys: dict[Dot, bytes] = field(default_factory=dict)
    deletes: set[Dot] = field(default_factory=set)
    past: dict[Dot, frozenset[Dot]] = field(default_factory=dict)

    def wrote(self, version: Version, before: Record) -> None:
        seen = {version.dot for version in before.versions}
        for dot in tuple(seen):
            seen |= self.past[dot]
        self.keys[version.dot] = version.key
        self.past[version.dot] = frozenset(seen)
        if version.is_delete:
            self.deletes.add(version.dot)

    def live_puts(self, known: KnownSet) -> dict[bytes, set[Dot]]:
        """Per key the puts that a node with this known set must show, and no others."""
        dots = [dot for dot in self.keys if dot in known]
        superseded = frozenset[Dot]().union(*(self.past[dot] for dot in dots))
        live: dict[bytes, set[Dot]] = {}
        for dot in dots:
            if dot not in superseded and dot not in self.deletes:
                live.setdefault(self.keys[dot], set()).add(dot)
        return live


class Source:
    """One snapshot of a `ModelStore`."""

    def __init__(self, store: "ModelStore") -> None:
        self.known = store.known.copy()
        self.floor = dict(store.floor)
        self._records = dict(store.records)
        self._chunk_records = store.chunk_records
        self.is_open = True

    def answer(self, parts: tuple[Part, ...], moment_ms: int | None) -> Iterator[bytes | Chunk]:
        return answers(self._records, parts, moment_ms, self._pack)

    def _pack(self, keys: Sequence[bytes]) -> Iterator[Chunk]:
        for place in range(0, len(keys), self._chunk_records):
            assert self.is_open
            some = keys[place : place + self._chunk_records]
            yield pack_chunk([(key, self._records[key]) for key in some])

    def read(self, lack: KnownSet | None) -> Iterator[Chunk]:
        if lack is None:
            wanted = sorted(self._records.items())
        else:
            newest = {
                key: max(version.dot for version in record.versions if version.dot in lack)
                for key, record in self._records.items()
                if any(version.dot in lack for version in record.versions)
            }
            order = sorted(newest, key=lambda key: (newest[key].origin, -newest[key].seq))
            wanted = [(key, self._records[key]) for key in order]
        for place in range(0, len(wanted), self._chunk_records):
            assert self.is_open
            yield pack_chunk(wanted[place : place + self._chunk_records])


class ModelStore:
    """One node's store.

    Args:
        chunk_records: how many records go into one chunk.
    """

    def __init__(self, origin: int, oracle: Oracle, chunk_records: int = CHUNK_RECORDS_MAX) -> None:
        self.origin = origin
        self.oracle = oracle
        self.chunk_records = chunk_records
        self.records: dict[bytes, Record] = {}
        self.known = KnownSet()
        self.floor: dict[int, int] = {}
        self.shown = 0
        self.cluster_id: bytes | None = None
        self.full_round_open = False
        self.forks = 0

    def me(self, **changes: object) -> Me:
        fields: dict[str, object] = {
            "cluster": "default",
            "node": f"n{self.origin & 0xFF}",
            "origin": self.origin,
            "instance": self.origin.to_bytes(8, "big"),
            "resolver": "default",
            "known": lambda: self.known.copy(),
            "shown": lambda: self.shown,
            "cluster_id": lambda: self.cluster_id,
            "has_data": lambda: bool(self.records),
            "wall_ms": lambda: 1_700_000_000_000,
            "roster": Roster(),
            "port": 0,
        }
        return Me(**(fields | changes))  # type: ignore[arg-type]

    def write(self, key: bytes, value: bytes | None) -> Dot:
        """R1."""
        if self.cluster_id is None:
            self.cluster_id = self.origin.to_bytes(16, "big")
        before = self.records.get(key, ABSENT)
        dot = Dot(self.origin, self.known.highest(self.origin) + 1)
        checksum = 0 if value is None else crc32(value)
        version = Version(key, dot, next_clock(before), 0, value is None, value, None, checksum)
        self.oracle.wrote(version, before)
        self.records[key] = write(before, version)
        self.known.add(*dot)
        self.check()
        return dot

    def apply(self, chunk: Chunk, remote_known: KnownSet) -> Applied:
        return self.finish(chunk, remote_known, None, {})

    def finish(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        claim: KnownSet | None,
        floor: Mapping[int, int],
    ) -> Applied:
        """R2, R3."""
        result = self._merge(list(unpack_chunk(chunk)), remote_known)
        if claim is not None:
            self.known.update(claim)
            self.floor = merge_contexts(self.floor, floor)
            self.full_round_open = False
        self.check()
        return result

    def apply_full(
        self,
        chunk: Chunk,
        remote_known: KnownSet,
        floor: Mapping[int, int],
        after: bytes | None,
        upto: bytes | None,
    ) -> Applied:
        """R9."""
        self.full_round_open = True
        remote = {key: raise_context(record, floor) for key, record in unpack_chunk(chunk)}
        in_range = {
            key
            for key in self.records
            if (after is None or key > after) and (upto is None or key <= upto)
        }
        return self._merge(
            [(key, remote.get(key, ABSENT)) for key in sorted(in_range | set(remote))], remote_known
        )

    def apply_ranges(
        self, pieces: Sequence[Piece], remote_known: KnownSet, floor: Mapping[int, int]
    ) -> Applied:
        """R9, some ranges at once."""
        done = [
            self.apply_full(piece.chunk, remote_known, floor, piece.after, piece.upto)
            for piece in pieces
        ]
        return Applied(sum(one.records for one in done), sum(one.changed for one in done))

    def _merge(self, records: list[tuple[bytes, Record]], remote_known: KnownSet) -> Applied:
        if remote_known.highest(self.origin) > self.shown:
            raise ForkError("own dots that were never shown")
        changed = 0
        for key, remote in records:
            before = self.records.get(key, ABSENT)
            merged = merge(before, self.known, remote, remote_known)
            changed += merged != before
            if merged.versions:
                self.records[key] = merged
            else:
                self.records.pop(key, None)
                self.floor = merge_contexts(self.floor, before.context)
            for version in merged.versions:
                self.known.add(*version.dot)
        return Applied(len(records), changed)

    def collect(self, members: list["ModelStore"]) -> None:
        """R8, with acknowledgements that are always up to date."""
        if not all(self.known.issuperset(member.known) for member in members):
            return
        for key, record in list(self.records.items()):
            if all(version.is_delete for version in record.versions) and all(
                member.known.contiguous(origin) >= seq
                for member in members
                for origin, seq in record.context.items()
            ):
                del self.records[key]
                self.floor = merge_contexts(self.floor, record.context)

    def check(self) -> None:
        """What is known is held: R3."""
        if self.full_round_open:
            return  # absence has counted, and is claimed only at the end
        held: dict[bytes, set[Dot]] = {}
        for key, record in self.records.items():
            puts = {version.dot for version in record.versions if not version.is_delete}
            if puts:
                held[key] = puts
        assert held == self.oracle.live_puts(self.known), f"origin {self.origin:x}"
