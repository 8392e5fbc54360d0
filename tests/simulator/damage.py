"""Damaged records, and their repair (`replicator.store.verify.repair`).

The fault "damage": a node goes down, some of its records can be read no more, or in part, and
`replicator verify --repair` runs before it comes up again. Drawn from a source of its own.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from replicator.core.record import Version

from .model_store import Lost

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

PER_RUN = 4
KEYS_MAX = 3


class Damage:
    """The damage of one run."""

    def __init__(self, cluster: "Cluster") -> None:
        plan = cluster.plan
        self._cluster = cluster
        self._dice = Random(f"{plan.seed} {plan.profile.about} damage")
        self._is_on = "damage" in plan.faults

    def plan_damages(self) -> None:
        """Let some records be damaged, each at its moment."""
        if not self._is_on:
            return
        seconds = self._cluster.plan.profile.seconds
        nodes = list(self._cluster.nodes.values())
        for _ in range(self._dice.randint(1, PER_RUN)):
            node = self._dice.choice(nodes)
            self._cluster.loop.after(self._dice.uniform(0.2, 1) * seconds, self._striking(node))

    def _striking(self, node: "Node") -> Callable[[], None]:
        def strike() -> None:
            nodes = self._cluster.nodes.values()
            told = self._cluster.oracle.is_told_from_collected
            keys = [key for key in sorted(node.store.records()) if told(node.store, key)]
            # A fork is noticed by who knows what its node never showed: that must not be forgotten.
            forked = any(other.quarantine is not None for other in nodes)
            if not node.up or node.forking or not keys or forked:
                return
            chosen = self._dice.sample(keys, self._dice.randint(1, min(KEYS_MAX, len(keys))))
            self._cluster.damage(node, [self._lost(node, key) for key in chosen])

        return strike

    def _lost(self, node: "Node", key: bytes) -> Lost:
        """What cannot be read of a record: the index row, or the values of some versions."""
        versions = node.store.record(key).versions
        shown = node.store.visible().get(key)
        if self._dice.random() < 0.5:
            return Lost(key, None, shown if self._dice.random() < 0.5 else None)
        puts = [version for version in versions if not version.is_delete]
        lost = self._dice.sample(puts, self._dice.randint(1, len(puts))) if puts else versions
        left: list[Version] = [version for version in versions if version not in lost]
        return Lost(key, tuple(left), None)
