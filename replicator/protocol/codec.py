"""The bytes of the messages: msgpack arrays ``[tag, field, …]``, one a frame.

Any bytes decode to a message or raise `ProtocolError`, in time and memory proportional to their
number: arrays and maps are opened one by one where the grammar has one, an element is never a
container, and nothing is allocated on the word of a length (`replicator.protocol.reader`). Every
field is checked for type, length and range; what only a store can judge (whether rows and values
fit) is left to it.

Compatibility: tags, fields and their order never change within a protocol version. `Hello` may
grow at its end in later versions: fields beyond those known here are skipped, so that nodes of
different versions can tell each other so. Every other message has exactly its fields.

A known set is a map of 8-byte origins, ascending, to its bounds, each as the difference to the
one before: seqs 1 … 4 and 9 of an origin are ``[1, 4, 4, 1]``. A chunk is ``[{origin number:
8-byte origin}, [key, …], [row, …], [value, …]]`` (`replicator.core.chunk`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from typing import Any, get_args

import msgpack

from replicator.config import (
    ADDRESS_BYTES_MAX,
    ADDRESSES_READ_MAX,
    CHUNK_RECORDS_MAX,
    KEY_BYTES_MAX,
    MEMBERS_AT_ONCE_MAX,
    MEMBERS_MAX,
    NAME_BYTES_MAX,
    ORIGINS_MAX,
    VALUE_BYTES_MAX,
)
from replicator.core import ranges
from replicator.core.chunk import RECORD_OVERHEAD_BYTES, Chunk
from replicator.core.dots import ORIGIN_MAX, SEQ_MAX
from replicator.core.known import BLOCKS, KnownSet
from replicator.core.members import FORGOTTEN, HEARD_OF, Member
from replicator.errors import ProtocolError
from replicator.protocol.messages import (
    BOUNDS_MAX,
    BYE_CODES,
    CLUSTER_ID_BYTES_MAX,
    HASH_BYTES,
    INSTANCE_BYTES,
    REASON_BYTES_MAX,
    ROUND_MAX,
    VERSION_MAX,
    WALL_MS_MAX,
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
from replicator.protocol.ranges import pack_parts, read_hash, read_parts, read_step, read_verdicts
from replicator.protocol.reader import Reader, within

_NUMBER_MAX = 2**32 - 1
_MEMBER_FIELDS = 8
_ACCOUNT_FIELDS = len(fields(Member))


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field travels."""

    read: Callable[[Reader], Any]
    pack: Callable[[Any], object] = lambda value: value


def _origin_bytes(origin: int) -> bytes:
    return origin.to_bytes(8, "big")


def _read_origin(reader: Reader, last: int) -> int:
    """An origin, greater than the `last` one."""
    origin = int.from_bytes(reader.blob(8, 8, "an origin"), "big")
    return within(origin, last + 1, ORIGIN_MAX, "an origin")


def _pack_known(known: KnownSet) -> object:
    return {
        _origin_bytes(origin): [
            bounds[0],
            *(high - low for low, high in pairwise(bounds)),
        ]
        for origin, bounds in sorted(known.items())
    }


def _read_known(reader: Reader) -> KnownSet:
    result: dict[int, ranges.Bounds] = {}
    origin, budget = -1, BOUNDS_MAX
    for _ in range(reader.map(ORIGINS_MAX, "origins")):
        origin = _read_origin(reader, origin)
        count = reader.array(2, budget, "bounds")
        budget -= count
        result[origin] = _read_bounds(reader, count)
    return KnownSet(result)


def _read_bounds(reader: Reader, count: int) -> ranges.Bounds:
    step = reader.next
    differences = [step() for _ in range(count)]
    if any(type(difference) is not int for difference in differences):
        raise ProtocolError("a bound of a known set is no whole number")
    bounds = list(accumulate(differences))
    if not ranges.is_valid(bounds) or bounds[-1] > SEQ_MAX + 1:
        raise ProtocolError("the bounds of a known set are not ascending within the seqs")
    return bounds


def _pack_wanted(wanted: KnownSet | None) -> object:
    return None if wanted is None else _pack_known(wanted)


def _read_wanted(reader: Reader) -> KnownSet | None:
    return None if reader.skip_nil() else _read_known(reader)


def _pack_floor(floor: Mapping[int, int]) -> object:
    return {_origin_bytes(origin): seq for origin, seq in sorted(floor.items())}


def _read_floor(reader: Reader) -> dict[int, int]:
    result: dict[int, int] = {}
    origin = -1
    for _ in range(reader.map(ORIGINS_MAX, "purge floor entries")):
        origin = _read_origin(reader, origin)
        result[origin] = reader.whole(1, SEQ_MAX, "a purge floor")
    return result


