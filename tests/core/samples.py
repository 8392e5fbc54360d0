"""Versions and records for the tests of the core: built by hand, or drawn by hypothesis."""

from zlib import crc32

from hypothesis import strategies as st

from replicator.core.clock import TIMESTAMP_MAX
from replicator.core.dots import ORIGIN_MAX, SEQ_MAX, Dot
from replicator.core.record import Record, Version
from replicator.core.rows import CLOCK_MAX

KEY = b"key"


def put(
    value: bytes,
    origin: int = 1,
    seq: int = 1,
    *,
    clock: int = 0,
    timestamp: int = 0,
    expiry_ms: int | None = None,
) -> Version:
    """A put of `KEY`."""
    dot = Dot(origin, seq)
    return Version(KEY, dot, clock, timestamp, False, value, expiry_ms, crc32(value))


def delete(origin: int = 1, seq: int = 1, *, clock: int = 0, timestamp: int = 0) -> Version:
    """A delete of `KEY`."""
    return Version(KEY, Dot(origin, seq), clock, timestamp, True, None)


origins = st.one_of(st.integers(1, 4), st.integers(0, ORIGIN_MAX))
seqs = st.one_of(st.integers(1, 5), st.integers(1, SEQ_MAX))
dots = st.builds(Dot, origins, seqs)


@st.composite
def versions(draw: st.DrawFn, dot: Dot | None = None) -> Version:
    """Any version of `KEY`: small numbers are likely, so that ties are."""
    drawn_dot = draw(dots) if dot is None else dot
    clock = draw(st.one_of(st.integers(0, 2), st.integers(0, CLOCK_MAX)))
    timestamp = draw(st.one_of(st.integers(0, 2), st.integers(0, TIMESTAMP_MAX)))
    if draw(st.booleans()):
        return delete(*drawn_dot, clock=clock, timestamp=timestamp)
    value = draw(st.one_of(st.sampled_from([b"", b"a", b"b"]), st.binary(max_size=8)))
    expiry_ms = draw(st.none() | st.integers(0, 2**64 - 1))
    return put(value, *drawn_dot, clock=clock, timestamp=timestamp, expiry_ms=expiry_ms)


@st.composite
def siblings(draw: st.DrawFn, max_size: int = 5) -> tuple[Version, ...]:
    """Live versions of one key in dot order; of one origin several where a write saw only some."""
    drawn = draw(st.lists(dots, min_size=1, max_size=max_size, unique=True))
    return tuple(draw(versions(dot)) for dot in sorted(drawn))


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A record with at least one live version; the context covers them all."""
    live = draw(siblings())
    context = draw(st.dictionaries(origins, seqs, max_size=4))
    for version in live:
        origin, seq = version.dot
        context[origin] = max(seq, context.get(origin, 0))
    return Record(live, context)
