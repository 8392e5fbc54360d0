"""Comparing range by range for stores that are dictionaries: the real fingerprints, the real
answers, and ranges as small as a test wants them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.compare import Key, Part, Range, Stretch, answer, between
from replicator.core.fingerprint import Fingerprint, OriginTable
from replicator.core.record import Record

Records = Mapping[bytes, Record]
Pack = Callable[[Sequence[bytes]], Iterator[Chunk]]


def inside(records: Records, after: Key, upto: Key) -> list[bytes]:
    """The keys in a range, in order."""
    return sorted(
        key for key in records if (after is None or key > after) and (upto is None or key <= upto)
    )


def fingerprint(
    records: Records, keys: Sequence[bytes], moment_ms: int | None = None
) -> tuple[int, bytes]:
    """How many of the records count, and their fingerprint."""
    numbers: dict[int, int] = {}
    packed = [
        rows.pack(records[key], lambda origin: numbers.setdefault(origin, len(numbers) + 1))
        for key in keys
    ]
    whole = Fingerprint(
        OriginTable({number: origin for origin, number in numbers.items()}), moment_ms
    )
    whole.add(keys, packed)
    return whole.count, whole.digest()


def scan(
    records: Records,
    stretches: Sequence[Stretch],
    moment_ms: int | None,
    *,
    step: int,
    ranges_max: int,
) -> tuple[tuple[Part, ...], tuple[Stretch, ...]]:
    """See `Watching.scan`.

    Args:
        step: no range is larger.
        ranges_max: how many ranges go into a message.
    """
    parts, left, count = [], [], 0
    for stretch in stretches:
        if count >= ranges_max:
            left.append(stretch)
            continue
        keys = inside(records, stretch.after, stretch.upto)
        size = min(step, stretch.step)
        ranges: list[Range] = []
        end = stretch.after
        for place in range(0, max(1, len(keys)), size):
            if count >= ranges_max:
                left.append(Stretch(end, stretch.upto, stretch.step))
                break
            group = keys[place : place + size]
            following = keys[place + size : place + size + 1]
            end = between(group[-1], following[0]) if following else stretch.upto
            ranges.append(Range(end, *fingerprint(records, group, moment_ms)))
            count += 1
        parts.append(Part(stretch.after, tuple(ranges)))
    return tuple(parts), tuple(left)


def answers(
    records: Records, parts: Sequence[Part], moment_ms: int | None, pack: Pack
) -> Iterator[bytes | Chunk]:
    """See `Source.answer`."""

    def measure(after: Key, upto: Key, most: int) -> tuple[int, bytes | None]:
        return fingerprint(records, inside(records, after, upto), moment_ms)

    def read(after: Key, upto: Key) -> Iterator[Chunk]:
        return pack(inside(records, after, upto))

    return answer(parts, measure, read, few=1)
