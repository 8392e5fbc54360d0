"""A little model of a cluster, for the tests of the core, with an oracle of causal history.

Nodes are immutable values: a step makes a new node out of old ones, so a schedule can branch
at every point and every earlier snapshot stays at hand. `replicator.core.merge` decides what a
node holds; beside it each node carries `seen`, per key the dots of all writes that took part in
what it holds. Causality itself needs nothing more: a write's past is what its node had seen.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from replicator.core.dots import Dot
from replicator.core.merge import merge, next_clock, write
from replicator.core.record import ABSENT, Record, Version
from replicator.core.resolve import resolve

Dots = frozenset[Dot]
Item = TypeVar("Item")


class Write(NamedTuple):
    """One write of the history."""

    dot: Dot
    key: int
    is_delete: bool
    clock: int
    past: Dots
    """The writes of the same key that the writer had seen."""


class Node(NamedTuple):
    """What one node holds."""

    origin: int
    seq: int
    known: Dots
    records: tuple[Record, ...]
    """One a key."""
    seen: tuple[Dots, ...]
    """One a key; the oracle's, unknown to the node."""


class Round(NamedTuple):
    """One node's catch-up with one snapshot of another (R4)."""

    source: Node
    """The snapshot."""
    keys: tuple[int, ...]
    """Keys still to be applied; at the start those of which the source holds a live version that
    the target lacks."""


def new_nodes(count: int, keys: int) -> tuple[Node, ...]:
    return tuple(
        Node(origin, 0, frozenset(), (ABSENT,) * keys, (frozenset(),) * keys)
        for origin in range(1, count + 1)
    )


def put_or_delete(
    node: Node,
    key: int,
    is_delete: bool,
    value: bytes | None = None,
    seen: Sequence[Write] | None = None,
) -> tuple[Node, Write]:
    """The node after a write of its own (R1), and the write for the history.

    Args:
        value: what is put; None puts a value that no other write puts.
        seen: the live versions that the writer has seen; None is all.
    """
    record = node.records[key]
    dot = Dot(node.origin, node.seq + 1)
    if seen is None:
        # As R1 has it: `test_small_world` puts mistakes in the place of these two.
        past, clock = node.seen[key], next_clock(record)
    else:
        saw = {one.dot for one in seen}
        past = frozenset(saw.union(*(one.past for one in seen)))
        clock = next_clock(record, saw)
    version = Version(
        key=b"key %d" % key,
        dot=dot,
        clock=clock,
        timestamp=clock,
        is_delete=is_delete,
        value=None if is_delete else str(dot).encode() if value is None else value,
    )
    after = node._replace(
        seq=dot.seq,
        known=node.known | {dot},
        records=_with(
            node.records,
            key,
            write(record, version) if seen is None else write(record, version, saw),
        ),
        seen=_with(node.seen, key, node.seen[key] | {dot}),
    )
    return after, Write(dot, key, is_delete, clock, past)


def begin(source: Node, target: Node) -> Round:
    """Take the snapshot and find what the target lacks of it."""
    lack = source.known - target.known
    keys = (
        key
        for key, record in enumerate(source.records)
        if any(version.dot in lack for version in record.versions)
    )
    return Round(source, tuple(keys))


def apply_record(target: Node, round_: Round, key: int) -> Node:
    """Apply one record: of its dots only the live ones become known (R3)."""
    source = round_.source
    sent = source.records[key]
    return target._replace(
        known=target.known | {version.dot for version in sent.versions},
        records=_with(
            target.records, key, merge(target.records[key], target.known, sent, source.known)
        ),
        seen=_with(target.seen, key, target.seen[key] | source.seen[key]),
    )


def claim(target: Node, round_: Round) -> Node:
    """End a round of which every record was applied: all that the snapshot knew is known (R3)."""
    source = round_.source
    return target._replace(
        known=target.known | source.known,
        seen=tuple(map(frozenset.union, target.seen, source.seen)),
    )


def catch_up(target: Node, source: Node) -> Node:
    """One whole round."""
    round_ = begin(source, target)
    for key in round_.keys:
        target = apply_record(target, round_, key)
    return claim(target, round_)


def exchange_all(nodes: Iterable[Node]) -> list[Node]:
    """All nodes after the first collected from every other and every other from it."""
    first, *others = nodes
    for other in others:
        first = catch_up(first, other)
    return [first, *(catch_up(other, first) for other in others)]


def maximal(dots: Dots, history: dict[Dot, Write]) -> Dots:
    """The writes that no other one of them had seen."""
    return dots.difference(*(history[dot].past for dot in dots))


def check(node: Node, history: dict[Dot, Write]) -> None:
    """What must hold at every node after every step.

    - The live versions are exactly the causally maximal writes among those seen.
    - A context and a known set speak only of writes whose effect is there, and every live
      version is in both.
    - A clock is above those of all writes that its write had seen.
    """
    for record, seen in zip(node.records, node.seen, strict=True):
        live = {version.dot for version in record.versions}
        assert live == maximal(seen, history), node
        assert live <= node.known
        for dot in live:
            assert record.covers(dot)
            assert all(history[past].clock < history[dot].clock for past in history[dot].past)
    for dot, write_ in history.items():
        if dot in node.known or node.records[write_.key].covers(dot):
            assert dot in node.seen[write_.key], (node, dot)


def check_agreement(nodes: list[Node], history: dict[Dot, Write]) -> None:
    """What must hold once all have exchanged everything: the same live versions everywhere,
    the causally maximal ones of the whole history, and the same one shown."""
    first = nodes[0]
    check(first, history)
    for node in nodes:
        assert node.known == history.keys()
        assert node.seen == first.seen
        for ours, theirs in zip(node.records, first.records, strict=True):
            assert ours.versions == theirs.versions
            if len(ours.versions) > 1:
                assert resolve(ours.versions, in_circles) == resolve(theirs.versions, in_circles)


def in_circles(a: Version, b: Version) -> bool:
    """A resolver without any order: rock, paper, scissors by the last byte."""
    return (ord((a.value or b"\0")[-1:]) - ord((b.value or b"\0")[-1:])) % 3 == 1


def _with(items: tuple[Item, ...], place: int, item: Item) -> tuple[Item, ...]:
    return (*items[:place], item, *items[place + 1 :])
