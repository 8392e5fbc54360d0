"""Known sets against sets of dots."""

from hypothesis import given
from hypothesis import strategies as st

from replicator.core.dots import Dot
from replicator.core.known import BLOCKS, KnownSet, below_floor, block_of, within_known

ORIGINS = [origin << 60 | 7 for origin in (0, 1, 1, 15)] + [2, 3]
"""Several in one block, some alone in theirs."""

origins = st.sampled_from(ORIGINS)
seqs = st.integers(1, 12)
dot_sets = st.frozensets(st.builds(Dot, origins, seqs))


def as_set(known: KnownSet) -> set[Dot]:
    return set(known.dots())


@given(dot_sets, dot_sets)
def test_membership_and_size(dots: frozenset[Dot], others: frozenset[Dot]) -> None:
    known = KnownSet.of(*dots)
    assert as_set(known) == dots
    assert list(known.dots()) == sorted(dots)
    assert {dot for dot in others if dot in known} == dots & others
    assert (0x77, 1) not in known
    assert known.count() == len(dots)
    assert {origin: known.bounds(origin) for origin in known.origins()} == dict(known.items())
    assert bool(known) == bool(dots)


@given(dot_sets, dot_sets)
def test_set_operations(a: frozenset[Dot], b: frozenset[Dot]) -> None:
    known_a, known_b = KnownSet.of(*a), KnownSet.of(*b)
    assert as_set(known_a.union(known_b)) == a | b
    assert as_set(known_a.difference(known_b)) == a - b
    assert as_set(known_a.intersection(known_b)) == a & b
    assert known_a.issuperset(known_b) == (a >= b)
    assert (known_a == known_b) == (a == b)
    assert as_set(known_a) == a, "the set itself was changed"
    assert as_set(known_b) == b, "the argument was changed"


@given(dot_sets, dot_sets)
def test_results_have_no_empty_origins(a: frozenset[Dot], b: frozenset[Dot]) -> None:
    known_a, known_b = KnownSet.of(*a), KnownSet.of(*b)
    for result in (known_a.difference(known_b), known_a.intersection(known_b)):
        assert set(result.origins()) == {dot.origin for dot in result.dots()}


@given(dot_sets, dot_sets, origins, seqs, seqs)
def test_changes_stay_in_one_set(
    a: frozenset[Dot], b: frozenset[Dot], origin: int, start: int, stop: int
) -> None:
    known, other = KnownSet.of(*a), KnownSet.of(*b)
    known.update(other)
    copy = known.copy()
    copy.add_range(origin, start, stop)
    assert copy == KnownSet.of(*a, *b, *(Dot(origin, seq) for seq in range(start, stop)))
    assert as_set(known) == a | b
    assert as_set(other) == b


@given(dot_sets, origins, dot_sets)
def test_replace_takes_over_one_origin(
    dots: frozenset[Dot], origin: int, others: frozenset[Dot]
) -> None:
    known = KnownSet.of(*dots)
    known.replace(origin, KnownSet.of(*others).bounds(origin))
    kept = {dot for dot in dots if dot.origin != origin}
    assert known == KnownSet.of(*kept, *(dot for dot in others if dot.origin == origin))


@given(dot_sets, origins, seqs)
def test_discard_above(dots: frozenset[Dot], origin: int, seq: int) -> None:
    known = KnownSet.of(*dots)
    known.discard_above(origin, seq)
    expected = {dot for dot in dots if dot.origin != origin or dot.seq <= seq}
    assert known == KnownSet.of(*expected)


@given(dot_sets, origins)
def test_edges(dots: frozenset[Dot], origin: int) -> None:
    known = KnownSet.of(*dots)
    present = {dot.seq for dot in dots if dot.origin == origin}
    assert known.highest(origin) == max(present, default=0)
    contiguous = known.contiguous(origin)
    assert present.issuperset(range(1, contiguous + 1))
    assert contiguous + 1 not in present


@given(dot_sets, st.dictionaries(origins, st.integers(1, 13)))
def test_below_floor(dots: frozenset[Dot], floor: dict[int, int]) -> None:
    wanted = {Dot(origin, seq) for origin, top in floor.items() for seq in range(1, top + 1)}
    assert below_floor(KnownSet.of(*dots), floor) == (not wanted <= dots)


def test_an_empty_range_leaves_no_trace() -> None:
    known = KnownSet()
    known.add_range(1, 5, 5)
    assert known == KnownSet()
    assert not known


def test_only_a_known_set_equals_one() -> None:
    assert KnownSet() != {}


def test_gaps() -> None:
    assert KnownSet.of((1, 1), (1, 2), (2, 5)).gaps() == 0
    assert KnownSet.of((1, 1), (1, 3), (1, 5), (2, 1), (2, 3)).gaps() == 3


def test_an_unknown_origin_has_no_bounds() -> None:
    assert KnownSet().bounds(1) == []
    assert KnownSet.of((1, 4), (1, 5)).bounds(1) == [4, 6]


def test_repr_reads_like_a_log() -> None:
    known = KnownSet.of((0xAB, 1), (0xAB, 2), (0xAB, 9), (0xC, 1))
    assert repr(known) == "KnownSet(000000000000000c:1, 00000000000000ab:1-2, 00000000000000ab:9)"


@given(dot_sets, dot_sets)
def test_blocks_whose_hashes_differ_bring_the_other_side_up_to_date(
    ours: frozenset[Dot], theirs: frozenset[Dot]
) -> None:
    known, peer = KnownSet.of(*ours), KnownSet.of(*theirs)
    hashes = zip(known.block_hashes(), peer.block_hashes(), strict=True)
    differing = {block for block, (a, b) in enumerate(hashes) if a != b}
    assert differing == {
        block
        for block in range(BLOCKS)
        if as_set(known.blocks({block})) != as_set(peer.blocks({block}))
    }
    equal = set(range(BLOCKS)) - differing
    assert known.blocks(equal).union(peer.blocks(differing)) == peer


@given(dot_sets)
def test_block_hashes_do_not_depend_on_the_way_there(dots: frozenset[Dot]) -> None:
    forwards = KnownSet.of(*sorted(dots)).block_hashes()
    assert forwards == KnownSet.of(*sorted(dots, reverse=True)).block_hashes()
    filled = {block_of(dot.origin) for dot in dots}
    assert [len(digest) for digest in forwards] == [
        8 if block in filled else 0 for block in range(BLOCKS)
    ]


def test_block_hashes_golden() -> None:
    """They go over the wire: these bytes never change within a protocol version."""
    hashes = KnownSet.of((1, 1), (1, 2), (2, 5), (15 << 60, 1)).block_hashes()
    assert len(hashes) == 16
    assert [hashes[0].hex(), hashes[15].hex()] == ["82946e6c5f63ee1d", "49336a174629e76c"]
    assert set(hashes[1:15]) == {b""}


def test_a_node_vouches_for_the_floor_as_far_as_it_knows_without_gaps() -> None:
    known = KnownSet({1: [1, 6], 2: [1, 3, 4, 9], 3: [2, 9]})
    assert within_known({1: 9, 2: 7, 3: 5, 4: 1}, known) == {1: 5, 2: 2}
    assert within_known({1: 4}, known) == {1: 4}
