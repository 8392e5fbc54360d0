"""Every schedule of a small cluster, step by step, against the oracle of `worlds`.

A schedule is a sequence of steps, each a put, a delete, a whole round or a cut round. Schedules
that lead to the same world go on together, so the few hundred thousand merges of these tests
stand for many millions of schedules.
"""

from collections.abc import Callable, Collection, Hashable, Iterator
from itertools import chain, combinations, permutations
from typing import NamedTuple

import pytest

from replicator.core.dots import Dot
from replicator.core.merge import write
from replicator.core.record import Record, Version
from tests.core import worlds
from tests.core.worlds import Node, Round, Write, apply_record


class World(NamedTuple):
    """One moment of a schedule."""

    nodes: tuple[Node, ...]
    writes: frozenset[Write] = frozenset()
    rounds: tuple[tuple[int, Round], ...] = ()
    """Rounds under way, each with its target's place; only where rounds take several steps."""

    def history(self) -> dict[Dot, Write]:
        return {write.dot: write for write in self.writes}

    def identity(self) -> Hashable:
        """Equal for worlds with the same future."""
        return (
            tuple(map(_identity, self.nodes)),
            self.writes,
            frozenset(
                (place, _identity(round_.source), round_.keys) for place, round_ in self.rounds
            ),
        )


def _identity(node: Node) -> Hashable:
    """The versions are left out: by the oracle they follow from what was seen."""
    contexts = tuple(frozenset(record.context.items()) for record in node.records)
    return (node.known, contexts, node.seen)


Steps = Callable[[World], Iterator[tuple[World, Node]]]
"""Every next world, with the node that changed."""


def writes(world: World) -> Iterator[tuple[World, Node]]:
    for place, node in enumerate(world.nodes):
        for key in range(len(node.records)):
            for is_delete in (False, True):
                after, write = worlds.put_or_delete(node, key, is_delete)
                yield _replaced(world, place, after)._replace(writes=world.writes | {write}), after


def writes_that_saw_some(world: World) -> Iterator[tuple[World, Node]]:
    """Every live version of a key seen but one, or none of them."""
    history = world.history()
    for place, node in enumerate(world.nodes):
        for key, record in enumerate(node.records):
            live = [history[version.dot] for version in record.versions]
            for seen in {(), *combinations(live, max(0, len(live) - 1))}:
                after, write = worlds.put_or_delete(node, key, False, seen=seen)
                world_after = _replaced(world, place, after)
                yield world_after._replace(writes=world.writes | {write}), after


def whole_and_cut_rounds(world: World) -> Iterator[tuple[World, Node]]:
    for (_, source), (place, target) in permutations(enumerate(world.nodes), 2):
        if source.known <= target.known:
            continue
        round_ = worlds.begin(source, target)
        for applied in _subsets(round_.keys):
            after = target
            for key in applied:
                after = worlds.apply_record(after, round_, key)
            if applied:
                yield _replaced(world, place, after), after
            if len(applied) == len(round_.keys):
                after = worlds.claim(after, round_)
                yield _replaced(world, place, after), after


def _replaced(world: World, place: int, node: Node) -> World:
    return world._replace(nodes=(*world.nodes[:place], node, *world.nodes[place + 1 :]))


def _subsets(keys: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(keys, count) for count in range(len(keys) + 1))


def rounds_in_steps(world: World) -> Iterator[tuple[World, Node]]:
    """Begin a round (one under way between the two is cut), apply one record, end it."""
    for (_, source), (place, target) in permutations(enumerate(world.nodes), 2):
        if not source.known <= target.known:
            yield _with_round(world, place, worlds.begin(source, target)), target
    for place, round_ in world.rounds:
        target = world.nodes[place]
        for key in round_.keys:
            after = worlds.apply_record(target, round_, key)
            rest = tuple(other for other in round_.keys if other != key)
            changed = _replaced(world, place, after)
            yield _with_round(changed, place, round_._replace(keys=rest)), after
        if not round_.keys:
            after = worlds.claim(target, round_)
            yield _replaced(world, place, after), after


def _with_round(world: World, place: int, round_: Round) -> World:
    others = [
        (other_place, other)
        for other_place, other in world.rounds
        if (other_place, other.source.origin) != (place, round_.source.origin)
    ]
    return world._replace(rounds=(*others, (place, round_)))


