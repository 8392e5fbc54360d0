"""The bytes of `Compare`, `Verdict` and `Digest`, as `replicator.protocol.codec` has them.

A part is ``[after, upto, count, fingerprint, upto, count, fingerprint, ...]``, with nil for a bound
before the first key or behind the last. Verdicts are a byte string.
"""

from typing import get_args

from replicator.config import (
    COMPARE_RANGE_KEYS_MAX,
    COMPARE_RANGES_MAX,
    KEY_BYTES_MAX,
    NAME_BYTES_MAX,
)
from replicator.core.compare import VERDICTS, Part, Range
from replicator.core.fingerprint import FINGERPRINT_BYTES
from replicator.errors import ProtocolError
from replicator.protocol.messages import DigestStep
from replicator.protocol.reader import Reader


def pack_parts(parts: tuple[Part, ...]) -> object:
    """The parts of a `Compare`."""
    return [
        [
            part.after,
            *(item for one in part.ranges for item in (one.upto, one.count, one.fingerprint)),
        ]
        for part in parts
    ]


def read_parts(reader: Reader) -> tuple[Part, ...]:
    """The parts of a `Compare`: at least one range each, `COMPARE_RANGES_MAX` in all."""
    parts: list[Part] = []
    budget = COMPARE_RANGES_MAX
    for _ in range(reader.array(1, COMPARE_RANGES_MAX, "parts")):
        fields_left, rest = divmod(reader.array(4, 3 * budget + 1, "a part's fields") - 1, 3)
        if rest:
            raise ProtocolError("a part of a Compare has no whole number of ranges")
        budget -= fields_left
        after = _read_bound(reader)
        parts.append(Part(after, tuple(_read_range(reader) for _ in range(fields_left))))
    return tuple(parts)


def _read_range(reader: Reader) -> Range:
    return Range(
        _read_bound(reader),
        reader.whole(0, COMPARE_RANGE_KEYS_MAX, "the records of a range"),
        reader.blob(FINGERPRINT_BYTES, FINGERPRINT_BYTES, "a fingerprint"),
    )


def _read_bound(reader: Reader) -> bytes | None:
    return None if reader.skip_nil() else reader.blob(0, KEY_BYTES_MAX, "a bound of a range")


def read_verdicts(reader: Reader) -> bytes:
    """The verdicts of a `Verdict`."""
    verdicts = reader.blob(1, COMPARE_RANGES_MAX, "the verdicts")
    if any(verdict not in VERDICTS for verdict in verdicts):
        raise ProtocolError("a Verdict says something that is none")
    return verdicts


def read_step(reader: Reader) -> str:
    """The step of a `Digest`."""
    step = reader.text(NAME_BYTES_MAX, "the step")
    if step not in get_args(DigestStep):
        raise ProtocolError(f"{step!r} is no step of a Digest")
    return step


def read_hash(reader: Reader) -> bytes:
    """A hash of a `Digest`, or none."""
    value = reader.blob(0, FINGERPRINT_BYTES, "a hash")
    if len(value) not in (0, FINGERPRINT_BYTES):
        raise ProtocolError(f"a hash has neither 0 nor {FINGERPRINT_BYTES} bytes")
    return value
