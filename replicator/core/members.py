"""Members: who takes part in the cluster, and what each has acknowledged (R7).

What is known of a node is written by that node alone, under revisions that only grow, so that two
accounts of it merge by taking the newer one: commutative, associative, idempotent, through any
topology. That a node is forgotten is the last revision there can be: nothing replaces it.

A node that was heard of and has said nothing yet stands in the roster with revision 0 and an empty
acknowledgement: it holds the watermark down until it speaks.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from replicator.config import MEMBERS_MAX
from replicator.core.known import KnownSet

HEARD_OF = 0
"""The revision of a node that has not yet said anything itself."""

FORGOTTEN = 2**63 - 1
"""The revision of a node that was forgotten: greater than any that a node gives itself."""


@dataclass(frozen=True, slots=True)
class Member:
    """What one node says of itself.

    Attributes:
        origin: who issues its writes.
        revision: grows whenever it says something new.
        name: what people call it.
        since_ms: its wall clock when it joined, milliseconds since the epoch.
        said_ms: its wall clock when it said this (R17).
        version: of the software.
        addresses: where peers have reached it, ``host:port``, the newest first.
        known: the durable known set that it acknowledges; not to be changed.
        seen: of forgotten origins, all that it knows, durable or not, where that has gaps: said
            once it hears nothing of them any more (R10); not to be changed.
    """

    origin: int
    revision: int
    name: str
    since_ms: int = 0
    said_ms: int = 0
    version: str = ""
    addresses: tuple[str, ...] = ()
    known: KnownSet = field(default_factory=KnownSet)
    seen: KnownSet = field(default_factory=KnownSet)

    @property
    def is_forgotten(self) -> bool:
        return self.revision == FORGOTTEN

    def forgotten(self) -> "Member":
        """What remains of it once it is forgotten."""
        return Member(self.origin, FORGOTTEN, self.name, self.since_ms, self.said_ms)


@dataclass(frozen=True, slots=True)
class Watermark:
    """What every member holds on disk.

    Attributes:
        covered: per origin, the seq up to which every acknowledgement is contiguous.
        needs: every dot in the acknowledgements that it was taken from: who uses it must know
            them all (R8).
        said_ms: a wall clock, milliseconds since the epoch, past which every member has told that
            it is: what expired before counts as deleted (R17).
    """

    covered: Mapping[int, int]
    needs: KnownSet
    said_ms: int = 0

    @classmethod
    def of(
        cls,
        acknowledged: Iterable[KnownSet],
        closed: KnownSet | None = None,
        said_ms: int = 0,
    ) -> "Watermark":
        """The watermark of a cluster whose members acknowledge these.

        Args:
            closed: dots that count as held by everybody, because nobody will ever hold them (R10).
        """
        acks = list(acknowledged)
        needs = KnownSet()
        for known in acks:
            needs.update(known)
        sets = [known.union(closed) for known in acks] if closed else acks
        lowest = ((origin, _lowest(origin, sets)) for origin in needs.origins())
        return cls({origin: seq for origin, seq in lowest if seq}, needs, said_ms)


def _lowest(origin: int, sets: list[KnownSet]) -> int:
    return min(known.contiguous(origin) for known in sets)


def _hash(account: Member) -> int:
    """8 bytes, as a number, of which revision of whom this is."""
    text = struct.pack(">QQ", account.origin, account.revision)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class Roster:
    """Everybody who was ever heard of, forgotten ones included. Not thread-safe.

    Args:
        accounts: what was stored; of two about one node the newer counts.

    Attributes:
        changed: how many changes there were.
        fingerprint: 8 bytes as a number; equal where the same revisions of the same nodes are
            known.
        is_full: whether somebody found no room; then there is no watermark.
    """

    __slots__ = ("_accounts", "_changes", "changed", "fingerprint", "is_full")

    def __init__(self, accounts: Iterable[Member] = ()) -> None:
        self._accounts: dict[int, Member] = {}
        self._changes: dict[int, int] = {}
        self.changed = 0
        self.fingerprint = 0
        self.is_full = False
        for account in accounts:
            self.take(account)

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[Member]:
        """All accounts, in the order of their origins."""
        return iter(sorted(self._accounts.values(), key=lambda account: account.origin))

    def get(self, origin: int) -> Member | None:
        return self._accounts.get(origin)

    def members(self) -> list[Member]:
        """Those who are not forgotten."""
        return [account for account in self if not account.is_forgotten]

    def is_forgotten(self, origin: int) -> bool:
        account = self._accounts.get(origin)
        return account is not None and account.is_forgotten

    def revision(self, origin: int) -> int:
        """The revision of what is known of a node; -1 where it was never heard of."""
        account = self._accounts.get(origin)
        return -1 if account is None else account.revision

    def revisions(self) -> dict[int, int]:
        """The revision of every account."""
        return {origin: account.revision for origin, account in self._accounts.items()}

    def changed_since(self, changed: int) -> Iterator[tuple[int, int]]:
        """Origins and revisions of the accounts that have changed since `changed` was so great."""
        for origin in reversed(self._changes):
            if self._changes[origin] <= changed:
                return
            yield origin, self.revision(origin)

    def take(self, account: Member) -> bool:
        """Take in what somebody passed on.

        Returns:
            Whether it was newer than what was known.
        """
        if account.revision <= self.revision(account.origin):
            return False
        if account.origin not in self._accounts and len(self) >= MEMBERS_MAX:
            self.is_full = True
            return False
        before = self._accounts.get(account.origin)
        if before is not None:
            self.fingerprint ^= _hash(before)
        self.fingerprint ^= _hash(account)
        self._accounts[account.origin] = account
        self._changes.pop(account.origin, None)  # the dict is in the order of the changes
        self.changed += 1
        self._changes[account.origin] = self.changed
        return True

    def heard_of(self, origin: int, name: str) -> bool:
        """A node is there; what it says of itself follows.

        Returns:
            Whether that is new.
        """
        return self.take(Member(origin, HEARD_OF, name))

    def forget(self, origin: int) -> bool:
        """A node takes part no more (R10).

        Returns:
            Whether it did until now.
        """
        account = self._accounts.get(origin)
        return account is not None and self.take(account.forgotten())

    def watermark(
        self,
        origin: int,
        durable: KnownSet,
        closed: KnownSet | None = None,
        wall_ms: int = 0,
    ) -> Watermark:
        """What every member holds, by their acknowledgements and the own durable known set.

        Args:
            origin: of this node, whose own account may be older than what it knows to be durable.
            closed: the closed set (R10).
            wall_ms: this node's wall clock.
        """
        if self.is_full:
            return Watermark({}, KnownSet())
        others = [member for member in self.members() if member.origin != origin]
        said_ms = min([wall_ms, *(member.said_ms for member in others)])
        return Watermark.of([durable, *(member.known for member in others)], closed, said_ms)
