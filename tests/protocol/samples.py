"""Messages, chunks and nodes for the tests of the protocol."""

from dataclasses import replace

from hypothesis import strategies as st

from replicator.config import NAME_BYTES_MAX, Settings
from replicator.core.chunk import Chunk
from replicator.core.compare import VERDICTS, Part, Range
from replicator.core.dots import ORIGIN_MAX, SEQ_MAX
from replicator.core.fingerprint import FINGERPRINT_BYTES
from replicator.core.known import BLOCKS, KnownSet
from replicator.core.members import FORGOTTEN, HEARD_OF, Member, Roster
from replicator.protocol.me import Me
from replicator.protocol.messages import (
    BYE_CODES,
    REASON_BYTES_MAX,
    ROUND_MAX,
    Accounts,
    Begin,
    Bye,
    Call,
    Closed,
    Compare,
    Digest,
    Durable,
    End,
    Hello,
    Known,
    Members,
    Message,
    Ping,
    Pong,
    Records,
    Revisions,
    Secure,
    Verdict,
    Want,
    WantFull,
)

ME = 0xA << 60 | 1
"""The origin of the side under test."""

PEER = 0xB << 60 | 2
THIRD = 0xC << 60 | 3

CLUSTER = b"the cluster id.."
WALL_MS = 1_700_000_000_000

SETTINGS = Settings(
    linger=5.0,
    keepalive=10.0,
    connect_timeout=3.0,
    reask_timeout=20.0,
    atomic_round_bytes=100,
    clock_skew_max=60.0,
)


def known(**ranges: tuple[int, int] | int) -> KnownSet:
    """``known(me=3, peer=(2, 5))``: own seqs 1 … 3, the peer's 2 … 5."""
    origins = {"me": ME, "peer": PEER, "third": THIRD}
    result = KnownSet()
    for name, seqs in ranges.items():
        first, last = (1, seqs) if isinstance(seqs, int) else seqs
        result.add_range(origins[name], first, last + 1)
    return result


def chunk(*keys: bytes, size: int = 0, number: int = 1, origin: int = PEER) -> Chunk:
    """One record a key, of `size` bytes at least; what is in the rows is the store's business."""
    result = Chunk({number: origin})
    for key in keys:
        result.append(key, b"row of " + key, [b"v" * size])
    return result


class Node:
    """A store as a conversation sees it; tests change it as they like."""

    def __init__(self, origin: int = ME, known: KnownSet | None = None) -> None:
        self.known = KnownSet() if known is None else known
        self.origin = origin
        self.shown = self.known.highest(origin)
        self.cluster_id: bytes | None = CLUSTER
        self.has_data = True
        self.wall_ms = WALL_MS
        self.roster = Roster()
        self.closed = KnownSet()
        self.wants_full = False

    def me(self) -> Me:
        return Me(
            cluster="default",
            node="me",
            origin=self.origin,
            instance=b"instance",
            resolver="default",
            known=lambda: self.known.copy(),
            shown=lambda: self.shown,
            cluster_id=lambda: self.cluster_id,
            has_data=lambda: self.has_data,
            wall_ms=lambda: self.wall_ms,
            roster=self.roster,
            port=0,
            closed=lambda: self.closed,
            wants_full=lambda: self.wants_full,
        )


def hello(known: KnownSet | None = None, **changes: object) -> Hello:
    """What a well-meaning peer says."""
    plain = Hello(
        versions=(1, 1),
        cluster="default",
        cluster_id=CLUSTER,
        node="peer",
        origin=PEER,
        instance=b"12345678",
        resolver="default",
        explicit=False,
        has_data=True,
        wall_ms=WALL_MS,
        block_hashes=(KnownSet() if known is None else known).block_hashes(),
        members=b"8 other.",
        port=0,
        dialled="",
    )
    return replace(plain, **changes)


# Anything that may be sent, for hypothesis

_origins = st.one_of(st.integers(0, 3), st.integers(0, ORIGIN_MAX))
_names = st.text(max_size=NAME_BYTES_MAX).filter(lambda text: len(text.encode()) <= NAME_BYTES_MAX)
_rounds = st.integers(1, ROUND_MAX)
_revisions = st.integers(HEARD_OF, FORGOTTEN)
_hashes = st.one_of(st.just(b""), st.binary(min_size=8, max_size=8))
_floors = st.dictionaries(_origins, st.integers(1, SEQ_MAX), max_size=4)


