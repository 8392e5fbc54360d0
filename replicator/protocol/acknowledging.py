"""Who waits until peers hold writes on disk, and which peers do.

A peer counts when it has said itself that it holds all of the dots durably: in a conversation,
where it was asked to (`replicator.protocol.securing`), or in the account that gossip passes on
(R7). Forgotten members do not count, and a process that has taken another origin counts once.

Of an own dot nobody can hold what was never shown. An account that says so is from another life of
this directory (R13) and proves a fork, no acknowledgement. After a fork the waiting goes on for
what the write was issued again as.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from replicator.config import MEMBERS_MAX
from replicator.core.known import KnownSet
from replicator.core.members import Roster


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits until `dots` are on the disks of so many peers.

    Attributes:
        holders: origins of the peers that hold them.
        is_done: whether these were enough once.
        on_done: called then.
    """

    dots: KnownSet
    replicas: int
    on_done: Callable[[], object] = lambda: None
    holders: set[int] = field(default_factory=set)
    is_done: bool = False


class Acknowledgements:
    """All who wait at one node. Not thread-safe.

    Args:
        roster: what is known of the members.
        origin, shown, known: read this node's origin, the highest own seq that was ever shown, and
            a copy of its known set.
    """

    def __init__(
        self,
        roster: Roster,
        origin: Callable[[], int],
        shown: Callable[[], int],
        known: Callable[[], KnownSet],
    ) -> None:
        self._roster = roster
        self._origin = origin
        self._shown = shown
        self._known = known
        self._waiters: dict[Waiter, None] = {}
        self._said: dict[int, KnownSet] = {}
        self._origins: dict[bytes, int] = {}
        self._left: set[int] = set()

    def begin(self, waiter: Waiter) -> None:
        """Somebody waits, for own dots that were committed; perhaps not for long."""
        waiter.dots = self._current(waiter.dots)
        self._waiters[waiter] = None
        for member in self._roster.members():
            self._look(waiter, member.origin)

    def end(self, waiter: Waiter) -> None:
        """Somebody waits no more."""
        self._waiters.pop(waiter, None)
        if not self._waiters:
            self._said.clear()

    def wanted(self) -> KnownSet:
        """All that is waited for."""
        wanted = KnownSet()
        for waiter in self._waiters:
            wanted.update(waiter.dots)
        return wanted

    # What happens meanwhile

    def met(self, instance: bytes, origin: int) -> None:
        """The process `instance` has greeted under an origin."""
        before = self._origins.pop(instance, origin)
        self._origins[instance] = origin
        if before != origin:
            self._left.add(before)
            self._said.pop(before, None)
            for waiter in self._waiters:
                waiter.holders.discard(before)
        self._left.discard(origin)
        if len(self._origins) > MEMBERS_MAX:
            del self._origins[next(iter(self._origins))]

    def secured(self, origin: int, known: KnownSet) -> None:
        """A peer has made durable what it was asked for."""
        if self._waiters:
            self._said.setdefault(origin, KnownSet()).update(known)
            self.roster_changed((origin,))

    def roster_changed(self, origins: Iterable[int]) -> None:
        """Accounts of these members have come."""
        for waiter in list(self._waiters):
            for origin in origins:
                self._look(waiter, origin)

    def forked(self) -> None:
        """This node has taken a new origin: what was given up is waited for as what it was issued
        again as, and whoever acknowledged it has acknowledged something else (R13)."""
        for waiter in list(self._waiters):
            current = self._current(waiter.dots)
            if current is not waiter.dots:
                waiter.dots = current
                waiter.holders.clear()
                self._said.clear()

    # Who holds what

    def _current(self, dots: KnownSet) -> KnownSet:
        """The dots; for those that a fork has given up, all that was issued since: what it has
        issued again is among that."""
        known = self._known()
        if known.issuperset(dots):
            return dots
        current = dots.intersection(known)
        current.add_range(self._origin(), 1, known.highest(self._origin()) + 1)
        return current

    def _look(self, waiter: Waiter, origin: int) -> None:
        """Whether one peer holds what is waited for, and whether that is enough."""
        if self._holds(origin, waiter.dots):
            waiter.holders.add(origin)
        else:
            waiter.holders.discard(origin)
        if len(waiter.holders) >= waiter.replicas and not waiter.is_done:
            # Some of them may have been forgotten since.
            waiter.holders = {one for one in waiter.holders if self._holds(one, waiter.dots)}
            if len(waiter.holders) >= waiter.replicas:
                waiter.is_done = True
                waiter.on_done()

    def _holds(self, origin: int, dots: KnownSet) -> bool:
        account = self._roster.get(origin)
        if (
            origin == self._origin()
            or origin in self._left
            or account is None
            or account.is_forgotten
            or dots.highest(self._origin()) > self._shown()
        ):
            return False
        said = self._said.get(origin)
        return (account.known.union(said) if said else account.known).issuperset(dots)
