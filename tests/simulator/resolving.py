"""Nodes that are given another resolver (R6) on the way: what they show is looked at again, step by
step, whoever kills them meanwhile.

Everything random here is drawn from dice of its own. No reader keeps a copy by a feed in these
runs: that tells of writes, and a change of the resolver is none.
"""

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from .expiring import check_shown
from .plan import RESOLVERS

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

STEP_SECONDS = 0.5


class Resolving:
    """The changes of resolvers of one cluster; does nothing where the plan has none."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self.is_on = "resolver" in cluster.plan.faults
        self._dice = Random(f"{cluster.plan.seed} resolvers")

    def begin(self) -> None:
        """Plan the changes: in the end to one and the same, while there are still faults."""
        if self.is_on:
            last = self._cluster.plan.resolver_name
            for node in self._cluster.nodes.values():
                for _ in range(self._dice.randint(0, 2)):
                    self._plan(node, self._dice.choice(list(RESOLVERS)), 0.1, 0.5)
                if self._dice.random() < 0.8:
                    self._plan(node, last, 0.5, 0.8)

    def _plan(self, node: "Node", resolver_name: str, earliest: float, latest: float) -> None:
        moment = self._dice.uniform(earliest, latest) * self._cluster.plan.profile.seconds
        self._cluster.loop.after(moment, partial(self._change, node, resolver_name))

    def started(self, node: "Node") -> None:
        """A process is up: it looks at its conflicts again, if there is reason to."""
        if self.is_on:
            life = node.life

            def again() -> None:
                if node.life == life:
                    node.attempt(partial(node.store.revisit, 1), lambda result: None)
                    self._cluster.loop.after(self._dice.uniform(0.1, STEP_SECONDS), again)

            self._cluster.loop.after(self._dice.uniform(0, STEP_SECONDS), again)

    def healed(self) -> None:
        """All nodes are given the same one in the end."""
        if self.is_on:
            for node in self._cluster.nodes.values():
                self._change(node, self._cluster.plan.resolver_name)

    def judge(self, nodes: list["Node"]) -> None:
        """At quiet: when all is looked at, every node shows what its versions come to."""
        if self.is_on:
            for node in nodes:
                while node.store.revisit(1):
                    pass
                check_shown(node.store)

    def _change(self, node: "Node", resolver_name: str) -> None:
        """A node is started anew with this resolver; one that is down will be."""
        if node.gone or node.habits.resolver_name == resolver_name:
            return
        self._cluster.count("resolvers changed")
        node.say(f"is given the resolver {resolver_name}")
        node.habits.resolver_name, node.habits.resolver = resolver_name, RESOLVERS[resolver_name]
        was_up = node.up
        if was_up:
            node.stop(hear=True)
        node.disk.reopen(power_lost=False)
        node.open_store(lost_power=False, copied=False)
        if was_up:
            node.start()