def _pack_chunk(chunk: Chunk) -> object:
    origins = {number: _origin_bytes(origin) for number, origin in sorted(chunk.origins.items())}
    return [origins, chunk.keys, chunk.rows, chunk.values]


def _read_chunk(reader: Reader) -> Chunk:
    reader.array(4, 4, "a chunk's columns")
    origins: dict[int, int] = {}
    number = -1
    for _ in range(reader.map(ORIGINS_MAX, "origin numbers")):
        number = reader.whole(number + 1, _NUMBER_MAX, "an origin number")
        origins[number] = _read_origin(reader, -1)
    count = reader.array(1, CHUNK_RECORDS_MAX, "keys")
    keys = reader.blobs(count, KEY_BYTES_MAX, "keys")
    reader.array(count, count, "rows")
    rows = reader.blobs(count, _NUMBER_MAX, "rows")
    value_count = reader.array(0, _NUMBER_MAX, "values")
    values = reader.blobs(value_count, VALUE_BYTES_MAX, "values")
    size = sum(map(len, keys)) + sum(map(len, rows)) + sum(map(len, values))
    return Chunk(origins, keys, rows, values, size + RECORD_OVERHEAD_BYTES * count)


def _pack_revisions(revisions: Mapping[int, int]) -> object:
    return {_origin_bytes(origin): revision for origin, revision in sorted(revisions.items())}


def _read_revisions(reader: Reader) -> dict[int, int]:
    result: dict[int, int] = {}
    origin = -1
    for _ in range(reader.map(MEMBERS_MAX, "members")):
        origin = _read_origin(reader, origin)
        result[origin] = reader.whole(HEARD_OF, FORGOTTEN, "a revision")
    return result


def _read_origins(reader: Reader) -> tuple[int, ...]:
    result: list[int] = []
    for _ in range(reader.array(0, MEMBERS_AT_ONCE_MAX, "origins")):
        result.append(_read_origin(reader, result[-1] if result else -1))
    return tuple(result)


def _pack_members(members: tuple[Member, ...]) -> list[list[object]]:
    return [
        [
            _origin_bytes(member.origin),
            member.revision,
            member.name,
            member.since_ms,
            member.said_ms,
            member.version,
            list(member.addresses),
            _pack_known(member.known),
        ]
        for member in members
    ]


def _pack_accounts(members: tuple[Member, ...]) -> object:
    pairs = zip(_pack_members(members), members, strict=True)
    return [[*packed, _pack_known(member.seen)] for packed, member in pairs]


def _read_members(reader: Reader) -> tuple[Member, ...]:
    count = reader.array(0, MEMBERS_AT_ONCE_MAX, "members")
    return tuple(_read_member(reader) for _ in range(count))


def _read_accounts(reader: Reader) -> tuple[Member, ...]:
    count = reader.array(0, MEMBERS_AT_ONCE_MAX, "members")
    return tuple(
        replace(_read_member(reader, _ACCOUNT_FIELDS), seen=_read_known(reader))
        for _ in range(count)
    )


def _read_member(reader: Reader, count: int = _MEMBER_FIELDS) -> Member:
    reader.array(count, count, "what is said of a member")
    return Member(
        origin=_read_origin(reader, -1),
        revision=reader.whole(HEARD_OF, FORGOTTEN, "a revision"),
        name=reader.text(NAME_BYTES_MAX, "a member's name"),
        since_ms=reader.whole(0, WALL_MS_MAX, "when a member joined"),
        said_ms=reader.whole(0, WALL_MS_MAX, "when a member spoke"),
        version=reader.text(NAME_BYTES_MAX, "a member's version"),
        addresses=tuple(
            reader.text(ADDRESS_BYTES_MAX, "an address")
            for _ in range(reader.array(0, ADDRESSES_READ_MAX, "addresses of a member"))
        ),
        known=_read_known(reader),
    )


def _read_versions(reader: Reader) -> tuple[int, int]:
    reader.array(2, 2, "the versions")
    low = reader.whole(1, VERSION_MAX, "the least version")
    return low, reader.whole(low, VERSION_MAX, "the greatest version")


def _read_cluster_id(reader: Reader) -> bytes | None:
    value = reader.next()
    if value is not None and (
        type(value) is not bytes or not 1 <= len(value) <= CLUSTER_ID_BYTES_MAX
    ):
        raise ProtocolError(
            f"the cluster id is no byte string of 1 to {CLUSTER_ID_BYTES_MAX} bytes"
        )
    return value


def _read_hashes(reader: Reader) -> list[bytes]:
    hashes = reader.blobs(reader.array(BLOCKS, BLOCKS, "block hashes"), HASH_BYTES, "block hashes")
    if any(len(value) not in (0, HASH_BYTES) for value in hashes):
        raise ProtocolError(f"a block hash has neither 0 nor {HASH_BYTES} bytes")
    return hashes


