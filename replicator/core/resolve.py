"""Which value a key shows: a pure function of all its live versions (R6).

Every node that holds the same siblings shows the same value, whatever the resolver is,
transitive or not: versions equal in operation and value count once, as the greatest of them in
default order; what remains is folded in dot order with the resolver, the winner so far as `b`
and the next version as `a`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from replicator.config import VALUE_BYTES_MAX
from replicator.core.dots import Dot
from replicator.core.record import Version

Resolver = Callable[[Version, Version], "bool | bytes"]
"""``resolver(a, b)``: True accepts `a`, False keeps `b`, bytes are both merged."""

ResolverMode = Literal["concurrent", "equal-clock"]

Reason = Literal["clock", "timestamp", "dot", "resolver", "merged", "fault"]
"""Why a conflict shows what it shows: the first of the default order's criteria in which the winner
differs from the next in that order; the resolver's choice; what the resolver merged; the default
order because the resolver failed."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the fold came to.

    Attributes:
        visible: the version shown; where the resolver merged, one that no node wrote.
        merged: whether `visible` is such a merged version.
        conflict: whether the versions differ in operation or value.
        fault: what the resolver raised or did wrong; then the default order decided.
        reason: why, where there is a conflict.
    """

    visible: Version
    merged: bool
    conflict: bool
    fault: Exception | None = None
    reason: Reason | None = None


def default_order(version: Version) -> tuple[int, int, Dot]:
    """Higher clock, then later timestamp, then greater dot."""
    return (version.clock, version.timestamp, version.dot)


def default_resolver(a: Version, b: Version) -> bool:
    """Accept the greater in default order."""
    return default_order(a) > default_order(b)


def resolve(
    versions: Sequence[Version],
    resolver: Resolver = default_resolver,
    mode: ResolverMode = "concurrent",
) -> Resolution:
    """Fold the live versions of one key into the one that it shows.

    Args:
        versions: all live versions, at least one, in any order, values loaded.
        resolver: called once per further distinct version, tombstones among them; anything it
            raises, and any answer other than True, False, or bytes that can be stored, makes the
            default order decide for this key.
        mode: "concurrent": the resolver settles every conflict; "equal-clock": a higher clock
            wins by itself.
    """
    distinct = _distinct(versions)
    if len(distinct) == 1:
        return Resolution(distinct[0], merged=False, conflict=False)
    try:
        visible, asked = _fold(distinct, resolver, mode)
    except Exception as error:  # whatever a user's function raises must not stop replication
        return Resolution(max(distinct, key=default_order), False, True, error, "fault")
    if all(visible is not version for version in distinct):
        return Resolution(visible, True, True, reason="merged")
    if asked and resolver is not default_resolver:
        return Resolution(visible, False, True, reason="resolver")
    return Resolution(visible, False, True, reason=_reason(visible, distinct))


def is_conflict(versions: Sequence[Version]) -> bool:
    """Whether two of the versions differ in operation or value."""
    return any(not versions[0].same_content(version) for version in versions[1:])


def _distinct(versions: Sequence[Version]) -> list[Version]:
    """One version per distinct operation and value, the greatest in default order, in dot order."""
    groups: dict[tuple[bool, bytes | None], Version] = {}
    for version in versions:
        content = (version.is_delete, version.value)
        best = groups.get(content)
        if best is None or default_order(version) > default_order(best):
            groups[content] = version
    return sorted(groups.values(), key=lambda version: version.dot)


def _reason(winner: Version, versions: list[Version]) -> Reason:
    """What of the default order decided."""
    second = max((one for one in versions if one is not winner), key=default_order)
    if winner.clock != second.clock:
        return "clock"
    return "timestamp" if winner.timestamp != second.timestamp else "dot"


def _fold(versions: list[Version], resolver: Resolver, mode: ResolverMode) -> tuple[Version, bool]:
    """The winner, and whether the resolver was asked."""
    winner, asked = versions[0], False
    for version in versions[1:]:
        if mode == "equal-clock" and version.clock != winner.clock:
            answer: object = version.clock > winner.clock
        else:
            asked = True
            answer = resolver(version, winner)
        if answer is True:
            winner = version
        elif isinstance(answer, bytes):
            winner = _merged(version, winner, answer)
        elif answer is not False:
            raise TypeError(
                f"the resolver answered {type(answer).__name__}; "
                "it must answer True, False or bytes"
            )
    return winner, asked


def _merged(a: Version, b: Version, value: bytes) -> Version:
    """Highest clock, latest timestamp, greatest dot, last expiry of the parts; no delete.

    The checksum is left to whoever stores the value.

    Raises:
        ValueError: no put could have that value.
    """
    if len(value) > VALUE_BYTES_MAX:
        raise ValueError(
            f"the resolver merged to {len(value)} bytes; a value has at most {VALUE_BYTES_MAX}"
        )
    return replace(
        a,
        dot=max(a.dot, b.dot),
        clock=max(a.clock, b.clock),
        timestamp=max(a.timestamp, b.timestamp),
        is_delete=False,
        value=bytes(value),
        expiry_ms=_last_expiry(a, b),
        checksum=0,
    )


def _last_expiry(a: Version, b: Version) -> int | None:
    """The later expiry of the puts; None (never) where a put has none."""
    expiries = [version.expiry_ms for version in (a, b) if not version.is_delete]
    if not expiries or None in expiries:
        return None
    return max(expiry for expiry in expiries if expiry is not None)
