"""Who is in the cluster, as this node keeps it, tells it and stores it (R7).

A node speaks for itself alone: it tells of itself when it starts, when its durable known set has
grown (its acknowledgement), when it was reached at another address, and now and then to show that
it lives. All of that slows down as the cluster grows, so that its traffic stays small beside data.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import trio

from replicator.config import ADDRESSES_PER_MEMBER_MAX
from replicator.core.closing import closable, seen
from replicator.core.dots import format_origin
from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster, Watermark
from replicator.errors import ConfigError, UsageError
from replicator.net.address import Address, is_loopback, parse_address
from replicator.peers.contacts import Contacts
from replicator.peers.journal import Journal
from replicator.peers.lag import Lag
from replicator.release import software_version
from replicator.status import MemberStatus
from replicator.store.store import Store

GOSSIP_SECONDS = 0.5
"""Changes within that time are passed on together."""

ACK_SECONDS = 2.0
"""How often a node acknowledges what has become durable, in a cluster of `FEW_MEMBERS`."""

HEARTBEAT_SECONDS = 60.0
"""How often a node that has nothing to say shows that it lives, in such a cluster."""

FEW_MEMBERS = 16
"""Beyond that many the two above are stretched in proportion."""

SILENCES_MAX = 3
"""A node of which nothing was heard for so many heartbeats does not live."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Membership:
    """The roster of one node. For one trio thread, but for the making.

    Args:
        contacts: tells who is connected.

    Attributes:
        roster: what is known of everybody; read by the conversations.
        on_change: called when it has changed, at most every `GOSSIP_SECONDS`.
        on_forgotten: called when this node finds that it was forgotten (R10).

    Raises:
        FormatError: a stored row does not decode.
    """

    def __init__(self, store: Store, contacts: Contacts, journal: Journal) -> None:
        self.roster = Roster()
        self.on_change: Callable[[], None] = lambda: None
        self.on_forgotten: Callable[[], None] = lambda: None
        self._store = store
        self._contacts = contacts
        self._journal = journal
        self._name = ""
        self._listening: Address | None = None
        self._reached: dict[str, float] = {}
        self._heard_ms: dict[int, int] = {}
        self._heard_at: dict[int, float] = {}
        self._begun_at = 0.0
        self._lags: dict[int, Lag] = {}
        self._unsaved: set[int] = set()
        self._told = KnownSet()
        self._told_seen = KnownSet()
        self._spoke_at = 0.0
        self._is_news = True
        self._event = trio.Event()
        for member, heard_ms in store.members():
            self.roster.take(member)
            self._heard_ms[member.origin] = heard_ms

    # What happens

    def begin(self, name: str, listening: Address | None) -> None:
        """The node runs: take up the own account."""
        own = self.roster.get(self._store.origin)
        if listening is None and own is not None and name == format_origin(own.origin):
            name = own.name  # a visit that gives it no name
        self._name, self._listening = name, listening
        self._begun_at = trio.current_time()
        if own is not None and not own.is_forgotten:
            # Without a port this is a visit, and the node listens where it did when it runs again.
            port = "" if listening is None else f":{listening.port}"
            self._reached = {text: 0.0 for text in own.addresses if text.endswith(port)}
        if self._store.former and self.roster.forget(self._store.former):
            self._touch(self._store.former)
        self.speak()

    def reached(self, text: str) -> None:
        """A peer has reached this node at an address."""
        try:
            address = parse_address(text)
        except ConfigError:
            return
        if self._listening is None or (
            is_loopback(address.host) and not is_loopback(self._listening.host)
        ):
            return  # means this node on its own machine only
        is_new = str(address) not in self._reached
        self._reached[str(address)] = trio.current_time()
        if is_new:
            while len(self._reached) > ADDRESSES_PER_MEMBER_MAX:
                del self._reached[min(self._reached, key=lambda known: self._reached[known])]
            self._is_news = True
            self._event.set()

    def met(self, origin: int, name: str) -> None:
        """A node has greeted and belongs here."""
        if self.roster.heard_of(origin, name):
            self._touch(origin)
        self._heard(origin)

    def parted(self, origin: int) -> None:
        """The last conversation with a node is over."""
        self._heard(origin)

    def _heard(self, origin: int) -> None:
        if self.roster.get(origin) is not None:  # whom the roster has no room for leaves no trace
            self._heard_ms[origin] = _wall_ms()
            self._heard_at[origin] = trio.current_time()

    def learn(self, peer: str, members: tuple[Member, ...]) -> None:
        """A peer has passed on what it knows of some members.

        Args:
            peer: what the log calls it.
        """
        for member in members:
            if len(member.addresses) > ADDRESSES_PER_MEMBER_MAX:
                self._journal.failed(
                    f"member {member.name}",
                    f"announces {len(member.addresses)} addresses, of which the first "
                    f"{ADDRESSES_PER_MEMBER_MAX} are used; passed on by {peer}: look at what that "
                    "node is",
                )
                kept = member.addresses[:ADDRESSES_PER_MEMBER_MAX]
                member = replace(member, addresses=kept)
            before = self.roster.get(member.origin)
            if self.roster.take(member):
                self._heard_ms[member.origin] = self._when_said(before, member)
                self._heard_at[member.origin] = trio.current_time()
                self._touch(member.origin)
        if self.roster.is_full:
            self._journal.failed("members", f"there are more than {len(self.roster)}: no room")
        self._mind_own()

    def _when_said(self, before: Member | None, member: Member) -> int:
        """When a member said what has come now, by this node's clock, in milliseconds: what is
        passed on may be old. Two accounts tell how much later one is, whatever the member's clock
        shows."""
        heard_ms = self._heard_ms.get(member.origin, 0)
        said_ms = max(heard_ms, member.said_ms)
        if before is not None and before.said_ms:
            said_ms = heard_ms + max(0, member.said_ms - before.said_ms)
        return min(_wall_ms(), said_ms)

    def _mind_own(self) -> None:
        """What others know of this node may be from another life of the directory, or final."""
        own = self.roster.get(self._store.origin)
        if own is None or own.name != self._name or own.known is not self._told:
            self._is_news = True
            self._event.set()
        if own is not None and own.is_forgotten:
            self.on_forgotten()

    def synced(self) -> None:
        """There was a sync point."""
        if self._store.durable != self._told:
            self._event.set()

    def _touch(self, origin: int) -> None:
        self._unsaved.add(origin)
        self._event.set()

    # Speaking, passing on, storing

    def speak(self) -> None:
        """Say anew who this node is, where it was reached and what it holds durably; once it was
        forgotten, nothing under that origin."""
        origin, now = self._store.origin, _wall_ms()
        own = self.roster.get(origin)
        self._is_news = own is not None and own.is_forgotten
        self._spoke_at = trio.current_time()
        if self._is_news:
            self.on_forgotten()
            return
        self._told = self._store.durable_known()
        self._told_seen = self.seen()
        newest_first = sorted(self._reached, key=lambda text: -self._reached[text])
        self.roster.take(
            Member(
                origin=origin,
                revision=max(now, self.roster.revision(origin) + 1),
                name=self._name,
                since_ms=now if own is None or not own.since_ms else own.since_ms,
                said_ms=now,
                version=software_version(),
                addresses=tuple(newest_first),
                known=self._told,
                seen=self._told_seen,
            )
        )
        self._touch(origin)

    async def keep(self) -> None:
        """Speak when it is time to, pass on what has changed, and store it; never ends."""
        while True:
            with trio.move_on_at(self._speaks_at()):
                await self._event.wait()
            self._event = trio.Event()
            if trio.current_time() >= self._speaks_at():
                self.speak()
            if self._unsaved:
                self.on_change()
                await self.save()
            await trio.sleep(GOSSIP_SECONDS)

    def _speaks_at(self) -> float:
        if self._is_news:
            return self._spoke_at
        has_grown = self._store.durable != self._told or self.seen() != self._told_seen
        return self._spoke_at + self._stretched(ACK_SECONDS if has_grown else HEARTBEAT_SECONDS)

    def _stretched(self, seconds: float) -> float:
        return seconds * max(1.0, len(self.roster) / FEW_MEMBERS)

    async def save(self) -> None:
        """Store what has changed.

        Raises:
            StorageError: LevelDB failed; it is stored the next time.
        """
        unsaved, self._unsaved = self._unsaved, set()
        found = [self.roster.get(origin) for origin in sorted(unsaved)]
        rows = [
            (member, self._heard_ms.get(member.origin, member.said_ms))
            for member in found
            if member is not None
        ]
        try:
            await trio.to_thread.run_sync(self._store.save_members, rows)
        except BaseException:
            self._unsaved |= unsaved
            raise

    # What people ask

    def forget(self, text: str) -> None:
        """Take a member off (R10).

        Args:
            text: its name or its origin.

        Raises:
            UsageError: it is none, it is this node, it lives, or several have that name.
        """
        member = self._named(text)
        if member.origin == self._store.origin:
            raise UsageError("this is the node itself: ask another one to forget it")
        silence, limit = self.silence(member), self.silence_max
        if silence < limit:
            raise UsageError(
                f"node {member.name!r} was heard of {silence:.0f} s ago: stop it, and ask again "
                f"when nothing was heard of it for {limit:.0f} s; a node that lives would join anew"
            )
        self.forget_member(member)

    def forget_member(self, member: Member) -> None:
        """Take a member off, whoever decided that."""
        self.roster.forget(member.origin)
        self._touch(member.origin)
        self._journal.info(f"forgets {member.name} (origin {format_origin(member.origin)})")

    def _named(self, text: str) -> Member:
        members = self.roster.members()
        found = [member for member in members if format_origin(member.origin) == text]
        found = found or [member for member in members if member.name == text]
        if not found:
            raise UsageError(f"there is no member {text!r}: `replicator members` names them all")
        if len(found) > 1:
            origins = ", ".join(format_origin(member.origin) for member in found)
            raise UsageError(
                f"{len(found)} members are called {text!r}: name one by its origin, of {origins}"
            )
        return found[0]

    @property
    def silence_max(self) -> float:
        """Seconds after which a member of which nothing was heard does not live."""
        return self._stretched(HEARTBEAT_SECONDS) * SILENCES_MAX

    def quiet(self, member: Member) -> float:
        """For how many seconds nothing was heard of a member while this node ran, by a clock that
        does not jump; 0 where it was never known when it was last heard of."""
        if not self._heard_ms.get(member.origin):
            return 0.0
        return trio.current_time() - self._heard_at.get(member.origin, self._begun_at)

    def silence(self, member: Member) -> float:
        """For how many seconds nothing was heard of a member, by the wall clock."""
        contact = self._contacts.by_origin.get(member.origin)
        if member.origin == self._store.origin or (contact is not None and contact.sessions):
            return 0.0
        heard_ms = self._heard_ms.get(member.origin, member.said_ms)
        return max(0.0, (_wall_ms() - heard_ms) / 1000)

    def addresses(self) -> dict[Address, int]:
        """Where the other members were reached, and who is to be expected there."""
        found: dict[Address, int] = {}
        for member in self.roster.members():
            if member.origin != self._store.origin:
                for text in member.addresses:
                    try:
                        found[parse_address(text)] = member.origin
                    except ConfigError as error:
                        self._journal.failed(f"member {member.name}", str(error))
        return found

    def watermark(self) -> Watermark:
        """What every member holds durably."""
        return self.roster.watermark(
            self._store.origin, self._store.durable_known(), self._store.closed_dots, _wall_ms()
        )

    def seen(self) -> KnownSet:
        """What this node has seen of forgotten origins that it hears nothing of any more, where
        that has gaps (R10)."""
        contacts = self._contacts.by_origin.items()
        connected = {origin for origin, contact in contacts if contact.sessions}
        return seen(self.roster, self._store.known(), self._store.closed_dots, connected)

    def closable(self) -> KnownSet:
        """The dots that no member holds and none will ever hold."""
        return closable(self.roster, self._store.origin, self.seen(), self._store.closed_dots)

    def status(self, ours: KnownSet, now: float) -> tuple[MemberStatus, ...]:
        """Every member, in the order of names.

        Args:
            ours: the own known set.
            now: seconds of a monotonic clock.
        """
        rows = [self._row(member, ours, now) for member in self.roster.members()]
        return tuple(sorted(rows, key=lambda row: (row.name, row.origin)))

    def _row(self, member: Member, ours: KnownSet, now: float) -> MemberStatus:
        contact = self._contacts.by_origin.get(member.origin)
        is_self = member.origin == self._store.origin
        theirs = ours if is_self else member.known
        if contact is not None:
            theirs = theirs.union(contact.known)
        entries, seconds = self._lags.setdefault(member.origin, Lag()).measure(ours, theirs, now)
        silence = self.silence(member)
        return MemberStatus(
            name=member.name,
            origin=format_origin(member.origin),
            is_self=is_self,
            connected=contact is not None and bool(contact.sessions),
            alive=silence < self.silence_max,
            addresses=member.addresses,
            since_ms=member.since_ms,
            last_seen_seconds=silence,
            lag_entries=entries,
            lag_seconds=seconds,
            version=member.version,
        )