@st.composite
def known_sets(draw: st.DrawFn) -> KnownSet:
    result = KnownSet()
    seqs = st.one_of(st.integers(1, 50), st.integers(1, SEQ_MAX))
    for origin in draw(st.lists(_origins, max_size=4)):
        first, other = draw(seqs), draw(seqs)
        result.add_range(origin, min(first, other), max(first, other) + 1)
    return result


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    result = Chunk(draw(st.dictionaries(st.integers(0, 2**32 - 1), _origins, max_size=3)))
    for _ in range(draw(st.integers(1, 4))):
        values = draw(st.lists(st.binary(max_size=40), max_size=3))
        result.append(draw(st.binary(max_size=40)), draw(st.binary(max_size=60)), values)
    return result


def members() -> st.SearchStrategy[Member]:
    return st.builds(
        Member,
        origin=_origins,
        revision=_revisions,
        name=_names,
        since_ms=st.integers(0, 2**63 - 1),
        said_ms=st.integers(0, 2**63 - 1),
        version=_names,
        addresses=st.lists(_names, max_size=3).map(tuple),
        known=known_sets(),
    )


def accounts() -> st.SearchStrategy[Member]:
    """The same with what they have seen of forgotten origins."""
    return st.builds(lambda one, seen: replace(one, seen=seen), members(), known_sets())


_verdicts = st.sampled_from(VERDICTS)
_fingerprints = st.binary(min_size=FINGERPRINT_BYTES, max_size=FINGERPRINT_BYTES)
_bounds = st.none() | st.binary(max_size=40)


def parts() -> st.SearchStrategy[Part]:
    ranges = st.builds(Range, _bounds, st.integers(0, 2**16), _fingerprints)
    return st.builds(Part, _bounds, st.lists(ranges, min_size=1, max_size=4).map(tuple))


messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello,
        versions=st.tuples(st.integers(1, 9), st.integers(9, 2**16 - 1)),
        cluster=_names,
        cluster_id=st.none() | st.binary(min_size=1, max_size=32),
        node=_names,
        origin=_origins,
        instance=st.binary(min_size=8, max_size=8),
        resolver=_names,
        explicit=st.booleans(),
        has_data=st.booleans(),
        wall_ms=st.integers(0, 2**63 - 1),
        block_hashes=st.lists(_hashes, min_size=BLOCKS, max_size=BLOCKS),
        members=st.binary(min_size=8, max_size=8),
        port=st.integers(0, 65535),
        dialled=_names,
    ),
    st.builds(Known, known_sets()),
    st.builds(Want, _rounds, st.none() | known_sets()),
    st.builds(Begin, _rounds, known_sets(), _floors, st.booleans()),
    st.builds(Records, _rounds, chunks()),
    st.builds(End, _rounds),
    st.builds(Bye, st.text(max_size=REASON_BYTES_MAX // 4), st.sampled_from(BYE_CODES)),
    st.just(Ping()),
    st.just(Pong()),
    st.builds(Revisions, st.dictionaries(_origins, _revisions, max_size=4)),
    st.builds(Call, st.sets(_origins, max_size=4).map(lambda origins: tuple(sorted(origins)))),
    st.builds(Members, st.lists(members(), max_size=3).map(tuple)),
    st.builds(Compare, _rounds, st.lists(parts(), min_size=1, max_size=3).map(tuple)),
    st.builds(Verdict, _rounds, st.lists(_verdicts, min_size=1, max_size=9).map(bytes)),
    st.builds(
        Digest,
        step=st.sampled_from(["ask", "answer", "mend"]),
        number=_rounds,
        moment_ms=st.integers(0, 2**63 - 1),
        known=_fingerprints | st.just(b""),
        digest=_fingerprints | st.just(b""),
    ),
    st.builds(Accounts, st.lists(accounts(), max_size=3).map(tuple)),
    st.builds(Closed, known_sets()),
    st.builds(WantFull, _rounds),
    st.builds(Durable, known_sets()),
    st.builds(Secure, known_sets()),
)
