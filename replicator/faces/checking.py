"""The commands of the socket that look at everything: REPL.DIGEST, REPL.VERIFY and REPL.RECORDS.

They go on with REPL.MORE, each reply being of bounded size and within bounded time.
"""

from collections.abc import Generator

from replicator.config import PAGE_BYTES, PAGE_ITEMS_MAX
from replicator.core.dots import format_origin
from replicator.faces.handle import Replica
from replicator.faces.resp import Reply
from replicator.faces.stepwise import CommandError, Session, Sized, pages
from replicator.faces.verification import Verification
from replicator.faces.words import flag, options
from replicator.store.summaries import Summary
from replicator.store.verify.faults import Fault

QUIET_STEPS_MAX = 200
"""Steps without a fault in one reply: of a thousand rows each."""


def digest(replica: Replica, session: Session, arguments: list[bytes]) -> Reply:
    """REPL.DIGEST: hex; with STEPS {keys, is_done, digest}, the digest in the last reply."""
    if not flag(options(arguments, (b"STEPS",)), b"STEPS"):
        return replica.digest()
    steps = _digest(replica)
    return session.begin(steps, steps)


def _digest(replica: Replica) -> Generator[Reply]:
    summaries = replica.summaries()
    keys = 0
    try:
        steps = summaries.digest_steps(replica._engine.store.wall_ms())
        while isinstance(step := replica._next(steps), int):
            keys = step
            yield {"keys": keys, "is_done": False, "digest": None}
        yield {"keys": keys, "is_done": True, "digest": step}
    finally:
        replica._release(summaries)


def verify(replica: Replica, session: Session, _arguments: list[bytes]) -> Reply:
    """REPL.VERIFY: {keys, faults, is_done}, and in the last reply counts and notes as well."""
    verification = replica.verify()
    return session.begin(_faults(verification), verification)


def _faults(verification: Verification) -> Generator[Reply]:
    page: list[Reply] = []
    size = quiet = 0
    for step in verification.steps():
        if step is None:
            quiet += 1
        else:
            page.append(shown_fault(step))
            size += len(step.key) + len(step.detail)
        if quiet == QUIET_STEPS_MAX or len(page) == PAGE_ITEMS_MAX or size >= PAGE_BYTES:
            yield {"keys": verification.keys, "faults": page, "is_done": False}
            page, size, quiet = [], 0, 0
    yield {
        "keys": verification.keys,
        "faults": page,
        "is_done": True,
        "counts": {str(kind): count for kind, count in verification.counts.items()},
        "notes": list(verification.notes),
    }


def shown_fault(fault: Fault) -> dict[str, Reply]:
    """A fault as a reply."""
    return {
        "fault": str(fault.kind),
        "key": fault.key,
        "detail": fault.detail,
        "dot": None if fault.dot is None else str(fault.dot),
    }


def records(replica: Replica, session: Session, arguments: list[bytes]) -> Reply:
    """REPL.RECORDS moment-ms: {known, digest}; then, by REPL.MORE, pages of [key, shown, versions],
    a version being [dot, operation, clock, timestamp, expiry, checksum]."""
    (moment,) = arguments
    if not moment.isdigit() or len(moment) > 15:
        raise CommandError("ERR value is not an integer or out of range")
    steps = _records(replica, int(moment))
    return session.begin(steps, steps)


def _records(replica: Replica, moment_ms: int) -> Generator[Reply]:
    summaries = replica.summaries()
    try:
        yield {
            "known": {format_origin(origin): bounds for origin, bounds in summaries.known.items()},
            "digest": replica._next(summaries.digests(moment_ms)),
        }
        found = summaries.read()
        yield from pages(_record(one) for one in iter(lambda: replica._next(found), None))
    finally:
        replica._release(summaries)


def _record(found: Summary) -> Sized:
    versions: list[Reply] = [
        [
            str(version.dot),
            "delete" if version.is_delete else "put",
            version.clock,
            version.timestamp,
            version.expiry_ms,
            version.checksum,
        ]
        for version in found.versions
    ]
    return [found.key, found.shown, versions], len(found.key) + 60 * len(versions)
