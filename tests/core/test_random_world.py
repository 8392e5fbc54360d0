"""Random schedules, longer than `test_small_world` can go, against the oracle of `worlds`.

Rounds take several steps here, several run at once, their records come in any order and more
than once, and any of them may be cut.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from replicator.core.dots import Dot
from tests.core import worlds
from tests.core.worlds import Round, Write

NODES = 4
KEYS = 3

places = st.integers(0, NODES - 1)
keys = st.integers(0, KEYS - 1)


class RandomWorld(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.nodes = list(worlds.new_nodes(NODES, KEYS))
        self.history: dict[Dot, Write] = {}
        self.rounds: list[tuple[int, Round, set[int]]] = []
        """Of each round under way the target's place and the keys still to be applied."""

    @rule(place=places, key=keys, is_delete=st.booleans(), equal=st.booleans())
    def write(self, place: int, key: int, is_delete: bool, equal: bool) -> None:
        value = b"the same everywhere" if equal else None
        self.nodes[place], write = worlds.put_or_delete(self.nodes[place], key, is_delete, value)
        self.history[write.dot] = write

    @rule(place=places, key=keys, is_delete=st.booleans(), data=st.data())
    def write_what_saw_some(
        self, place: int, key: int, is_delete: bool, data: st.DataObject
    ) -> None:
        node = self.nodes[place]
        live = [self.history[version.dot] for version in node.records[key].versions]
        seen = [one for one in live if data.draw(st.booleans(), label=f"saw {one.dot}")]
        self.nodes[place], write = worlds.put_or_delete(node, key, is_delete, seen=seen)
        self.history[write.dot] = write

    @rule(reader=places, source=places)
    def begin(self, reader: int, source: int) -> None:
        round_ = worlds.begin(self.nodes[source], self.nodes[reader])
        self.rounds.append((reader, round_, set(round_.keys)))

    @precondition(lambda self: any(round_.keys for _, round_, _ in self.rounds))
    @rule(data=st.data())
    def apply(self, data: st.DataObject) -> None:
        going = [entry for entry in self.rounds if entry[1].keys]
        place, round_, left = data.draw(st.sampled_from(going), label="round")
        key = data.draw(st.sampled_from(round_.keys), label="key")
        self.nodes[place] = worlds.apply_record(self.nodes[place], round_, key)
        left.discard(key)

    @precondition(lambda self: self.rounds)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """Claim what the snapshot knew where all was applied; else the round was cut."""
        entry = data.draw(st.sampled_from(self.rounds), label="round")
        self.rounds.remove(entry)
        place, round_, left = entry
        if not left:
            self.nodes[place] = worlds.claim(self.nodes[place], round_)

    @rule(reader=places, source=places)
    def catch_up(self, reader: int, source: int) -> None:
        self.nodes[reader] = worlds.catch_up(self.nodes[reader], self.nodes[source])

    @invariant()
    def every_node_holds_the_maximal_writes(self) -> None:
        for node in self.nodes:
            worlds.check(node, self.history)

    def teardown(self) -> None:
        worlds.check_agreement(worlds.exchange_all(self.nodes), self.history)


RandomWorld.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRandomWorld = RandomWorld.TestCase
