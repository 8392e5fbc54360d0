"""Which version each node runs: a cluster is upgraded node by node, and takes its time.

Where the fault is on, a process may be version 0.1.0 (its own conversations and pulls, from the
wheel: `tests.upgrades.aside`; it collects nothing) or this code that speaks version 1 only; when a
node starts again it may be upgraded, never the other way: 0.1.0 refuses a directory that this
version has had open. Some nodes are never upgraded.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from replicator.config import PROTOCOL_VERSION, PROTOCOL_VERSION_LEAST
from replicator.protocol.conversation import Conversation
from replicator.protocol.pulls import Pulls

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

BEFORE = "version 0.1.0"
CAREFUL = "this version, which speaks protocol 1 only"
NOW = "this version"


class Versions:
    """The versions of one run; draws from a source of its own.

    Attributes:
        at: node → what its process runs.
    """

    def __init__(self, cluster: "Cluster") -> None:
        plan = cluster.plan
        self._cluster = cluster
        self._dice = Random(f"{plan.seed} {plan.profile.about} versions")
        self.is_on = "versions" in plan.faults
        parts = cluster.parts
        # A planted bug is in the code that is now.
        self._can_be_before = parts.conversation is Conversation and parts.pulls is Pulls
        self.at: dict[str, str] = {}

    def plan_upgrades(self) -> None:
        """Let some nodes be stopped in good order and come back upgraded, each at its moment."""
        if not self.is_on:
            return
        seconds = self._cluster.plan.profile.seconds
        for node in self._cluster.nodes.values():
            if self._dice.random() < 0.7:
                moment = self._dice.uniform(0.1, 1.0) * seconds
                self._cluster.loop.after(moment, self._upgrading(node))

    def _upgrading(self, node: "Node") -> Callable[[], None]:
        def upgrade() -> None:
            if node.up and self.at[node.name] != NOW:
                node.say("is stopped, to be upgraded")
                node.stop(hear=True)
                node.disk.reopen(power_lost=False)
                node.open_store(lost_power=False, copied=False)
                self.at[node.name] = NOW
                self._cluster.count("nodes upgraded")
                self._cluster.start_later(node, self._dice.uniform(0.05, 1.0))

        return upgrade

    def start(self, node: "Node") -> None:
        """A process of a node is up."""
        if not self.is_on:
            self.at[node.name] = NOW
            return
        before = self.at.get(node.name)
        if before is None:
            first = [BEFORE, BEFORE, BEFORE, CAREFUL, NOW, NOW]
            self.at[node.name] = self._dice.choice(first if self._can_be_before else first[3:])
        elif before != NOW and self._dice.random() < 0.3:
            self.at[node.name] = self._dice.choice([CAREFUL, NOW])
        self._cluster.count(f"processes of {self.at[node.name]}")
        node.say(f"runs {self.at[node.name]}")

    def spoken(self, node: "Node") -> tuple[int, int]:
        """The least and the greatest protocol version that a node speaks."""
        return PROTOCOL_VERSION_LEAST, PROTOCOL_VERSION if self.at[node.name] == NOW else 1

    def collects(self, node: "Node") -> bool:
        """Whether it collects tombstones at all."""
        return self.at[node.name] != BEFORE

    def closes(self, node: "Node") -> bool:
        """Whether it takes part in closing: what it has seen, and full-state rounds that it asks
        for itself, travel in messages of protocol 2 only (R10)."""
        return self.at[node.name] == NOW

    def conversation(self, node: "Node") -> Any:
        """What holds its conversations; see `Conversation`."""
        if self.at[node.name] == BEFORE:
            from tests.upgrades.aside import EarlierConversation

            return EarlierConversation
        return self._cluster.parts.conversation

    def pulls(self, node: "Node") -> Any:
        """What its conversations share; see `Pulls`."""
        reask_timeout = self._cluster.plan.settings.reask_timeout
        if self.at.get(node.name) == BEFORE:
            from tests.upgrades.aside import package

            return package().make_pulls(reask_timeout)
        return self._cluster.parts.pulls(reask_timeout)
