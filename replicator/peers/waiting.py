"""Who waits until peers hold writes on disk, and which peers do.

A peer counts when it has said itself that it holds all of the dots durably: in a conversation,
where it was asked to (`replicator.protocol.securing`), or in the account that gossip passes on
(R7). Forgotten members do not count, and a peer that has taken another origin counts once.

Of an own dot nobody can hold what was never shown. An account that says so is from another life of
this directory (R13) and proves a fork, no acknowledgement. After a fork the waiting goes on for
what the write was issued again as.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import trio

from replicator.config import MEMBERS_MAX
from replicator.core.dots import Dot, format_origin
from replicator.core.known import KnownSet
from replicator.core.members import Roster
from replicator.errors import NotReplicated
from replicator.peers.contacts import Contacts
from replicator.peers.session import Session
from replicator.store.store import Store

DOTS_NAMED_MAX = 100
"""Dots that an error names."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits until `dots` are on the disks of so many peers; `holders` has them."""

    dots: KnownSet
    replicas: int
    holders: set[int] = field(default_factory=set)
    done: trio.Event = field(default_factory=trio.Event)


class Waiting:
    """All who wait at one node. For one trio thread.

    Args:
        roster: what is known of the members.

    Attributes:
        on_short: called where more peers are waited for than are talked to.
    """

    def __init__(self, store: Store, contacts: Contacts, roster: Roster) -> None:
        self.on_short: Callable[[], None] = lambda: None
        self._store = store
        self._contacts = contacts
        self._roster = roster
        self._waiters: dict[_Waiter, None] = {}
        self._said: dict[int, KnownSet] = {}
        self._origins: dict[bytes, int] = {}
        self._left: set[int] = set()

    async def until_held(self, dots: KnownSet, replicas: int, timeout: float | None) -> None:
        """Return when so many peers hold all of `dots` on disk.

        On cancellation nobody waits any more; the writes stay.

        Args:
            dots: own ones, committed here.
            replicas: how many peers, at least 1.
            timeout: seconds; None waits as long as it takes.

        Raises:
            NotReplicated: in that time they did not.
        """
        waiter = _Waiter(self._current(dots), replicas)
        self._waiters[waiter] = None
        try:
            for member in self._roster.members():
                self._look(waiter, member.origin)
            if not waiter.done.is_set():
                self._ask(waiter)
                with trio.move_on_after(inf if timeout is None else timeout):
                    await waiter.done.wait()
            if not waiter.done.is_set():
                raise self._failure(waiter, f"within {timeout:g} s")
        finally:
            del self._waiters[waiter]
            if not self._waiters:
                self._said.clear()

    def failure(self, dots: KnownSet, replicas: int, why: str) -> NotReplicated:
        """What to raise for writes that nobody waits for any more."""
        waiter = _Waiter(self._current(dots), replicas)
        for member in self._roster.members():
            self._look(waiter, member.origin)
        return self._failure(waiter, why)

    # What happens meanwhile

    def met(self, session: Session) -> None:
        """A conversation is open: its peer is asked too."""
        peer = session.conversation.peer
        assert peer is not None, "a peer is met when it has greeted"
        before = self._origins.get(peer.instance, peer.origin)
        if before != peer.origin:
            self._leave(before)
        self._left.discard(peer.origin)
        self._origins.pop(peer.instance, None)
        self._origins[peer.instance] = peer.origin
        if len(self._origins) > MEMBERS_MAX:
            del self._origins[next(iter(self._origins))]
        for waiter in self._waiters:
            session.secure(waiter.dots)

    def secured(self, session: Session, known: KnownSet) -> None:
        """The peer has made durable what it was asked for."""
        peer = session.conversation.peer
        if peer is not None and self._waiters:
            self._said.setdefault(peer.origin, KnownSet()).update(known)
            for waiter in list(self._waiters):
                self._look(waiter, peer.origin)

    def roster_changed(self, origins: set[int]) -> None:
        """Accounts of these members were passed on, or they were forgotten."""
        for waiter in list(self._waiters):
            for origin in origins:
                self._look(waiter, origin)

    def forked(self) -> None:
        """This node has taken a new origin: what was given up is waited for as what it was issued
        again as, and whoever acknowledged it has acknowledged something else (R13)."""
        for waiter in list(self._waiters):
            current = self._current(waiter.dots)
            if current != waiter.dots:
                waiter.dots = current
                waiter.holders.clear()
                self._said.clear()

    # Who holds what

    def _current(self, dots: KnownSet) -> KnownSet:
        """The dots; for those that a fork has given up, all that was issued since: what it has
        issued again is among that."""
        known = self._store.known()
        if known.issuperset(dots):
            return dots
        current = dots.intersection(known)
        current.add_range(self._store.origin, 1, known.highest(self._store.origin) + 1)
        return current

    def _look(self, waiter: _Waiter, origin: int) -> None:
        """Whether one peer holds what is waited for."""
        if self._holds(origin, waiter.dots):
            waiter.holders.add(origin)
        else:
            waiter.holders.discard(origin)
        if len(waiter.holders) >= waiter.replicas:
            waiter.holders = {one for one in waiter.holders if self._holds(one, waiter.dots)}
        if len(waiter.holders) >= waiter.replicas:
            waiter.done.set()

    def _holds(self, origin: int, dots: KnownSet) -> bool:
        store, account = self._store, self._roster.get(origin)
        if (
            origin == store.origin
            or origin in self._left
            or account is None
            or account.is_forgotten
            or dots.highest(store.origin) > store.shown
        ):
            return False
        said = self._said.get(origin)
        if said is None:
            return account.known.issuperset(dots)
        return said.issuperset(dots) or account.known.union(said).issuperset(dots)

    def _leave(self, origin: int) -> None:
        """A process that was met under this origin has another one now."""
        self._left.add(origin)
        self._said.pop(origin, None)
        for waiter in self._waiters:
            waiter.holders.discard(origin)

    def _ask(self, waiter: _Waiter) -> None:
        open_ones = 0
        for contact in self._contacts.by_origin.values():
            for session in contact.sessions[-1:]:
                session.secure(waiter.dots)
                open_ones += 1
        if open_ones < waiter.replicas:
            self.on_short()

    def _failure(self, waiter: _Waiter, why: str) -> NotReplicated:
        members = [one for one in self._roster.members() if one.origin != self._store.origin]
        durable, held = [], []
        for member in members:
            contact = self._contacts.by_origin.get(member.origin)
            known = member.known if contact is None else member.known.union(contact.known)
            if member.origin in waiter.holders:
                durable.append(member.name or format_origin(member.origin))
            elif known.issuperset(waiter.dots):
                held.append(member.name or format_origin(member.origin))
        peers = f"there are {len(members)} other members" if members else "there is no other member"
        if len(members) == 1:
            peers = "there is 1 other member"
        return NotReplicated(
            f"the write is in here, and {why} it was on the disks of {len(durable)} peers instead "
            f"of {waiter.replicas}: durable at {_listed(durable)}, known at {_listed(held)}; "
            f"{peers}. It stays, and goes on to them: do not write it again, look at status()",
            dots=_named(waiter.dots),
            wanted=waiter.replicas,
            durable_at=tuple(sorted(durable)),
            held_at=tuple(sorted(held)),
            members=1 + len(members),
        )


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _named(dots: KnownSet) -> tuple[str, ...]:
    named: list[str] = []
    for dot in dots.dots():
        if len(named) == DOTS_NAMED_MAX:
            break
        named.append(str(Dot(*dot)))
    return tuple(named)
