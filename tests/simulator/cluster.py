"""One run: the cluster of a plan, its workload and faults, until quiet, and then the judgement."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from replicator.core.dots import Dot
from replicator.core.members import Roster, Watermark
from replicator.core.record import Record
from replicator.protocol.conversation import Conversation
from replicator.protocol.pulls import Pulls

from .backups import Backups
from .clocks import Clocks
from .damage import Damage
from .disk import Batch
from .expiring import Expiring
from .guarantees import Desk, Guarantees, Reader
from .loop import Loop
from .membership import Membership
from .model_store import SKEW_MAX_MS, Lost, ModelStore
from .network import Link, topology
from .node import Node
from .oracle import Masks, Oracle, Violation
from .plan import Plan
from .resolving import Resolving
from .transcript import Transcript
from .versions import Versions

QUIET_WITHIN = 90.0
"""Seconds of virtual time in which a healed cluster has to agree."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a cluster is built of; planted bugs put others in place."""

    store: type[ModelStore] = ModelStore
    pulls: type[Pulls] = Pulls
    conversation: type[Conversation] = Conversation
    roster: type[Roster] = Roster
    membership: type[Membership] = Membership
    backups: type[Backups] = Backups
    guarantees: type[Guarantees] = Guarantees
    reader: type[Reader] = Reader


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of a node's directory, or a snapshot of its machine."""

    node: Node
    image: Batch
    number: int


