"""The commands of the daemon's socket: a table of plain functions over one handle.

=====================================  ===========================================================
REPL.SCAN [PREFIX p] [START k]         the next key to pass as AFTER, or null; keys and values in
[STOP k] [AFTER k] [COUNT n]           turn, or keys alone. Pages are bounded; each is a snapshot of
[REVERSE 1] [VALUES 0]                 its own
REPL.LOAD key value …                  one commit; what a key shows already is not written again:
                                       {written, unchanged}
REPL.LOADPXAT key value ms …           the same of values that expire, in milliseconds since the
                                       epoch; what has expired is left out: {…, expired}
REPL.PUT key value [PX ms]             OK once it is in, and on the disks of n peers; NOREPLICAS
[SYNC 1] [REPLICAS n] [TIMEOUT ms]     where it is not in time. Supersedes all, or what was SEEN. IF
[SEEN dot … | IF dot …]                writes only where exactly these are live, else CHANGED
REPL.DELETE key [SYNC 1] [REPLICAS n]  the same for a delete
[TIMEOUT ms] [SEEN dot … | IF dot …]
REPL.BATCH [SYNC 1] [REPLICAS n]       one commit: how many keys. NOREPLICAS as above
[TIMEOUT ms] (PUT key value | PUTPX
key value ms | DELETE key) …
REPL.TOKEN [OWN]                       what this node has now, or has written, to be waited for
REPL.WAITFOR token timeout-ms          whether this node has it, in that time
REPL.CHANGES [SINCE token] [COUNT n]   the next token, then items: [kind, key, value, dot, is local,
[ORIGINS local|remote|origin] [WAIT    token, expiry or null]; waits for the first one. Without
ms]                                    SINCE from the beginning
REPL.VERSIONS key                      live versions, tombstones included, winner first
REPL.RESOLVE key dot | DOT dot |       settle a conflict by a live version, written anew, by a new
VALUE v | DELETE [SEEN dot …]          value, or by a delete; supersedes all, or those SEEN: its dot
REPL.REEVALUATE [timeout-ms]           let all conflicts show what the resolver makes of them now:
                                       {complete, deferred, keys, changed}
REPL.CONFLICTS [AFTER k] [COUNT n]     the next key to pass as AFTER, or null; [key, versions] …
REPL.DIGEST [STEPS 1]                  hex, equal on nodes that hold the same (R16); with STEPS
                                       {keys, is_done, digest}, REPL.MORE until it is done
REPL.SYNC [timeout-ms]                 a round with every known peer, now: whether that succeeded
REPL.MEMBERS                           every node of the cluster, as maps
REPL.JOIN host:port [timeout-ms]       merge with the cluster of the node there (R15)
REPL.FORGET node                       take a node off the members, by name or origin (R10)
REPL.STATUS                            everything `status()` knows, as maps
REPL.BACKUP path [COMPRESS 1]          write a backup, as far as a step goes: {records, size_bytes,
[SINCE path]                           is_done}; REPL.MORE until it is done
REPL.EXPORT [PREFIX p] [START k]       [key, value, expiry or null] …, with VERSIONS [… versions,
[STOP k] [VERSIONS 1]                  context] …, a page of one snapshot; REPL.MORE until a page
                                       is empty
REPL.VERIFY                            {keys, faults, is_done}, as far as a step goes, the last one
                                       with {counts, notes}; REPL.MORE until it is done
REPL.RECORDS moment-ms                 {known, digest as of then}; REPL.MORE gives pages of [key,
                                       CRC-32 of the value shown, [dot, operation, clock,
                                       timestamp, expiry, CRC-32] …] until one is empty
REPL.MORE                              the next step of what this client has begun
=====================================  ===========================================================

They run in worker threads and may block, for the disk or for a peer. What takes several requests
(REPL.MORE) is a client's own, one thing at a time, and is given up when that one goes away.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Final

from replicator.core.clock import to_ms
from replicator.core.dots import format_origin, parse_dot
from replicator.faces import checking, scanning
from replicator.faces.access import Role
from replicator.faces.handle import Replica
from replicator.faces.promises import (
    batch,
    changes,
    delete_with,
    put_with,
    token,
    wait_for,
)
from replicator.faces.redis.clientcommands import CLIENTS
from replicator.faces.redis.connection import CONNECTION
from replicator.faces.redis.counting import COUNTING
from replicator.faces.redis.expiries import EXPIRIES
from replicator.faces.redis.flushing import FLUSHING
from replicator.faces.redis.information import INFORMATION
from replicator.faces.redis.introspection import INTROSPECTION
from replicator.faces.redis.keys import KEYS
from replicator.faces.redis.parameters import PARAMETER_COMMANDS
from replicator.faces.redis.pubsub import PUBSUB
from replicator.faces.redis.scanning import SCANNING
from replicator.faces.redis.serving import SERVING
from replicator.faces.redis.several import SEVERAL
from replicator.faces.redis.strings import STRINGS
from replicator.faces.redis.table import OK, Command, Table, waiting
from replicator.faces.redis.transactions import TRANSACTIONS
from replicator.faces.resp import Reply
from replicator.faces.scanning import bounded, successor
from replicator.faces.stepwise import CommandError, Session, Sized, absolute, pages
from replicator.faces.words import count as _count
from replicator.faces.words import flag
from replicator.faces.words import number as _number
from replicator.faces.words import options as _options
from replicator.faces.words import text as _text
from replicator.store.careful import check_expiry
from replicator.store.conflicts import Choice, Standing
from replicator.store.listing import Listed


def _load(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    if len(arguments) % 2:
        raise CommandError("ERR wrong number of arguments for 'repl.load' command")
    last = dict(zip(arguments[::2], arguments[1::2], strict=True))
    changed = [(key, value) for key, value in last.items() if replica.get(key) != value]
    with replica.write_batch(transaction=True) as batch:
        for key, value in changed:
            batch.put(key, value)
    return {"written": len(changed), "unchanged": len(arguments) // 2 - len(changed)}


def _load_expiring(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    if len(arguments) % 3:
        raise CommandError("ERR wrong number of arguments for 'repl.loadpxat' command")
    last = {
        key: (value, _number(ms))
        for key, value, ms in zip(arguments[::3], arguments[1::3], arguments[2::3], strict=True)
    }
    store = replica._engine.store
    now_ms = store.wall_ms()
    for key, (value, expiry_ms) in last.items():
        check_expiry(key, value, expiry_ms)
    left = {key: told for key, told in last.items() if told[1] > now_ms}
    changed = {
        key: (value, expiry_ms)
        for key, (value, expiry_ms) in left.items()
        if replica.get(key) != value or store.expiry_ms(key) != expiry_ms
    }
    store.write(
        [(key, value) for key, (value, _) in changed.items()],
        expiries={key: expiry_ms for key, (_, expiry_ms) in changed.items()},
    )
    expired = len(last) - len(left)
    unchanged = len(arguments) // 3 - len(changed) - expired
    return {"written": len(changed), "unchanged": unchanged, "expired": expired}


def _versions(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    return _shown(replica._standing(arguments[0]), replica._names(), _now_ms(replica))


def _resolve(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    key, kind, *rest = arguments
    choice: Choice = None
    if kind.upper() in (b"DOT", b"VALUE"):
        if not rest:
            raise CommandError("ERR syntax error")
        word, *rest = rest
        choice = word if kind.upper() == b"VALUE" else _text(word)
    elif kind.upper() != b"DELETE":
        choice = _text(kind)
    if rest and (rest[0].upper() != b"SEEN" or len(rest) < 2):
        raise CommandError("ERR syntax error")
    seen = [parse_dot(_text(word)) for word in rest[1:]] if rest else None
    return str(replica.resolve(key, choice, seen=seen))


def _reevaluate(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    timeout = _number(arguments[0]) / 1000 if arguments else None
    complete = replica.reevaluate(timeout)
    revisit = replica._engine.store.revisit
    keys, changed = revisit.counts()
    return {
        "complete": complete,
        "deferred": revisit.is_foreign,
        "keys": keys,
        "changed": changed,
    }


def _conflicts(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    options = _options(arguments, (b"AFTER", b"COUNT"))
    conflicts = replica._standings(options.get(b"AFTER"))
    page, more = bounded(conflicts, _count(options), _conflict_bytes)
    told = replica._names(), _now_ms(replica)
    return [page[-1].key if more else None, [[found.key, _shown(found, *told)] for found in page]]


def _sync(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    return replica.sync(timeout=_number(arguments[0]) / 1000 if arguments else None)


def _status(replica: Replica, _session: Session, _arguments: list[bytes]) -> Reply:
    return _maps(replica.status())


def _members(replica: Replica, _session: Session, _arguments: list[bytes]) -> Reply:
    return _maps(replica.members())


def _join(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    address = arguments[0].decode(errors="backslashreplace")
    timeout = _number(arguments[1]) / 1000 if len(arguments) > 1 else None
    replica.join(address, timeout=timeout)
    return OK


def _forget(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    replica.forget(arguments[0].decode(errors="backslashreplace"))
    return OK


def _backup(replica: Replica, session: Session, arguments: list[bytes]) -> Reply:
    options = _options(arguments[1:], (b"COMPRESS", b"SINCE"))
    since = options.get(b"SINCE")
    steps = replica.backup_steps(
        absolute(arguments[0]),
        compress=flag(options, b"COMPRESS"),
        since=None if since is None else absolute(since),
    )
    return session.begin(map(_maps, steps), steps)


def _export(replica: Replica, session: Session, arguments: list[bytes]) -> Reply:
    options = _options(arguments, (b"PREFIX", b"START", b"STOP", b"VERSIONS"))
    prefix = options.get(b"PREFIX", b"")
    ends = [end for end in (options.get(b"STOP"), successor(prefix)) if end is not None]
    bounds = max(prefix, options.get(b"START", b"")), min(ends, default=None)
    if flag(options, b"VERSIONS"):
        records = replica.records(*bounds)
        told = replica._names(), _now_ms(replica)
        return session.begin(pages(_listed(record, *told) for record in records), records)
    if replica._engine.store.due.was_any:
        records = replica.records(*bounds)
        shown = (_shown_item(one) for one in records if one.value is not None)
        return session.begin(pages(shown), records)
    items = replica.iterator(start=bounds[0], stop=bounds[1])
    return session.begin(pages(map(_item, items)), items)


def _more(_replica: Replica, session: Session, _arguments: list[bytes]) -> Reply:
    return session.step()


OWN: Final[Table] = {
    b"REPL.SCAN": waiting(scanning.scan, 1),
    b"REPL.LOAD": waiting(_load, 3, needs=Role.APPLICATION),
    b"REPL.LOADPXAT": waiting(_load_expiring, 4, needs=Role.APPLICATION),
    b"REPL.PUT": waiting(put_with, 3, needs=Role.APPLICATION),
    b"REPL.DELETE": waiting(delete_with, 2, needs=Role.APPLICATION),
    b"REPL.BATCH": waiting(batch, 3, needs=Role.APPLICATION),
    b"REPL.TOKEN": Command(Role.READONLY, 1, 2, token, alone=True),
    b"REPL.WAITFOR": Command(Role.READONLY, 3, 3, wait_for, alone=True),
    b"REPL.CHANGES": Command(Role.READONLY, 1, 9, changes, alone=True),
    b"REPL.VERSIONS": waiting(_versions, 2, 2),
    b"REPL.RESOLVE": waiting(_resolve, 3, needs=Role.ADMIN),
    b"REPL.REEVALUATE": waiting(_reevaluate, 1, 2, needs=Role.ADMIN),
    b"REPL.CONFLICTS": waiting(_conflicts, 1),
    b"REPL.DIGEST": waiting(checking.digest, 1, 3),
    b"REPL.SYNC": waiting(_sync, 1, 2, needs=Role.APPLICATION),
    b"REPL.MEMBERS": waiting(_members, 1, 1),
    b"REPL.JOIN": waiting(_join, 2, 3, needs=Role.ADMIN),
    b"REPL.FORGET": waiting(_forget, 2, 2, needs=Role.ADMIN),
    b"REPL.STATUS": waiting(_status, 1, 1),
    b"REPL.BACKUP": waiting(_backup, 2, 6, needs=Role.ADMIN),
    b"REPL.EXPORT": waiting(_export, 1, 9),
    b"REPL.VERIFY": waiting(checking.verify, 1, 1),
    b"REPL.RECORDS": waiting(checking.records, 2, 2),
    b"REPL.MORE": waiting(_more, 1, 1),
}

COMMANDS: Final[Table] = {
    **CONNECTION,
    **CLIENTS,
    **INTROSPECTION,
    **INFORMATION,
    **PARAMETER_COMMANDS,
    **SERVING,
    **STRINGS,
    **COUNTING,
    **SEVERAL,
    **KEYS,
    **EXPIRIES,
    **SCANNING,
    **FLUSHING,
    **TRANSACTIONS,
    **PUBSUB,
    **OWN,
}
"""All commands, by their names in capitals."""


def _conflict_bytes(found: Standing) -> int:
    return sum(len(found.key) + len(version.value or b"") for version in found.versions)


def _now_ms(replica: Replica) -> int:
    return replica._engine.store.wall_ms()


def _shown(found: Standing, names: Mapping[int, str], now_ms: int) -> list[Reply]:
    return [
        {
            "dot": str(version.dot),
            "node": names.get(version.dot.origin),
            "wins": place == 0 and not found.is_merged,
            "clock": version.clock,
            "timestamp": version.timestamp,
            "time_ms": to_ms(version.timestamp),
            "operation": "delete" if version.is_delete else "put",
            "value": version.value,
            "expiry_ms": version.expiry_ms,
            "expired": version.expiry_ms is not None and version.expiry_ms <= now_ms,
        }
        for place, version in enumerate(found.versions)
    ]


def _item(item: tuple[bytes, bytes]) -> Sized:
    key, value = item
    return [key, value, None], len(key) + len(value)


def _shown_item(found: Listed) -> Sized:
    key, value = found.standing.key, found.value or b""
    return [key, value, found.expiry_ms], len(key) + len(value)


def _listed(found: Listed, names: Mapping[int, str], now_ms: int) -> Sized:
    context = {format_origin(origin): seq for origin, seq in found.context.items()}
    shown = _shown(found.standing, names, now_ms)
    reply = [found.standing.key, found.value, found.expiry_ms, shown, context]
    return reply, _conflict_bytes(found.standing)


def _maps(value: object) -> Reply:
    """A dataclass, and what is in it, as a reply."""
    if is_dataclass(value):
        return {field.name: _maps(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _maps(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_maps(item) for item in value]
    return value if isinstance(value, bool | int | float | bytes | None) else str(value)
