"""The axioms at the head of `replicator.core.merge`, on records of real histories, and R1 and R2
by example. That a version goes only if a write that had seen it superseded it is what
`test_small_world` and `test_random_world` check."""

from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.merge import counted_as_seen, merge, next_clock, raise_context, write
from replicator.core.record import ABSENT, Record
from replicator.errors import ForkedContentsError
from tests.core import worlds
from tests.core.samples import delete, put
from tests.core.worlds import Dots, Node, Write

NODES = 3
places = st.integers(0, NODES - 1)
steps = st.one_of(
    st.tuples(st.just("put"), places, st.just(0)),
    st.tuples(st.just("delete"), places, st.just(0)),
    st.tuples(st.just("put that saw some"), places, st.just(0)),
    st.tuples(st.just("round"), places, places),
    st.tuples(st.just("cut round"), places, places),
)


class Held(NamedTuple):
    """What some node held at some moment."""

    record: Record
    known: Dots

    def merged(self, other: "Held") -> "Held":
        record = merge(self.record, self.known, other.record, other.known)
        return Held(record, self.known | other.known)


@st.composite
def moments(draw: st.DrawFn, count: int) -> list[Held]:
    """What nodes held of one key at any moments of one history. The second key is there so that
    known sets speak of more than the first."""
    nodes = list(worlds.new_nodes(NODES, keys=2))
    past: list[Node] = list(nodes)
    history: dict[Dot, Write] = {}
    for kind, place, other in draw(st.lists(steps, min_size=4, max_size=25)):
        nodes[place] = _after(draw, nodes[place], nodes[other], kind, history)
        past.append(nodes[place])
    return [
        Held(node.records[0], node.known)
        for node in (draw(st.sampled_from(past)) for _ in range(count))
    ]


def _after(draw: st.DrawFn, node: Node, source: Node, kind: str, history: dict[Dot, Write]) -> Node:
    if kind == "round":
        return worlds.catch_up(node, source)
    if kind == "cut round":
        round_ = worlds.begin(source, node)
        for key in draw(st.lists(st.sampled_from(round_.keys), max_size=2)) if round_.keys else ():
            node = worlds.apply_record(node, round_, key)
        return node
    key = draw(st.integers(0, 1))
    seen = None
    if kind == "put that saw some":
        live = [history[version.dot] for version in node.records[key].versions]
        seen = [one for one in live if draw(st.booleans())]
    after, write_ = worlds.put_or_delete(node, key, is_delete=kind == "delete", seen=seen)
    history[write_.dot] = write_
    return after


@given(moments(1))
def test_merge_is_idempotent(held: list[Held]) -> None:
    (a,) = held
    assert a.merged(a) == a


@given(moments(2))
def test_merge_is_commutative(held: list[Held]) -> None:
    a, b = held
    assert a.merged(b) == b.merged(a)


@given(moments(3))
def test_merge_is_associative(held: list[Held]) -> None:
    a, b, c = held
    assert a.merged(b).merged(c) == a.merged(b.merged(c))


@given(moments(2))
def test_what_was_merged_is_merged_for_good(held: list[Held]) -> None:
    a, b = held
    assert a.merged(b).merged(a) == a.merged(b)


@given(moments(2))
def test_a_known_set_in_ranges_says_the_same(held: list[Held]) -> None:
    a, b = held
    in_ranges = merge(a.record, KnownSet.of(*a.known), b.record, KnownSet.of(*b.known))
    assert in_ranges == a.merged(b).record


def test_the_first_clock_is_zero_and_later_ones_are_above_all_seen() -> None:
    assert next_clock(ABSENT) == 0
    assert next_clock(Record((put(b"v", clock=0),), {1: 1})) == 1
    both = Record((put(b"v", 1, clock=5), delete(2, clock=2)), {1: 1, 2: 1})
    assert next_clock(both) == 6


def test_a_write_replaces_all_versions_and_keeps_the_context() -> None:
    before = Record((put(b"a", 1, 4), put(b"b", 2, 6)), {1: 4, 2: 6, 3: 9})
    version = put(b"c", 1, 8)
    assert write(before, version) == Record((version,), {1: 8, 2: 6, 3: 9})
    assert before.context == {1: 4, 2: 6, 3: 9}