class Cluster:
    """A cluster in virtual time.

    Attributes:
        clocks: every node's wall clock.
        lives: origin → the node that has it, and which of its directories.
        settled: whether all agree and no new conversations begin.
        counts: what happened how often.
    """

    def __init__(self, plan: Plan, parts: Parts, transcript: Transcript) -> None:
        self.plan = plan
        self.parts = parts
        self.transcript = transcript
        self.loop = Loop()
        self.clocks = Clocks(plan, self.loop, SKEW_MAX_MS)
        self.oracle = Oracle(self.clocks)
        self.oracle.lets_outsiders_write = plan.profile.outsiders
        self.settled = False
        self._healed = False
        self.counts: Counter[str] = Counter()
        self.lives: dict[int, tuple[Node, int]] = {}
        self._numbers = 0
        self._rollbacks: dict[str, tuple[int, int]] = {}
        self._values = 0
        self._random = plan.random
        self.versions = Versions(self)
        self.resolving = Resolving(self)
        self.desk = Desk(self)
        self.oracle.versions_differ = self.versions.is_on
        self.expiring = Expiring(self)
        self.oracle.latest_ms = self.expiring.latest_ms
        self.nodes = {name: Node(self, name) for name in plan.names}
        self.links: dict[frozenset[str], Link] = {}
        for pair in topology(plan.topology, plan.names):
            slow = "slow" in plan.faults and self._random.random() < 0.3
            self.links[frozenset(pair)] = Link(self.loop, self._random, pair, slow)
            for name, peer in (pair, pair[::-1]):
                self.nodes[name].peers.append(peer)

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] += times

    # The run

    def run(self) -> None:
        """The whole run.

        Raises:
            Violation: an invariant does not hold.
        """
        self.transcript.say(0, "", str(self.plan))
        self.expiring.begin()
        self.resolving.begin()
        self._schedule()
        self.loop.run(self.plan.profile.seconds, lambda: False)
        self._heal()
        end = self.loop.now + QUIET_WITHIN
        if not self.loop.run(end, self._is_quiet):
            raise Violation(self._why_not_quiet())
        self.settled = True
        if not self.loop.run(self.loop.now + 30, self._is_silent):
            raise Violation("an idle conversation does not end")
        self._judge_members()
        self.expiring.judge(self._staying())
        self.resolving.judge(self._staying())
        self.oracle.judge([node.store for node in self._staying()])
        self.desk.judge(self._staying())

    def _staying(self) -> list[Node]:
        """All nodes but those that are gone for good."""
        return [node for node in self.nodes.values() if not node.gone]

    def _schedule(self) -> None:
        seconds, random = self.plan.profile.seconds, self._random
        self.clocks.schedule(lambda name, text: self.nodes[name].say(text))
        self._start()
        self.desk.plan()
        if "burst" in self.plan.faults:
            self._burst(random.choice(self.plan.names))
        for _ in range(self.plan.writes):
            self.loop.after(random.uniform(0, seconds), self._write)
        strikes = self._strikes()
        for _ in range(random.randint(0, self.plan.profile.faults) if strikes else 0):
            self.loop.after(random.uniform(0, seconds), random.choice(strikes))
        if "absence" in self.plan.faults:
            name = random.choice(self.plan.names)
            self.loop.after(random.uniform(0, 0.5) * seconds, lambda: self._absent(name))
        if "gone" in self.plan.faults:
            self.loop.after(random.uniform(0.2, 1) * seconds, self._leave)
        for fault, strike in (("restore", self._restore), ("rollback", self._roll_back)):
            if fault in self.plan.faults:
                self._plan_returns(strike)
        self.versions.plan_upgrades()
        if self.plan.profile.rots:
            for _ in range(self.plan.dice.randint(0, self.plan.profile.rots)):
                self.loop.after(self.plan.dice.uniform(0.2, 1) * seconds, self._rot)
        Damage(self).plan_damages()

    def _start(self) -> None:
        """Bring the nodes up; a newcomer joins later, with nothing."""
        newcomer = ""
        if "newcomer" in self.plan.faults:
            newcomer = self._random.choice(self.plan.names)
            self.oracle.expect_outsiders()
        for name, node in self.nodes.items():
            if name == newcomer:
                self.start_later(node, self._random.uniform(0.2, 0.8) * self.plan.profile.seconds)
            else:
                node.start()

    def _heal(self) -> None:
        """No more faults: everything is up again, and stays so."""
        self._healed = True
        self.transcript.say(self.loop.now, "", "all faults end")
        self.expiring.healed()
        self.resolving.healed()
        for link in self.links.values():
            self._link_up(link)
        for node in self.nodes.values():
            node.disk.fuse = None
            node.disk.fail_next = False
            if not node.up and not node.gone:
                node.start()

    def _is_quiet(self) -> bool:
        nodes = self._staying()
        first, *others = (node.store.known_now() for node in nodes)
        return (
            all(known == first for known in others)
            and self._is_mended(nodes)
            and all(node.is_quiet and not self.is_quarantined(node) for node in nodes)
            and self._is_agreed(nodes)
        )

    def _is_mended(self, nodes: list[Node]) -> bool:
        """Whether digests have found everything that differs (R16), where they are compared."""
        if not self.plan.profile.digests:
            return True
        first = nodes[0].store.digest()
        return all(node.store.digest() == first for node in nodes[1:])

    def _is_agreed(self, nodes: list[Node]) -> bool:
        """Whether all know the same members, and nobody is forgotten under its own origin."""
        first = nodes[0].membership.roster
        return (
            all(node.membership.roster.revisions() == first.revisions() for node in nodes)
            and not any(first.is_forgotten(node.store.origin) for node in nodes)
            and (self._has_settled(nodes) or not all(map(self.versions.closes, nodes)))
        )

    def _has_settled(self, nodes: list[Node]) -> bool:
        """Whether all have closed the same, none holds a live version of that, and who was
        forgotten has had its full-state round (R10). An earlier version knows nothing of it."""
        closed = nodes[0].store.closed_now()
        return all(
            node.store.closed_now() == closed
            and not node.store.closed_versions()
            and not node.store.wants_full
            for node in nodes
        )

    def _judge_members(self) -> None:
        nodes = self._staying()
        for node in nodes:
            for peer in nodes:
                if peer.store.origin not in node.membership.members():
                    raise Violation(f"at quiet, {peer.name} is no member to {node.name} (R7)")

    def _is_silent(self) -> bool:
        return not any(node.sessions for node in self.nodes.values())

    def _why_not_quiet(self) -> str:
        known = {node.name: node.store.known_now() for node in self._staying()}
        for name, own in known.items():
            for peer, other in known.items():
                lack = other.difference(own)
                if lack:
                    return (
                        f"after {QUIET_WITHIN:.0f} quiet seconds {name} still lacks "
                        f"{lack!r} of {peer}"
                    )
        if not self._is_mended(self._staying()):
            return f"after {QUIET_WITHIN:.0f} quiet seconds what differs is not mended (R16)"
        if not self._is_agreed(self._staying()):
            return (
                f"after {QUIET_WITHIN:.0f} quiet seconds the nodes do not agree on the members, or "
                "on what is closed (R7, R10)"
            )
        return f"after {QUIET_WITHIN:.0f} quiet seconds a round or a claim is still open"

    # Workload

    def _write(self) -> None:
        node = self.nodes[self._random.choice(self.plan.names)]
        count = 1 if self._random.random() < 0.85 else self._random.randint(2, 3)
        operations = [self._operation() for _ in range(count)]
        if node.up and all(self.oracle.may_write(node.store, key) for key, _ in operations):
            self.count("writes")
            expiries = self.expiring.expiries(node, [key for key, _ in operations])
            node.write(operations, sync=self._random.random() < 0.2, expiries=expiries)

    def _operation(self) -> tuple[bytes, bytes | None]:
        # The lower a key, the hotter it is.
        keys = self.plan.keys
        key = keys[min(self._random.randrange(len(keys)), self._random.randrange(len(keys)))]
        chance = self._random.random()
        if chance < self.plan.deletes:
            return key, None
        self._values += 1
        number = 0 if chance > 0.93 else self._values
        return key, b"%c%d" % (self._random.choice(b"RPS"), number)

    def _burst(self, name: str) -> None:
        """Many writes of one node before anyone meets anyone."""
        for link in self.links.values():
            link.go_down(freeze=False)
            self.loop.after(0.5, lambda link=link: self._link_up(link))  # type: ignore[misc]
        for _ in range(self.plan.profile.burst):
            self.count("writes")
            if self.nodes[name].up:
                self.nodes[name].write([self._operation()], sync=False)

    # Faults

    def _strikes(self) -> list[Callable[[], None]]:
        known = {
            "cut": self._cut,
            "partition": self._partition,
            "kill": lambda: self._down(power=False),
            "power": lambda: self._down(power=True),
            "full disk": self._fill_disk,
            "forget": self._forget,
        }
        return [strike for name, strike in known.items() if name in self.plan.faults]

    def _cut(self) -> None:
        self._random.choice(list(self.links.values())).cut()

    def _partition(self) -> None:
        link = self._random.choice(list(self.links.values()))
        link.go_down(freeze=self._random.random() < 0.5)
        self.transcript.say(self.loop.now, "", f"link {'-'.join(link.names)} is down")
        self.loop.after(self._random.uniform(0.1, 3), lambda: self._link_up(link))

    def _link_up(self, link: Link) -> None:
        if not link.up:
            self.transcript.say(self.loop.now, "", f"link {'-'.join(link.names)} is up")
            link.come_up()

    def _some_node(self) -> Node | None:
        node = self.nodes[self._random.choice(self.plan.names)]
        return node if node.up else None

    def _fill_disk(self) -> None:
        if node := self._some_node():
            node.disk.fail_next = True

    def _down(self, power: bool) -> None:
        """Now, or behind one of the next commits."""
        node = self._some_node()
        if node is None or (power and self.is_quarantined(node)):
            return
        if self._random.random() < 0.3:
            self.crash(node, power)
        else:
            node.disk.fuse = self._random.randint(1, 4)
            node.disk.fuse_is_power = power

    def tempt(self, node: Node) -> None:
        """A moment at which faults like to strike: something was committed that is not synced."""
        kinds = [
            power for name, power in (("kill", False), ("power", True)) if name in self.plan.faults
        ]
        if kinds and not self._healed and self._random.random() < 0.3:
            node.disk.fuse = self._random.randint(1, 3)
            node.disk.fuse_is_power = self._random.choice(kinds)

    def tempt_to_cut(self, node: Node, peer: str) -> None:
        """A full-state round is under way: its link goes down, and others may come before it."""
        if self._healed or self.plan.dice.random() >= self.plan.profile.full_cuts:
            return
        link = self.links[frozenset((node.name, peer))]
        link.go_down(freeze=False)
        self.transcript.say(self.loop.now, "", f"link {'-'.join(link.names)} is down")
        self.loop.after(self.plan.dice.uniform(0.1, 2), lambda: self._link_up(link))

    def tempt_to_leave(self, node: Node, peer: str) -> None:
        """A round is under way: its sender goes away for a while, and a person at the receiver has
        it forgotten meanwhile (R10)."""
        if self._healed or self.plan.dice.random() >= self.plan.profile.leaves:
            return
        sender = self.nodes[peer]
        if sender.up and sender.store.seq:
            origin = sender.store.origin
            self._absent(peer)
            node.later(lambda: self._let_forget(node, origin), 1.0)

    def _let_forget(self, node: Node, origin: int) -> None:
        if not self._healed and origin in node.membership.members():
            self.count("members forgotten")
            node.say(f"forgets {origin:016x}")
            node.membership.forget(origin)

    def crash(self, node: Node, power: bool) -> None:
        """The process, or the machine, of a node dies; it comes back after a while."""
        fault = "a power cut" if power else "a kill"
        self.count("power cuts" if power else "kills")
        node.say(f"down by {fault}")
        before = self.oracle.held(node.store)
        node.stop(hear=not power)
        node.disk.reopen(power_lost=power)
        node.open_store(lost_power=power, copied=False)
        promised = self.oracle.promised(node.name) if power else before
        self.came_back(node, before, fault, promised)
        self.start_later(node, self._random.uniform(0.05, 2))

    def came_back(self, node: Node, before: Masks, fault: str, promised: Masks) -> None:
        """The store of a node is another one than before."""
        others = [other.store for other in self._staying() if other is not node]
        self.oracle.came_back(node.store, before, others, fault, promised)

    def start_later(self, node: Node, delay: float) -> None:
        """Start a node in a while, unless something else has done so."""
        life = node.life

        def start() -> None:
            if node.life == life and not node.up:
                node.start()

        self.loop.after(delay, start)

    def _absent(self, name: str) -> None:
        node = self.nodes[name]
        if node.up:
            node.say("is away")
            node.stop(hear=True)
            node.disk.reopen(power_lost=False)
            node.open_store(lost_power=False, copied=False)
            self.start_later(node, self._random.uniform(0.3, 1) * self.plan.profile.seconds)

    def _leave(self) -> None:
        """A node whose writes somebody else holds is gone for good; the others stay connected."""
        node = self._some_node()
        if (
            node is None
            or self._healed
            or not self._is_connected_without(node)
            or not any(self._has_from(other, node) for other in self._staying())
            or any(self.is_quarantined(other) for other in self._staying())
        ):
            return
        self.count("nodes gone for good")
        node.say("is gone for good")
        node.stop(hear=self._random.random() < 0.5)
        node.disk.reopen(power_lost=False)
        node.open_store(lost_power=False, copied=False)
        node.gone = True
        self.oracle.gone(node.store, [other.store for other in self._staying()])

    def _is_connected_without(self, node: Node) -> bool:
        rest = [other.name for other in self._staying() if other is not node]
        reached, todo = set(rest[:1]), rest[:1]
        while todo:
            name = todo.pop()
            new = [peer for peer in self.nodes[name].peers if peer in rest and peer not in reached]
            reached.update(new)
            todo += new
        return len(rest) > 1 and len(reached) == len(rest)

    def _has_from(self, other: Node, node: Node) -> bool:
        """Whether another node holds a write of a node."""
        return other is not node and other.store.known_now().highest(node.store.origin) > 0

    def _rot(self) -> None:
        """A node loses a record, or a version of one, or has an older one in its place: behind its
        back, so it goes on to know what it knew."""
        dice, node = self.plan.dice, self._some_node()
        if node is None:
            return
        records = node.store.records()
        keys = [
            key
            for key, record in sorted(records.items())
            if not all(version.is_delete for version in record.versions)
        ]
        if not keys:
            return
        key = dice.choice(keys)
        record = records[key]
        others = [other.store.record(key) for other in self._staying() if other is not node]
        comes_back = self.oracle.would_come_back(record, others)
        now: Record | None = None
        chance = dice.random()
        if chance < 0.3 and len(record.versions) > 1:
            now, comes_back = Record(record.versions[1:], record.context), False
        elif chance < 0.6:
            older = [one for one in others if one.versions and one.versions != record.versions]
            now = dice.choice(older) if older else None
        self.count("records rotten")
        node.say(f"loses {key!r} without knowing it")
        self.oracle.rots(key, comes_back=comes_back)
        node.rot(key, now)

    def difference(self, node: Node, peer: str) -> None:
        """Digests of two nodes differ.

        Raises:
            Violation: nothing has happened that could be the reason.
        """
        self.count("digests differ")
        node.say(f"digests differ from {peer}")
        if not self.oracle.has_rot and not any(one.quarantine for one in self.nodes.values()):
            raise Violation(f"{node.name} and {peer} find that they differ, for no reason (R16)")

    def _forget(self) -> None:
        """A person takes a member off that is down, or that nobody is any more (R10)."""
        node = self._some_node()
        if node is None:
            return
        candidates = [
            origin
            for origin in sorted(node.membership.members())
            if not any(other.up and other.store.origin == origin for other in self.nodes.values())
        ]
        if candidates:
            origin = self._random.choice(candidates)
            self.count("members forgotten")
            node.say(f"forgets {origin:016x}")
            node.membership.forget(origin)

    def check_watermark(self, node: Node, watermark: Watermark, members: frozenset[int]) -> None:
        """A node is about to use a watermark.

        Args:
            members: whom it knew as members when it took it.

        Raises:
            Violation: a member lacks, on disk, what it covers.
        """
        self.oracle.may_go_ms = self.expiring.may_go(self._members_of(node, members))
        for origin in node.membership.members() & members:
            life = self.lives.get(origin)
            if life is None or life[0].directory != life[1]:
                continue  # what it acknowledged is no longer on any disk that we could look at
            safe = life[0].store.safe_known().union(node.store.closed_now())
            for issuer, seq in watermark.covered.items():
                if safe.contiguous(issuer) < seq:
                    raise Violation(
                        f"{node.name} uses a watermark up to {Dot(issuer, seq)}, and its member "
                        f"{life[0].name} would have no more than {safe.contiguous(issuer)} of that "
                        "after a power cut (R7)"
                    )
        self.oracle.incomplete = any(
            other.joined and other.store.origin not in members for other in self.nodes.values()
        )

    def _members_of(self, node: Node, members: frozenset[int]) -> list[Node]:
        """The nodes that live as these members."""
        lives = [self.lives.get(origin) for origin in node.membership.members() & members]
        return [life[0] for life in lives if life is not None and life[0].directory == life[1]]

    @property
    def is_healed(self) -> bool:
        return self._healed

    def _plan_returns(self, strike: Callable[[_Copy], None]) -> None:
        """Some nodes return to an earlier state, at moments of their own or all at once: then they
        are strange to each other, too."""
        random, seconds = self._random, self.plan.profile.seconds
        together = random.uniform(0.5, 1) * seconds if random.random() < 0.5 else None
        most = min(3, len(self.plan.names))
        for name in random.sample(self.plan.names, random.randint(1, most)):
            copy_at = random.uniform(0, 0.5) * seconds
            strike_at = random.uniform(copy_at, seconds) if together is None else together
            self._plan_return(self.nodes[name], copy_at, strike_at, strike)

    def _plan_return(
        self, node: Node, copy_at: float, strike_at: float, strike: Callable[[_Copy], None]
    ) -> None:
        """Lay a copy of a node aside; some time later, put it in place. What is restored comes of
        backups as often as of a copied directory."""
        backups = None
        dice = self.plan.backup_dice
        if strike == self._restore and dice.random() < 0.5:
            backups = self.parts.backups()
            for _ in range(dice.randint(1, 3)):
                at = dice.uniform(0, copy_at)
                self.loop.after(at, lambda: self._back_up(node, backups))

        def lay_aside() -> None:
            if not node.up or self.is_quarantined(node):
                return
            key = self.plan.keys[0]
            is_fresh = self.plan.dice.random() < self.plan.profile.fresh
            if is_fresh and self.oracle.may_write(node.store, key):
                node.write([(key, b"R%d" % self.next_number())], sync=True)
            if not node.up:
                return
            node.say("is copied")
            self.oracle.copied(node.store)
            image = node.disk.image()
            if backups is not None:
                self._back_up(node, backups)
                image = backups.restored or image
                self.count("increments", backups.increments)
                self.count("increments in which absence counts", backups.absences)
            copy = _Copy(node, image, self.next_number())
            self.loop.after(strike_at - copy_at, lambda: strike(copy))

        self.loop.after(copy_at, lay_aside)

    def _back_up(self, node: Node, backups: Backups) -> None:
        """Take a backup of a node, as long as its machine has not been rolled back."""
        if node.up and not self.is_quarantined(node) and node.name not in self._rollbacks:
            node.say("is backed up")
            self.oracle.copied(node.store)
            backups.add(node.disk.image())

    def _restore(self, copy: _Copy) -> None:
        """An older copy of the directory takes the place of the disk: a new origin (R13)."""
        if self._is_void(copy) or copy.node.gone:
            return
        if self.plan.profile.wipes and self.plan.dice.random() < self.plan.profile.wipes:
            copy = replace(copy, image={})
        self.count("restores")
        self._replace(copy.node, copy, "a restore", copied=True)

    def _roll_back(self, copy: _Copy) -> None:
        """The machine goes back to a snapshot, identity and all, and cannot see it (R13).

        Only a peer that knows more of its origin than it has ever shown can tell. Had it served
        others before, both forks would have: R13 stops there and calls for a person. So its first
        contact is with such a peer.
        """
        node = copy.node
        origin, shown = copy.image["origin"], copy.image["shown"]
        if self._is_void(copy) or node.gone:
            return
        forked = (
            node.quarantine == origin or origin != node.store.origin or shown != node.store.shown
        )
        if forked and not any(self.can_tell(node, peer, copy) for peer in self._peers_of(node)):
            return
        self.count("rollbacks")
        self._rollbacks[node.name] = (copy.number, self.next_number())
        self._replace(node, copy, "a rollback", copied=False)
        self.oracle.rolled_back(origin, node.store.seq)
        for reader in self.desk.readers:
            reader.rolled_back(node.name)
        node.quarantine = origin if forked else None

    def _is_void(self, copy: _Copy) -> bool:
        """Whether the copy is of a course of events that a rollback has undone: to bring that
        back too would give dots of one origin two meanings, and no rule undoes that."""
        undone = self._rollbacks.get(copy.node.name)
        return undone is not None and undone[0] < copy.number < undone[1]

    def _peers_of(self, node: Node) -> list[str]:
        return [name for name in node.peers if not self.nodes[name].gone]

    def can_tell(self, node: Node, peer: str, copy: _Copy | None = None) -> bool:
        """Whether `peer` knows of dots that `node`, or the copy, never showed."""
        image = node.disk.rows if copy is None else copy.image
        known = self.nodes[peer].store.known_now()
        return bool(known.highest(image["origin"]) > image["shown"])

    def is_quarantined(self, node: Node) -> bool:
        """Whether a fork is yet to be noticed, and somebody is left to notice it."""
        return node.quarantine == node.store.origin and any(
            self.can_tell(node, other.name) for other in self._staying() if other is not node
        )

    def _replace(self, node: Node, copy: _Copy, fault: str, copied: bool) -> None:
        node.say(f"down for {fault}")
        before = self.oracle.held(node.store)
        if node.up:
            node.stop(hear=True)
        node.directory += 1
        node.disk.restore(copy.image)
        node.open_store(lost_power=False, copied=copied)
        node.quarantine = None
        self.oracle.replaced(node.name)
        self.came_back(node, before, fault, {})
        self.start_later(node, self._random.choice((0.1, 0.5, 2.0)) * self._random.random())

    def damage(self, node: Node, losses: list[Lost]) -> None:
        """Records of a node can be read no more; it is stopped, repaired and started again."""
        self.count("records damaged")
        for lost in losses:
            node.say(f"is damaged: {lost}")
        before = self.oracle.held(node.store)
        node.stop(hear=True)
        node.directory += 1
        node.disk.reopen(power_lost=False)
        self.parts.store(node.disk, node.store.habits, self.oracle).repair(losses)
        node.open_store(lost_power=True, copied=False)
        self.oracle.replaced(node.name)
        damaged = {lost.key for lost in losses}
        promised = {key: mask for key, mask in before.items() if key not in damaged}
        self.came_back(node, before, "a repair", promised)
        self.start_later(node, self._random.choice((0.1, 0.5, 2.0)) * self._random.random())

    # Connections

    def connect(self, node: Node, peer_name: str) -> None:
        """`node` dials a peer."""
        peer = self.nodes[peer_name]
        link = self.links[frozenset((node.name, peer_name))]
        if not (link.up and peer.up) or node.forking or peer.forking:
            return
        for one, other in ((node, peer), (peer, node)):
            if self.is_quarantined(one) and not self.can_tell(one, other.name):
                return
        connection = link.connect()
        ends = node.join(peer_name, connection, 0), peer.join(node.name, connection, 1)
        for session in ends:
            self.loop.after(link.latency(), session.start)
