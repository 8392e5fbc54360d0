"""The causal oracle: outside of the system, it keeps who wrote what having seen what.

Per key, every write has a *bit*, and its *past*: the bits of the writes that its writer held or
held as superseded. A node *covers* a write of a key when one of its live versions is that write
or has it in its past, or when it knows of it and it was collected with everybody's agreement (R8).

What is held against the system, sentence by sentence:

After every step, for the node that changed:
- whatever its known set names, its record of that key covers (R3);
- what it covered it goes on covering;
- what was superseded here is never live here again;
- its purge floor names nothing that it does not know;
- its roster holds of every member what that one said, and never an older account than before.

Of every write: its timestamp is in keeping with its node's wall clock (`clocks`).

Of what a node says of itself: it holds, on disk, all that it acknowledges (R7). The watermarks are
checked where they are used (`cluster`).

When a node goes down and comes back:
- a killed process covers what it covered;
- after a power cut, it covers at least what it covered at its last sync point (R11).

At quiet:
- every node's live versions are exactly the causally maximal ones of the writes that survive;
- all nodes show the same values, and their digests are equal.

A write *survives* unless every node that covered it lost it by a fault that the rules allow to
lose it: a power cut before a sync point, a disk replaced by an older copy.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.members import HEARD_OF, Member, Roster
from replicator.core.record import Record, Version

from .clocks import Clocks
from .model_store import ModelStore

T = TypeVar("T")

Masks = dict[bytes, int]
"""Key → bits of its writes."""


Identity = tuple[Dot, int, bytes, bytes | None]
"""What tells writes apart, even those that forks of one origin gave one dot."""


class Violation(Exception):
    """An invariant does not hold. The message is a sentence about what is wrong where."""


@dataclass(slots=True, eq=False)
class Write:
    """One write.

    Attributes:
        node: where it was issued.
        bit: its own bit among the writes of its key.
        past: the bits of those that it supersedes.
        again: the bit of the write that it is again, after a fork (R13).
        excused: whether all that covered it was lost by a fault that may lose it.
        withdrawn: whether its commit failed.
    """

    node: str
    version: Version
    bit: int
    past: int
    again: int = 0
    excused: bool = False
    withdrawn: bool = False

    def __str__(self) -> str:
        operation = "delete" if self.version.is_delete else f"put {self.version.value!r}"
        return f"{operation} of {self.version.key!r} by {self.node}"


@dataclass(slots=True)
class _Watched:
    """What the oracle saw of one node when it last looked."""

    known: KnownSet = field(default_factory=KnownSet)
    known_masks: Masks = field(default_factory=dict)
    covered: Masks = field(default_factory=dict)
    live: Masks = field(default_factory=dict)


class Oracle:
    """The books, and the judge. It is each store's `Ledger`."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._by_key: dict[bytes, list[Write]] = {}
        self._by_version: dict[Identity, Write] = {}
        self._by_dot: dict[Dot, list[Write]] = {}
        self._collected: dict[bytes, list[tuple[list[Dot], int]]] = {}
        self._watched: dict[str, _Watched] = {}
        self._durable: dict[str, Masks] = {}
        self._copies: list[tuple[Masks, set[bytes]]] = []
        self._rolled_back: dict[int, int] = {}
        self._outsiders = False
        self.versions_differ = False
        """Whether some nodes run a version that knows nothing of closed sets, and so may have a
        floor that only those reach: it costs a full-state round."""
        self._said: dict[tuple[int, int], list[KnownSet]] = {}
        self._rotten: dict[bytes, bool] = {}
        self.lets_outsiders_write = False
        """Whether a collected delete may meet a concurrent write (R10)."""
        self.latest_ms: Callable[[], int] = lambda: 0
        self.may_go_ms = 0
        """A moment that all members' clocks have seen go by."""
        self.incomplete = False
        """Whether the watermark in use leaves out somebody who takes part."""

    # The books

    def issued(
        self,
        node: str,
        version: Version,
        seen: Iterable[Version],
        *,
        unseen: Iterable[Version] = (),
        is_again: bool = False,
    ) -> None:
        """A write that has seen these is about to be committed at `node`.

        Args:
            unseen: live ones beside it that it has not seen: whoever was rolled back has collected
                nothing, though the books say so.
            is_again: whether it is an earlier one under a new dot: then its timestamp is, too.
        """
        dot = version.dot
        if not is_again and (fault := self._clocks.fault(node, version)):
            raise Violation(fault)
        for other in self._by_dot.get(dot, ()):
            if dot.seq <= self._rolled_back.get(dot.origin, dot.seq):
                raise Violation(f"{node} issues the dot {dot} twice: it was the {other} (R13)")
            if other.excused:
                # Everybody forgot the other one; whoever knows the dot now knows this one.
                drops = self._collected.get(other.version.key, [])
                drops[:] = [drop for drop in drops if dot not in drop[0]]
        key = version.key
        if key in self._rotten:
            self._rotten[key] = False
        gone = self._gone_for(key, self._known_of(node)) & ~self._bits_of(unseen)
        past = self._closure_of(seen) | gone
        self._enter(node, version, past)

    def _known_of(self, node: str) -> KnownSet:
        watched = self._watched.get(node)
        return watched.known if watched else KnownSet()

    def _enter(self, node: str, version: Version, past: int, again: int = 0) -> None:
        writes = self._by_key.setdefault(version.key, [])
        write = Write(node, version, 1 << len(writes), past, again)
        writes.append(write)
        self._by_version[_identity(version)] = write
        self._by_dot.setdefault(version.dot, []).append(write)

    def withdrawn(self, version: Version) -> None:
        """The commit of a write failed; its dot is free again (R12)."""
        write = self._write(version)
        write.withdrawn = write.excused = True
        self._by_dot[version.dot].remove(write)

    def reissued(self, version: Version, old: Version, shown: int) -> None:
        """A fork issues `old` again: a write of its own that saw what the old one saw.

        What it saw of its own origin above `shown` is no longer known to be what that dot names
        (R13), so it may come back beside it, as far as anybody else has it.
        """
        write = self._write(old)
        doubtful = 0
        for other in self._by_key[old.key]:
            dot = other.version.dot
            if dot.origin == old.dot.origin and dot.seq > shown:
                doubtful |= other.bit
                other.excused = True
        again = write.bit | write.again | write.past & doubtful
        self._enter(write.node, version, write.past & ~doubtful, again)

    def may_collect(self, record: Record) -> bool:
        """Whether nothing concurrent to the delete can turn up from outside of the cluster: from a
        newcomer, a node that was forgotten or not heard of yet, one that lost what it
        acknowledged, a copy of a directory.

        R10 lets such a delete lose, but only at nodes that have collected it already: the others
        keep it as a sibling, and R16's mending makes them equal. Where that is let happen
        (`lets_outsiders_write`), nothing else is asked of such a key.
        """
        key = record.versions[0].key
        closure = self._closure(record) | self._gone(key)
        nobody = all(
            not masks.get(key, 0) & ~closure and key not in unshown
            for masks, unshown in self._copies
        ) and not ((self._outsiders or self.incomplete) and self._is_concurrent(key, closure))
        return nobody or self._lets(key)

    def _lets(self, key: bytes) -> bool:
        """Whether what R10 leaves to mending may happen to a key; then it does."""
        if self.lets_outsiders_write:
            self._rotten[key] = False
        return self.lets_outsiders_write

    def rots(self, key: bytes, *, comes_back: bool) -> None:
        """A node loses what it holds of a key, without knowing it: from now on anything may be of
        it anywhere, until digests have found that out (R16).

        Args:
            comes_back: whether others hold all of it, so that it is there again in the end, unless
                somebody writes the key meanwhile.
        """
        self._rotten[key] = comes_back and self._rotten.get(key, True)

    def would_come_back(self, record: Record, others: Sequence[Record]) -> bool:
        """Whether a record that one node loses is whole at another one, and nobody has a write of
        the key that it has not seen."""
        closure = self._closure(record)
        is_whole = any(other.versions == record.versions for other in others)
        return is_whole and not any(self._closure(other) & ~closure for other in others)

    @property
    def has_rot(self) -> bool:
        """Whether there is anything that digests may find to differ."""
        return bool(self._rotten)

    def _is_concurrent(self, key: bytes, closure: int) -> bool:
        """Whether somebody holds a write of the key that neither is in `closure` nor saw it."""
        return any(
            not write.withdrawn
            and not write.excused
            and not write.bit & closure
            and closure & ~write.past
            for write in self._by_key[key]
        )

    def may_write(self, store: ModelStore, key: bytes) -> bool:
        """Whether a write of this node would not be concurrent to a collected delete (above)."""
        held = self._closure(store.record(key)) | self._gone_for(key, store.known_now())
        return not self._gone(key) & ~held or self._lets(key)

    def moment_ms(self) -> int:
        """See `Ledger`."""
        return self.latest_ms()

    def collected(self, record: Record) -> None:
        """A record of tombstones was dropped: what it covered is gone by agreement.

        Raises:
            Violation: some member's clock has not seen a put of it expire (R17).
        """
        for version in record.versions:
            if version.expiry_ms is not None and version.expiry_ms >= self.may_go_ms:
                raise Violation(
                    f"the {self._write(version)} is collected, and a member's clock has not seen "
                    "it expire (R17)"
                )
        drops = self._collected.setdefault(record.versions[0].key, [])
        drops.append(([version.dot for version in record.versions], self._closure(record)))

    def _gone(self, key: bytes) -> int:
        """The bits of the writes that were collected."""
        mask = 0
        for _, closure in self._collected.get(key, ()):
            mask |= closure
        return mask

    def _gone_for(self, key: bytes, known: KnownSet) -> int:
        """The same as far as a node that knows this knows of it."""
        mask = 0
        for dots, closure in self._collected.get(key, ()):
            if all(dot in known for dot in dots):
                mask |= closure
        return mask

    # Members

    def acknowledged(self, account: Member, safe: KnownSet) -> None:
        """A node says of itself what it holds.

        Args:
            safe: what it would hold after a power cut.

        Raises:
            Violation: it says too much.
        """
        missing = account.known.difference(safe)
        if missing:
            raise Violation(
                f"{account.name} acknowledges {missing!r}, which a power cut would take (R7)"
            )
        self._said.setdefault((account.origin, account.revision), []).append(account.known)

    def said_durable(self, node: str, known: KnownSet, safe: KnownSet) -> None:
        """A node tells a peer what it holds durably.

        Raises:
            Violation: it says too much.
        """
        missing = known.difference(safe)
        if missing:
            raise Violation(
                f"{node} says that it holds {missing!r} durably, which a power cut would take (R11)"
            )

    def check_promised(self, store: ModelStore, version: Version) -> None:
        """At quiet, of a write that a user was told to be on the disk of somebody who is left.

        Raises:
            Violation: it is lost.
        """
        key, write = version.key, self._write(version)
        if key in self._rotten:
            return  # a node has lost it behind its own back
        held = self.held(store).get(key, 0)
        if not write.bit & (held | self._again(key, held)):
            raise Violation(
                f"the {write} is lost at {store.habits.node}, although a peer that is left had it "
                "on disk when its user was told so"
            )

    def check_roster(self, node: str, roster: Roster, seen: dict[int, int]) -> None:
        """A roster has changed.

        Args:
            seen: the revisions of before; brought up to date.

        Raises:
            Violation: an older account took the place of a newer one, or one is not as its author
                gave it.
        """
        for account in roster:
            before = seen.get(account.origin, -1)
            if account.revision < before:
                raise Violation(
                    f"the roster of {node} goes back from revision {before} of {account.name} to "
                    f"{account.revision} (R7)"
                )
            if account.revision > before:
                seen[account.origin] = account.revision
                self._check_account(node, account)

    def _check_account(self, node: str, account: Member) -> None:
        if account.revision == HEARD_OF or account.is_forgotten:
            is_said = not account.known
        else:
            said = self._said.get((account.origin, account.revision), [])
            is_said = account.known in said
        if not is_said:
            raise Violation(f"{node} knows of {account.name} what that one never said (R7)")

    # Faults

    def expect_outsiders(self) -> None:
        """Some node writes without being the member as which it was, or was not, acknowledged."""
        self._outsiders = True

    def copied(self, store: ModelStore) -> None:
        """A copy of the directory was laid aside."""
        unshown = {
            key
            for key, record in store.records().items()
            if record.context.get(store.origin, 0) > store.shown
        }
        self._copies.append((self.held(store), unshown))

    def rolled_back(self, origin: int, seq: int) -> None:
        """A machine went back to when it had issued `seq`: it cannot help issuing again."""
        self._rolled_back[origin] = min(seq, self._rolled_back.get(origin, seq))

    def durable(self, store: ModelStore) -> None:
        """A sync point was completed: what is held here is acknowledged as durable."""
        self._durable[store.habits.node] = self.held(store)

    def forked(self, node: str, recorded: Masks) -> None:
        """A fork took back dots: of what was durable, what records told of stays so."""
        durable = self._durable.get(node, {})
        self._durable[node] = {key: mask & recorded.get(key, 0) for key, mask in durable.items()}

    def recorded(self, store: ModelStore) -> Masks:
        """What the records of a store cover."""
        return {key: self._closure(record) for key, record in store.records().items()}

    def held(self, store: ModelStore) -> Masks:
        """What a store covers: by its records, or by knowing what was collected."""
        masks = self.recorded(store)
        known = store.known_now()
        for key in self._collected:
            masks[key] = masks.get(key, 0) | self._gone_for(key, known)
        return masks

    def came_back(
        self,
        store: ModelStore,
        before: Masks,
        others: Iterable[ModelStore],
        fault: str,
        promised: Masks,
    ) -> None:
        """A node is up again, or replaced by a copy; what is gone everywhere is excused.

        Args:
            before: what the node held when it went down.
            others: all other stores, of nodes that are down too.
            fault: what happened, for the message.
            promised: what it must hold after that fault.
        """
        after = self.held(store)
        elsewhere = [self.held(other) for other in others]
        for key, mask in before.items():
            if key in self._rotten:
                continue
            here = after.get(key, 0)
            missing = promised.get(key, 0) & ~(here | self._again(key, here) | self._gone(key))
            if missing:
                raise Violation(
                    f"{store.habits.node} has lost the {self._first(key, missing)} by {fault}"
                )
            gone = mask & ~here
            for other in elsewhere:
                gone &= ~other.get(key, 0)
            self._excuse(key, gone)
        self._watched[store.habits.node] = _Watched()
        self.check(store, list(store.records()))

    def is_told_from_collected(self, store: ModelStore, key: bytes) -> bool:
        """Whether all that the record of a key has superseded lies above the purge floor.

        Were the record lost, what lies below could not be told from what was collected, and stays
        known. That matters where everybody has lost what superseded it and somebody still holds
        it: then the nodes differ until they compare digests (R16), which is not simulated.
        """
        floor = store.floor()
        superseded = self._closure(store.record(key)) & ~self._live(store.record(key))
        return not any(
            write.bit & superseded
            and write.version.dot.seq <= floor.get(write.version.dot.origin, 0)
            for write in self._by_key[key]
        )

    def gone(self, store: ModelStore, others: Iterable[ModelStore]) -> None:
        """A node is gone for good: what only it held is excused."""
        elsewhere = [self.held(other) for other in others]
        for key, mask in self.held(store).items():
            for other in elsewhere:
                mask &= ~other.get(key, 0)
            self._excuse(key, mask)

    def promised(self, node: str) -> Masks:
        """What a node held at its last sync point."""
        return self._durable.get(node, {})

    def replaced(self, node: str) -> None:
        """The disk of a node is an older one now: nothing that was durable is promised."""
        self.expect_outsiders()
        self._durable.pop(node, None)

    def _excuse(self, key: bytes, mask: int) -> None:
        for write in self._by_key[key]:
            if write.bit & mask:
                write.excused = True

    # Judging

    def check(self, store: ModelStore, keys: Sequence[bytes]) -> None:
        """After a step that changed the records of `keys`, and perhaps the known set.

        Raises:
            Violation: an invariant does not hold.
        """
        node = store.habits.node
        watched = self._watched.setdefault(node, _Watched())
        known = store.known_now()
        look = dict.fromkeys(keys)
        if known is not watched.known:
            for dot in known.difference(watched.known).dots():
                look[self._learn(store, dot, watched)] = None
            watched.known = known
            self._check_floor(store, known)
        for key in look:
            self._check_key(store, key, watched)

    def _learn(self, store: ModelStore, dot: Dot, watched: _Watched) -> bytes:
        """Note a dot that became known, as the write that it must be; returns its key."""
        writes = self._by_dot.get(dot, [])
        for write in writes:
            key = write.version.key
            covered = self._closure(store.record(key)) | self._gone(key)
            if write.bit & covered or key in self._rotten:
                watched.known_masks[key] = watched.known_masks.get(key, 0) | write.bit
                return key
        node = store.habits.node
        if not writes:
            raise Violation(f"{node} knows the dot {dot}, which nobody issued")
        raise Violation(f"{node} knows the {writes[0]}, whose effect it does not hold (R3)")

    def _check_floor(self, store: ModelStore, known: KnownSet) -> None:
        """A full-state round that is open, or was cut, drops records whose contexts may say more
        than is known as yet; its claim says the rest."""
        if store.in_full_round or self.versions_differ:
            return
        held = known.union(store.closed_now())
        for origin, seq in store.floor().items():
            lacked = KnownSet({origin: [1, seq + 1]}).difference(held).dots()
            if not all(self._is_lost(dot) for dot in lacked):
                raise Violation(
                    f"{store.habits.node} has a purge floor of {Dot(origin, seq)}, which its "
                    "known set does not reach"
                )

    def _is_lost(self, dot: Dot) -> bool:
        """Whether nobody has a write any more: its gap stays (R10)."""
        writes = self._by_dot.get(dot, [])
        return bool(writes) and all(write.excused or write.withdrawn for write in writes)

    def _check_key(self, store: ModelStore, key: bytes, watched: _Watched) -> None:
        if key in self._rotten:
            return
        node = store.habits.node
        live = self._live(store.record(key))
        collected = self._gone(key)
        covered = self._closure(store.record(key))
        before = watched.covered.get(key, 0)
        if missing := watched.known_masks.get(key, 0) & ~covered & ~collected:
            raise Violation(
                f"{node} knows the {self._first(key, missing)}, whose effect it does not hold (R3)"
            )
        if missing := before & ~covered & ~collected:
            raise Violation(f"{node} no longer holds the {self._first(key, missing)}")
        if back := live & ~watched.live.get(key, 0) & before:
            raise Violation(f"the {self._first(key, back)} came back at {node}")
        watched.live[key] = live
        watched.covered[key] = before | covered

    def judge(self, stores: Sequence[ModelStore]) -> None:
        """At quiet.

        Raises:
            Violation: an invariant does not hold.
        """
        held = [self.held(store) for store in stores]
        for key in self._by_key:
            expected = self._expected(key, held)
            for store in stores if self._rotten.get(key, True) else ():
                self._judge_key(store, key, expected)
        left = self._left_to_mending(stores)
        first = stores[0]
        for store in stores[1:]:
            where = f"{first.habits.node} and {store.habits.node}"
            if _apart_from(left, store.visible()) != _apart_from(left, first.visible()):
                raise Violation(f"{where} hold the same versions and show different values (R6)")
            if _apart_from(left, dict(store.digest())) != _apart_from(left, dict(first.digest())):
                raise Violation(f"the digests of {where} differ (R16)")

    def _left_to_mending(self, stores: Sequence[ModelStore]) -> set[bytes]:
        """The keys that nodes may hold differently until R16 has mended them: such as were
        collected, where a full-state round was cut and nobody is left to say why it dropped what
        it did."""
        if not any(store.in_full_round for store in stores):
            return set()
        return set(self._collected)

    def _expected(self, key: bytes, stores: Sequence[Masks]) -> int:
        """The maximal ones of the writes of a key that survive."""
        held = 0
        for masks in stores:
            held |= masks.get(key, 0)
        alive = [
            write
            for write in self._by_key[key]
            if not write.withdrawn and (not write.excused or write.bit & held)
        ]
        superseded = bits = 0
        for write in alive:
            superseded |= write.past
            bits |= write.bit
        return bits & ~superseded

    def _judge_key(self, store: ModelStore, key: bytes, expected: int) -> None:
        node = store.habits.node
        live = self._live(store.record(key))
        if extra := live & ~expected:
            raise Violation(
                f"at quiet, the {self._first(key, extra)} is live at {node} although superseded"
            )
        if missing := expected & ~live & ~self._gone(key):
            raise Violation(
                f"at quiet, the {self._first(key, missing)} is not live at {node}, and nothing "
                "superseded it"
            )

    def check_digests(self, a: ModelStore, b: ModelStore) -> None:
        """Of two nodes with equal known sets, no round open and no claim pending (R16)."""
        if not self._rotten and a.digest() != b.digest():
            raise Violation(
                f"{a.habits.node} and {b.habits.node} know the same dots and their digests "
                "differ (R16)"
            )

    # Bits

    def _write(self, version: Version) -> Write:
        return self._by_version[_identity(version)]

    def _live(self, record: Record) -> int:
        mask = 0
        for version in record.versions:
            mask |= self._write(version).bit
        return mask

    def _closure(self, record: Record) -> int:
        return self._closure_of(record.versions)

    def _bits_of(self, versions: Iterable[Version]) -> int:
        mask = 0
        for version in versions:
            mask |= self._write(version).bit
        return mask

    def _closure_of(self, versions: Iterable[Version]) -> int:
        mask = 0
        for version in versions:
            write = self._write(version)
            mask |= write.bit | write.past
        return mask

    def _again(self, key: bytes, mask: int) -> int:
        """The bits of the writes that writes in `mask` are again."""
        result = 0
        for write in self._by_key[key]:
            if write.bit & mask:
                result |= write.again
        return result

    def _first(self, key: bytes, mask: int) -> Write:
        return next(write for write in self._by_key[key] if write.bit & mask)

    def writes(self) -> Mapping[bytes, Sequence[Write]]:
        """All writes by key, in the order in which they were issued."""
        return self._by_key


def _apart_from(left: set[bytes], rows: Mapping[bytes, T]) -> dict[bytes, T]:
    return {key: row for key, row in rows.items() if key not in left}


def _identity(version: Version) -> Identity:
    return version.dot, version.timestamp, version.key, version.value