def explore(world: World, steps: int, kinds: tuple[Steps, ...]) -> int:
    """Go every way of so many steps; check each world that is reached, and the agreement that
    follows from it.

    Returns:
        How many different worlds there were.
    """
    count = 0
    level = {world.identity(): world}
    for _ in range(steps):
        following: dict[Hashable, World] = {}
        for before in level.values():
            for after, changed in chain.from_iterable(kind(before) for kind in kinds):
                identity = after.identity()
                if identity not in following:
                    following[identity] = after
                    worlds.check(changed, after.history())
        for after in following.values():
            worlds.check_agreement(worlds.exchange_all(after.nodes), after.history())
        count += len(following)
        level = following
    return count


@pytest.mark.parametrize(
    ("nodes", "keys", "steps", "kinds"),
    [
        pytest.param(2, 2, 5, (writes, whole_and_cut_rounds), id="2 nodes, 2 keys, 5 steps"),
        pytest.param(3, 1, 5, (writes, whole_and_cut_rounds), id="3 nodes, 1 key, 5 steps"),
        pytest.param(3, 2, 4, (writes, whole_and_cut_rounds), id="3 nodes, 2 keys, 4 steps"),
        pytest.param(
            2, 1, 7, (writes_that_saw_some, whole_and_cut_rounds), id="2 nodes, 7 steps, saw some"
        ),
        pytest.param(
            3, 1, 6, (writes_that_saw_some, whole_and_cut_rounds), id="3 nodes, 6 steps, saw some"
        ),
        pytest.param(2, 1, 7, (writes, rounds_in_steps), id="2 nodes, 1 key, 7 steps, slow"),
        pytest.param(2, 2, 5, (writes, rounds_in_steps), id="2 nodes, 2 keys, 5 steps, slow"),
        pytest.param(3, 1, 5, (writes, rounds_in_steps), id="3 nodes, 1 key, 5 steps, slow"),
    ],
)
def test_every_schedule(nodes: int, keys: int, steps: int, kinds: tuple[Steps, ...]) -> None:
    assert explore(World(worlds.new_nodes(nodes, keys)), steps, kinds) > 5_000


def claim_the_scanned_range(target: Node, round_: Round, key: int) -> Node:
    """What R3 forbids: to know all of an origin because its log was walked."""
    source = round_.source
    scanned = {dot for dot in source.known if dot.origin == source.origin}
    after = apply_record(target, round_, key)
    return after._replace(known=after.known | scanned)


def apply_without_contexts(target: Node, round_: Round, key: int) -> Node:
    """What R2 forbids: to keep of a context only what the live versions say."""
    after = apply_record(target, round_, key)
    return after._replace(records=tuple(map(_with_live_context, after.records)))


def write_without_context(
    record: Record, version: Version, seen: Collection[Dot] | None = None
) -> Record:
    """What R1 forbids: to forget what the superseded versions had superseded."""
    return _with_live_context(write(record, version, seen))


def write_over_the_unseen(record: Record, version: Version, seen: Collection[Dot] = ()) -> Record:
    """To leave of what was not seen only the writes of others: the context covers the own ones."""
    after = write(record, version, seen)
    kept = [one for one in after.versions if one.dot.origin != version.dot.origin]
    versions = sorted((*kept, version), key=lambda one: one.dot)
    return Record(tuple(versions), after.context)


def clock_from_zero(record: Record, seen: Collection[Dot] | None = None) -> int:
    """What R1 forbids: a clock that does not count what was seen."""
    return 0


def _with_live_context(record: Record) -> Record:
    return Record(record.versions, dict(version.dot for version in record.versions))


@pytest.mark.parametrize(
    ("name", "mistake", "nodes", "keys"),
    [
        ("apply_record", claim_the_scanned_range, 2, 2),
        ("apply_record", apply_without_contexts, 3, 1),
        ("write", write_without_context, 3, 1),
        ("write", write_over_the_unseen, 2, 1),
        ("next_clock", clock_from_zero, 2, 1),
    ],
)
def test_a_mistake_is_found(
    name: str,
    mistake: Callable[..., object],
    nodes: int,
    keys: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The check itself, checked: these shortcuts look harmless and lose or resurrect data."""
    monkeypatch.setattr(worlds, name, mistake)
    with pytest.raises(AssertionError):
        explore(
            World(worlds.new_nodes(nodes, keys)),
            4,
            (writes, writes_that_saw_some, whole_and_cut_rounds),
        )
