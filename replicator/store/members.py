"""The members as they were known last: one row each, so that a restart knows whom to dial and what
was acknowledged (R7).

They are written without haste and without a sync of their own: an older state of them costs a
question, for every account is its author's, and newer ones come with the next conversation.
"""

from collections.abc import Iterable

import msgpack

from replicator.core.known import KnownSet
from replicator.core.members import Member
from replicator.errors import FormatError
from replicator.store.keyspace import (
    MEMBER,
    SEQ,
    after,
    member_key,
    pack_known,
    pack_meta,
    unpack_known,
)
from replicator.store.state import State

_KINDS = [int, str, int, int, str, list, bytes, int, bytes]
_KINDS_BEFORE = _KINDS[:-1]
"""Of rows from before there were closed sets."""


def read_members(state: State) -> list[tuple[Member, int]]:
    """Every account that was stored, with the wall clock at which it came, in milliseconds.

    Raises:
        FormatError: a row is malformed.
        ClosedError: the store is closed.
    """
    state.refuse_closed()
    with state.db.iterator(start=MEMBER, stop=after(MEMBER)) as found:
        return [unpack_member(row_key, row) for row_key, row in found]


def write_members(state: State, accounts: Iterable[tuple[Member, int]]) -> None:
    """Store accounts, each with the wall clock at which it came.

    Raises:
        ClosedError: the store is closed.
        CommitError, StoreFailedError: see `Level.commit`.
    """
    state.refuse_closed()
    batch = state.db.write_batch()
    for member, heard_ms in accounts:
        batch.put(member_key(member.origin), _pack(member, heard_ms))
    with state.level.lock:
        state.commit_quietly(batch)


def _pack(member: Member, heard_ms: int) -> bytes:
    return pack_meta(
        [
            member.revision,
            member.name,
            member.since_ms,
            member.said_ms,
            member.version,
            list(member.addresses),
            pack_known(member.known),
            heard_ms,
            pack_known(member.seen),
        ]
    )


def unpack_member(row_key: bytes, row: bytes) -> tuple[Member, int]:
    """The account in a row, and the wall clock at which it came, in milliseconds.

    Raises:
        FormatError: it is malformed.
    """
    try:
        (origin,) = SEQ.unpack(row_key[len(MEMBER) :])
        fields = msgpack.unpackb(row)
        kinds = [type(field) for field in fields] if isinstance(fields, list) else []
        if kinds == _KINDS_BEFORE:
            fields.append(pack_known(KnownSet()))
        elif kinds != _KINDS:
            raise ValueError("other fields")
        revision, name, since_ms, said_ms, version, addresses, known, heard_ms, seen = fields
        if not all(isinstance(address, str) for address in addresses):
            raise ValueError("an address is no text")
    except Exception as error:
        raise FormatError(
            f"the row of a member does not decode ({error}); restore the directory from a backup"
        ) from error
    sets: list[KnownSet] = [unpack_known("member", known), unpack_known("member", seen)]
    said = (revision, name, since_ms, said_ms, version, tuple(addresses))
    return Member(origin, *said, *sets), heard_ms