def _read_code(reader: Reader) -> str:
    code = reader.text(NAME_BYTES_MAX, "the code")
    if code not in BYE_CODES:
        raise ProtocolError(f"{code!r} is no code of a Bye")
    return code


def _name(what: str) -> _Field:
    return _Field(lambda reader: reader.text(NAME_BYTES_MAX, what))


def _flag(what: str) -> _Field:
    return _Field(lambda reader: reader.flag(what))


_ROUND = _Field(lambda reader: reader.whole(1, ROUND_MAX, "the round"))
_KNOWN = _Field(_read_known, _pack_known)
_WANTED = _Field(_read_wanted, _pack_wanted)

_GRAMMAR: dict[int, tuple[type[Any], tuple[_Field, ...]]] = {
    1: (
        Hello,
        (
            _Field(_read_versions),
            _name("the cluster name"),
            _Field(_read_cluster_id),
            _name("the node name"),
            _Field(lambda reader: _read_origin(reader, -1), _origin_bytes),
            _Field(lambda reader: reader.blob(INSTANCE_BYTES, INSTANCE_BYTES, "the instance")),
            _name("the resolver name"),
            _flag("explicit"),
            _flag("has_data"),
            _Field(lambda reader: reader.whole(0, WALL_MS_MAX, "the wall clock")),
            _Field(_read_hashes),
            _Field(lambda reader: reader.blob(HASH_BYTES, HASH_BYTES, "the hash of the members")),
            _Field(lambda reader: reader.whole(0, 65535, "the port")),
            _Field(lambda reader: reader.text(ADDRESS_BYTES_MAX, "the dialled address")),
        ),
    ),
    2: (Known, (_KNOWN,)),
    3: (Want, (_ROUND, _WANTED)),
    4: (Begin, (_ROUND, _KNOWN, _Field(_read_floor, _pack_floor), _flag("full"))),
    5: (Records, (_ROUND, _Field(_read_chunk, _pack_chunk))),
    6: (End, (_ROUND,)),
    7: (
        Bye,
        (_Field(lambda reader: reader.text(REASON_BYTES_MAX, "the reason")), _Field(_read_code)),
    ),
    8: (Ping, ()),
    9: (Pong, ()),
    10: (Revisions, (_Field(_read_revisions, _pack_revisions),)),
    11: (
        Call,
        (_Field(_read_origins, lambda origins: [_origin_bytes(origin) for origin in origins]),),
    ),
    12: (Members, (_Field(_read_members, _pack_members),)),
    15: (Compare, (_ROUND, _Field(read_parts, pack_parts))),
    16: (Verdict, (_ROUND, _Field(read_verdicts))),
    17: (
        Digest,
        (
            _Field(read_step),
            _ROUND,
            _Field(lambda reader: reader.whole(0, WALL_MS_MAX, "the moment")),
            _Field(read_hash),
            _Field(read_hash),
        ),
    ),
    13: (Accounts, (_Field(_read_accounts, _pack_accounts),)),
    14: (Closed, (_KNOWN,)),
    18: (Durable, (_KNOWN,)),
    19: (Secure, (_KNOWN,)),
    20: (WantFull, (_ROUND,)),
}
"""Tag → message and how its fields travel, in the order of the class. Only ever added to."""

_TAGS = {kind: tag for tag, (kind, _) in _GRAMMAR.items()}
_NAMES = {kind: tuple(item.name for item in fields(kind)) for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """The payload of the frame for `message`, whose fields keep the limits."""
    kind = type(message)
    tag = _TAGS[kind]
    values = zip(_NAMES[kind], _GRAMMAR[tag][1], strict=True)
    return msgpack.packb([tag, *(item.pack(getattr(message, name)) for name, item in values)])


def decode(payload: bytes) -> Message:
    """The message that the payload of one frame holds.

    Raises:
        ProtocolError: it holds none.
    """
    try:
        return _decode(Reader(payload), len(payload))
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a frame of {len(payload)} bytes holds no message: {error}") from error


def _decode(reader: Reader, size: int) -> Message:
    count = reader.array(1, VERSION_MAX, "fields") - 1
    tag = reader.whole(0, VERSION_MAX, "the tag")
    if tag not in _GRAMMAR:
        raise ProtocolError(f"there is no message with tag {tag}")
    kind, items = _GRAMMAR[tag]
    if count != len(items) and not (kind is Hello and count > len(items)):
        raise ProtocolError(f"{kind.__name__} has {len(items)} fields, not {count}")
    message: Message = kind(*(item.read(reader) for item in items))
    reader.skip(count - len(items))
    if reader.position() != size:
        raise ProtocolError(f"bytes follow a {kind.__name__}")
    return message
