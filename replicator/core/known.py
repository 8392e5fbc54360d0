"""Known sets: per origin, the exact set of seqs whose effect a node holds (R3).

The "last locally known entry" of a log is the edge of such a set. A known set is small in
steady state (one range an origin) and exact in between (a round applied in chunks leaves gaps).
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping

from replicator.core import ranges
from replicator.core.dots import Dot
from replicator.core.ranges import Bounds

BLOCKS = 16
"""Known sets are compared block by block: an origin's block is its highest four bits."""


class KnownSet:
    """A set of dots, kept as ranges per origin. Mutable; not thread-safe.

    Args:
        bounds: origin → bounds list (see `replicator.core.ranges`). The lists are taken over,
            not copied; empty lists are not allowed.
    """

    __slots__ = ("_bounds",)

    def __init__(self, bounds: dict[int, Bounds] | None = None) -> None:
        self._bounds: dict[int, Bounds] = {} if bounds is None else bounds

    @classmethod
    def of(cls, *dots: tuple[int, int]) -> "KnownSet":
        """The set of exactly these dots."""
        result = cls()
        for origin, seq in dots:
            result.add(origin, seq)
        return result

    def __contains__(self, dot: object) -> bool:
        assert isinstance(dot, tuple)
        bounds = self._bounds.get(dot[0])
        return bounds is not None and ranges.contains(bounds, dot[1])

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KnownSet) and self._bounds == other._bounds

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        parts = (
            f"{origin:016x}:{start}" + (f"-{stop - 1}" if stop - start > 1 else "")
            for origin, bounds in sorted(self._bounds.items())
            for start, stop in ranges.pairs(bounds)
        )
        return f"KnownSet({', '.join(parts)})"

    def copy(self) -> "KnownSet":
        """An independent set of the same dots."""
        return KnownSet({origin: bounds[:] for origin, bounds in self._bounds.items()})

    def origins(self) -> Iterator[int]:
        """Every origin of which a dot is in the set."""
        return iter(self._bounds)

    def bounds(self, origin: int) -> Bounds:
        """The bounds list of one origin, empty where nothing is known. Not to be changed."""
        return self._bounds.get(origin, [])

    def items(self) -> Iterator[tuple[int, Bounds]]:
        """Every origin with its bounds list, which is not to be changed."""
        return iter(self._bounds.items())

    def dots(self) -> Iterator[Dot]:
        """Every dot, in dot order. For small sets: tests and transcripts."""
        for origin, bounds in sorted(self._bounds.items()):
            for start, stop in ranges.pairs(bounds):
                for seq in range(start, stop):
                    yield Dot(origin, seq)

    def count(self) -> int:
        """How many dots."""
        return sum(ranges.count(bounds) for bounds in self._bounds.values())

    def gaps(self) -> int:
        """How many ranges beyond the first, over all origins: 0 in steady state."""
        return sum(len(bounds) // 2 - 1 for bounds in self._bounds.values())

    def contiguous(self, origin: int) -> int:
        """The seq up to which every dot of `origin` is in the set; 0 for none."""
        bounds = self._bounds.get(origin)
        return bounds[1] - 1 if bounds and bounds[0] == 1 else 0

    def highest(self, origin: int) -> int:
        """The greatest seq of `origin` in the set; 0 for none."""
        bounds = self._bounds.get(origin)
        return bounds[-1] - 1 if bounds else 0

    def add(self, origin: int, seq: int) -> None:
        """Add one dot."""
        self.add_range(origin, seq, seq + 1)

    def add_range(self, origin: int, start: int, stop: int) -> None:
        """Add the seqs ``start … stop - 1`` of `origin`."""
        if start < stop:
            ranges.add(self._bounds.setdefault(origin, []), start, stop)

    def replace(self, origin: int, bounds: Bounds) -> None:
        """Take over a whole new bounds list of one origin."""
        if bounds:
            self._bounds[origin] = bounds
        else:
            self._bounds.pop(origin, None)

    def update(self, other: "KnownSet") -> None:
        """Add every dot of `other`."""
        for origin, bounds in other._bounds.items():
            mine = self._bounds.get(origin)
            if mine != bounds:
                self._bounds[origin] = ranges.union(mine or [], bounds)

    def discard_above(self, origin: int, seq: int) -> None:
        """Remove the dots of `origin` above `seq` (R13: what a fork issued)."""
        bounds = self._bounds.get(origin)
        if bounds:
            ranges.discard(bounds, seq + 1, bounds[-1])
            if not bounds:
                del self._bounds[origin]

    def union(self, other: "KnownSet") -> "KnownSet":
        """The dots of either set, as a new one."""
        result = self.copy()
        result.update(other)
        return result

    def difference(self, other: "KnownSet") -> "KnownSet":
        """The dots of this set that are not in `other`."""
        result = {}
        for origin, bounds in self._bounds.items():
            theirs = other._bounds.get(origin)
            if theirs == bounds:
                continue
            rest = ranges.difference(bounds, theirs or [])
            if rest:
                result[origin] = rest
        return KnownSet(result)

    def intersection(self, other: "KnownSet") -> "KnownSet":
        """The dots of both sets, as a new one."""
        result = {}
        for origin, bounds in self._bounds.items():
            common = ranges.intersection(bounds, other._bounds.get(origin, []))
            if common:
                result[origin] = common
        return KnownSet(result)

    def issuperset(self, other: "KnownSet") -> bool:
        """Whether every dot of `other` is in this set."""
        for origin, bounds in other._bounds.items():
            if not ranges.includes(self._bounds.get(origin, []), bounds):
                return False
        return True

    def block_hashes(self) -> list[bytes]:
        """One hash per block of origins: equal blocks need not be sent (DESIGN §4).

        Returns:
            `BLOCKS` hashes of 8 bytes, empty bytes for an empty block.
        """
        blocks: list[list[int]] = [[] for _ in range(BLOCKS)]
        for origin in self._bounds:
            blocks[block_of(origin)].append(origin)
        hashes = []
        for origins in blocks:
            state = hashlib.blake2b(digest_size=8)
            for origin in sorted(origins):
                bounds = self._bounds[origin]
                state.update(struct.pack(f">QI{len(bounds)}Q", origin, len(bounds), *bounds))
            hashes.append(state.digest() if origins else b"")
        return hashes

    def blocks(self, wanted: set[int]) -> "KnownSet":
        """The part of the set whose origins lie in the wanted blocks."""
        return KnownSet(
            {
                origin: bounds[:]
                for origin, bounds in self._bounds.items()
                if block_of(origin) in wanted
            }
        )


def block_of(origin: int) -> int:
    """The block of an origin, ``0 … BLOCKS - 1``."""
    return origin >> 60


def below_floor(known: KnownSet, floor: Mapping[int, int]) -> bool:
    """Whether a node that knows `known` needs a full-state round from one with this purge floor
    (R9): its contiguous known seq lies below the floor for some origin."""
    return any(known.contiguous(origin) < seq for origin, seq in floor.items())


def within_known(floor: Mapping[int, int], known: KnownSet) -> dict[int, int]:
    """The part of a purge floor that a node with this known set can vouch for.

    A floor may lie above the known set of its own node: a full-state round that was cut drops
    records whose contexts said more, and a power cut can keep the floor and lose the claim. Raised
    into contexts, the part above would deny dots that this node never had.
    """
    parts = ((origin, min(seq, known.contiguous(origin))) for origin, seq in floor.items())
    return {origin: seq for origin, seq in parts if seq}
