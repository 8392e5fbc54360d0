"""Values that expire (R17) in a run: which ones, what the wall clocks do, and what must hold.

Everything random here is drawn from dice of its own, so other runs stay what they were. The clocks
of some nodes are off and jump; the first node's is never ahead, for R8 takes the clocks of all
members at their word. When the faults end all clocks are right.
"""

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

from replicator.core.resolve import resolve

from .model_store import ModelStore
from .oracle import Violation

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

SWEEP_SECONDS = 0.5
SKEWS_MS = (0, 0, -300, 300, -2000, 2000, -60_000, 3_600_000, -31_536_000_000, 31_536_000_000)
"""How far clocks are off: also by years."""


class Expiring:
    """The expiries of one cluster; does nothing where the plan has none."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._is_on = "expiry" in cluster.plan.faults
        self._dice = Random(f"{cluster.plan.seed} expiry")
        self._latest_ms: dict[str, int] = {}
        if self._is_on:
            for name in cluster.plan.names:
                self._set_clock(name)

    def begin(self) -> None:
        """Plan the jumps of clocks."""
        if self._is_on:
            seconds = self._cluster.plan.profile.seconds
            for _ in range(self._dice.randint(0, 6)):
                name = self._dice.choice(self._cluster.plan.names)
                moment = self._dice.uniform(0, seconds)
                self._cluster.loop.after(moment, lambda name=name: self._set_clock(name))

    def started(self, node: "Node") -> None:
        """A process is up: it sweeps from now on."""
        if self._is_on:
            life = node.life

            def again() -> None:
                if node.life == life:
                    self._sweep(node)
                    self._cluster.loop.after(self._dice.uniform(0.05, SWEEP_SECONDS), again)

            self._cluster.loop.after(self._dice.uniform(0, SWEEP_SECONDS), again)

    def expiries(self, node: "Node", keys: list[bytes]) -> Mapping[bytes, int]:
        """When what is about to be written there expires."""
        if not self._is_on:
            return {}
        now_ms = node.wall_ms()
        return {
            key: now_ms + self._dice.choice((-50, 100, 400, 1500, 5000, 3_600_000))
            for key in keys
            if self._dice.random() < 0.6
        }

    def healed(self) -> None:
        """All clocks are right from now on."""
        if self._is_on:
            for name in self._cluster.plan.names:
                self._cluster.clocks.set_off(name, 0)

    def seen(self, name: str, wall_ms: int) -> None:
        """A node has looked at its clock."""
        self._latest_ms[name] = max(wall_ms, self._latest_ms.get(name, 0))

    def latest_ms(self) -> int:
        """A moment that no node's clock has ever been behind of."""
        return max(self._latest_ms.values(), default=0)

    def may_go(self, nodes: list["Node"]) -> int:
        """What expired before this moment may be collected: all these have seen it go by."""
        return min((self._latest_ms.get(node.name, 0) for node in nodes), default=0)

    def judge(self, nodes: list["Node"]) -> None:
        """At quiet, with equal clocks: every node shows the same, and that is right."""
        if self._is_on:
            for node in nodes:
                node.store.sweep()
                check_shown(node.store)

    def _set_clock(self, name: str) -> None:
        skews = SKEWS_MS if name != self._cluster.plan.names[0] else (0, -300, -2000)
        if not self._cluster.is_healed:
            skew_ms = self._dice.choice(skews)
            self._cluster.clocks.set_off(name, skew_ms)
            self._cluster.transcript.say(self._cluster.loop.now, name, f"clock off by {skew_ms} ms")

    def _sweep(self, node: "Node") -> None:
        def swept(result: object) -> None:
            if isinstance(result, int):
                self._cluster.count("values swept", result)
                check_shown(node.store)

        node.attempt(node.store.sweep, swept)


def check_shown(store: ModelStore) -> None:
    """Behind a sweep.

    Raises:
        Violation: a key shows something else than R17 says, by the store's own wall clock.
    """
    habits = store.habits
    now_ms = habits.wall_ms()
    for key, record in store.records().items():
        winner = resolve(record.versions, habits.resolver, habits.mode).visible
        is_over = winner.expiry_ms is not None and winner.expiry_ms <= now_ms
        expected = None if is_over else winner.value
        if store.visible().get(key) != expected:
            raise Violation(
                f"{habits.node} shows {store.visible().get(key)!r} under {key!r} instead of "
                f"{expected!r} at {now_ms} of its wall clock (R17)"
            )