def test_a_write_leaves_what_it_has_not_seen() -> None:
    mine, theirs, superseded = put(b"a", 1, 4, clock=7), put(b"b", 2, 6, clock=1), put(b"c", 3, 2)
    before = Record((mine, theirs, superseded), {1: 4, 2: 6, 3: 9})
    version = put(b"d", 1, 8)
    after = write(before, version, [superseded.dot, (9, 9)])
    assert after == Record((mine, version, theirs), {1: 8, 2: 6, 3: 9})
    assert next_clock(before, [superseded.dot, theirs.dot]) == 2
    assert next_clock(before, []) == 0


def test_deletes_that_may_be_collected_elsewhere_count_as_seen() -> None:
    durable = KnownSet.of((1, 4), (2, 6), (4, 1), (5, 1))
    record = Record(
        (
            put(b"a", 1, 4),
            delete(2, 6),
            delete(3, 1),
            replace(put(b"b", 4, 1), expiry_ms=50),
            replace(put(b"c", 5, 1), expiry_ms=51),
        ),
        {1: 4, 2: 6, 3: 1, 4: 1, 5: 1},
    )
    assert counted_as_seen(record, [(9, 9)], durable, 50) == {(9, 9), (2, 6), (4, 1)}


NOTHING = KnownSet()
OLD, NEW = put(b"old", 1, 1), put(b"new", 1, 2, clock=1)
OTHER = put(b"other", 2, 1)


def test_concurrent_versions_stay_side_by_side() -> None:
    merged = merge(
        Record((OTHER,), {2: 1}), KnownSet.of((2, 1)), Record((OLD,), {1: 1}), KnownSet.of((1, 1))
    )
    assert merged == Record((OLD, OTHER), {1: 1, 2: 1})


@pytest.mark.parametrize("known", [KnownSet.of((1, 2)), NOTHING], ids=["K too", "C alone"])
def test_a_context_supersedes(known: KnownSet) -> None:
    newer = Record((NEW,), {1: 2})
    older = Record((OLD,), {1: 1})
    assert merge(older, KnownSet.of((1, 1)), newer, known) == newer
    assert merge(newer, known, older, KnownSet.of((1, 1))) == newer


def test_a_known_set_alone_speaks_for_a_key_that_is_gone() -> None:
    held = Record((OLD,), {1: 1})
    gone = merge(held, KnownSet.of((1, 1)), ABSENT, KnownSet.of((1, 1)))
    assert gone == Record((), {1: 1})
    assert merge(ABSENT, KnownSet.of((1, 1)), held, KnownSet.of((1, 1))) == Record((), {1: 1})


def test_a_key_that_one_side_never_saw_is_kept() -> None:
    held = Record((OLD,), {1: 1})
    assert merge(held, KnownSet.of((1, 1)), ABSENT, NOTHING) == held
    assert merge(ABSENT, NOTHING, held, KnownSet.of((1, 1))) == held


def test_a_version_that_both_hold_is_kept_although_both_know_it() -> None:
    held = Record((OLD,), {1: 1})
    known = KnownSet.of((1, 1))
    assert merge(held, known, held, known) == held


def test_the_merged_versions_are_in_dot_order() -> None:
    low, high = put(b"x", 1, 1), put(b"y", 3, 1)
    middle = put(b"z", 2, 1)
    merged = merge(Record((low, high), {1: 1, 3: 1}), NOTHING, Record((middle,), {2: 1}), NOTHING)
    assert merged.versions == (low, middle, high)


def test_one_dot_with_two_contents_is_refused_and_both_are_named() -> None:
    ours = Record((OLD,), {1: 1})
    theirs = Record((put(b"forged", 1, 1),), {1: 1})
    with pytest.raises(ForkedContentsError, match=r"dot 0000000000000001:1 of key b'key'"):
        merge(ours, KnownSet.of((1, 1)), theirs, KnownSet.of((1, 1)))


def test_values_need_not_be_loaded_to_merge() -> None:
    unloaded = Record((replace(OLD, value=None),), {1: 1})
    merged = merge(Record((OLD,), {1: 1}), NOTHING, unloaded, NOTHING)
    assert merged.versions == (OLD,)


def test_a_full_round_raises_the_context_to_the_floor() -> None:
    record = Record((NEW,), {1: 2, 2: 7})
    assert raise_context(record, {2: 5, 3: 4}) == Record((NEW,), {1: 2, 2: 7, 3: 4})


def test_what_was_collected_does_not_come_back_from_one_that_was_away() -> None:
    """R9: the delete is collected at the sender; its floor supersedes the version that the
    receiver still has, though the sender has nothing left of the key."""
    collected = raise_context(ABSENT, {1: 1, 2: 1})
    away = merge(Record((OLD,), {1: 1}), KnownSet.of((1, 1)), collected, NOTHING)
    assert away.versions == ()
