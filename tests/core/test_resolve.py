from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core.record import Version
from replicator.core.resolve import (
    Resolution,
    Resolver,
    ResolverMode,
    default_order,
    default_resolver,
    is_conflict,
    resolve,
)
from tests.core.samples import KEY, delete, put, siblings
from tests.core.worlds import in_circles


def concatenate(a: Version, b: Version) -> bytes:
    return (b.value or b"-") + b"+" + (a.value or b"-")


def first_kept(a: Version, b: Version) -> bool:
    return False


def merge_or_choose(a: Version, b: Version) -> bool | bytes:
    return concatenate(a, b) if a.clock == b.clock else in_circles(a, b)


def test_one_version_is_shown_without_asking() -> None:
    version = put(b"v")
    assert resolve([version], failing) == Resolution(version, merged=False, conflict=False)


def failing(a: Version, b: Version) -> bool:
    raise LookupError("the resolver's own trouble")


def test_equal_contents_are_no_conflict_and_show_the_greatest() -> None:
    versions = [put(b"v", 1, clock=2), put(b"v", 2, clock=1), put(b"v", 3, clock=1)]
    assert resolve(versions, failing) == Resolution(versions[0], merged=False, conflict=False)
    assert not is_conflict(versions)
    deletes = [delete(1), delete(2)]
    assert resolve(deletes, failing) == Resolution(deletes[1], merged=False, conflict=False)


def test_a_put_of_nothing_and_a_delete_are_a_conflict() -> None:
    versions = [put(b"", 1), delete(2)]
    assert is_conflict(versions)
    assert resolve(versions).conflict


def test_the_fold_goes_in_dot_order_with_the_winner_as_b() -> None:
    a, b, c, d = versions = [put(bytes([65 + n]), n + 1) for n in range(4)]
    calls = []

    def resolver(next_one: Version, winner: Version) -> bool:
        calls.append((next_one, winner))
        return next_one is c

    assert resolve(versions, resolver).visible is c
    assert calls == [(b, a), (c, a), (d, c)]


def test_equal_contents_count_once_in_the_fold_at_the_place_of_the_greatest() -> None:
    early, middle, late = put(b"same", 1), put(b"x", 2), put(b"same", 3)
    calls = []

    def resolver(next_one: Version, winner: Version) -> bool:
        calls.append((next_one, winner))
        return False

    resolve([early, middle, late], resolver)
    assert calls == [(late, middle)]


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        (put(b"a", 9, 9, clock=1, timestamp=9), put(b"b", 1, 1, clock=2, timestamp=1)),
        (put(b"a", 9, 9, clock=1, timestamp=1), put(b"b", 1, 1, clock=1, timestamp=2)),
        (put(b"a", 1, 9, clock=1, timestamp=1), put(b"b", 2, 1, clock=1, timestamp=1)),
        (put(b"a", 9), delete(1, clock=1)),
        (delete(9), put(b"a", 1, clock=1)),
    ],
    ids=["clock", "then timestamp", "then dot", "a later delete", "a later put"],
)
def test_default_order(lower: Version, higher: Version) -> None:
    assert default_resolver(higher, lower)
    assert not default_resolver(lower, higher)
    assert resolve([lower, higher]).visible is higher


@given(
    siblings(max_size=4),
    st.sampled_from([in_circles, first_kept, concatenate, merge_or_choose, failing]),
    st.sampled_from(["concurrent", "equal-clock"]),
)
def test_the_order_in_which_versions_arrived_does_not_matter(
    versions: tuple[Version, ...], resolver: Resolver, mode: ResolverMode
) -> None:
    expected = _without_fault(resolve(versions, resolver, mode))
    for permuted in permutations(versions):
        assert _without_fault(resolve(permuted, resolver, mode)) == expected


def _without_fault(resolution: Resolution) -> tuple[object, ...]:
    """Exceptions never compare equal."""
    return (
        resolution.visible,
        resolution.merged,
        resolution.conflict,
        type(resolution.fault),
    )


@given(siblings(max_size=3))
def test_by_default_the_greatest_is_shown_conflict_or_not(versions: tuple[Version, ...]) -> None:
    assert resolve(versions).visible == max(versions, key=default_order)
    differ = len({(version.is_delete, version.value) for version in versions}) > 1
    assert resolve(versions).conflict is differ
    assert is_conflict(versions) is differ


def test_a_merged_version_has_the_greatest_of_its_parts() -> None:
    a = put(b"a", 1, 9, clock=3, timestamp=20, expiry_ms=100)
    b = put(b"b", 2, 1, clock=5, timestamp=10, expiry_ms=300)
    resolution = resolve([a, b], concatenate)
    assert resolution.merged
    assert resolution.conflict
    assert resolution.visible == Version(KEY, b.dot, 5, 20, False, b"a+b", 300, 0)


def test_a_merged_version_goes_on_as_the_winner_so_far() -> None:
    versions = [put(b"a", 1), put(b"b", 2), delete(3), put(b"d", 4, clock=1)]
    resolution = resolve(versions, concatenate)
    assert resolution.visible.value == b"a+b+-+d"
    assert not resolution.visible.is_delete
    assert (resolution.visible.dot, resolution.visible.clock) == (versions[3].dot, 1)


def test_a_version_that_beats_a_merged_one_is_no_merged_one() -> None:
    def resolver(a: Version, b: Version) -> bool | bytes:
        return True if a.value == b"c" else b"merged"

    versions = [put(b"a", 1), put(b"b", 2), put(b"c", 3)]
    assert resolve(versions, resolver) == Resolution(versions[2], False, True, reason="resolver")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (put(b"a", expiry_ms=5), put(b"b", 2, expiry_ms=9), 9),
        (put(b"a", expiry_ms=5), put(b"b", 2), None),
        (put(b"a", expiry_ms=5), delete(2), 5),
        (delete(1), put(b"b", 2), None),
    ],
    ids=["the later", "never is the latest", "a delete has none", "put without any"],
)
def test_the_last_expiry_of_the_parts(a: Version, b: Version, expected: int | None) -> None:
    assert resolve([a, b], concatenate).visible.expiry_ms == expected


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        ([put(b"a", 1, clock=3), put(b"b", 2, clock=1), delete(3)], "clock"),
        ([put(b"a", 1, timestamp=7), put(b"b", 2), delete(3, timestamp=6)], "timestamp"),
        ([put(b"a", 1), put(b"b", 2)], "dot"),
    ],
)
def test_what_of_the_default_order_decided(versions: list[Version], reason: str) -> None:
    assert resolve(versions).reason == reason


def test_why_a_resolver_decided() -> None:
    versions = [put(b"a", 1), put(b"b", 2, clock=1)]
    assert resolve(versions, first_kept).reason == "resolver"
    assert resolve(versions, concatenate).reason == "merged"
    assert resolve(versions, failing).reason == "fault"
    assert resolve(versions, first_kept, "equal-clock").reason == "clock"
    assert resolve([put(b"a", 1), put(b"a", 2)], failing).reason is None


def test_what_a_resolver_raises_makes_the_default_order_decide() -> None:
    versions = [put(b"a", 1, clock=1), put(b"b", 2)]
    resolution = resolve(versions, failing)
    assert resolution.visible is versions[0]
    assert isinstance(resolution.fault, LookupError)
    assert resolution.conflict
    assert not resolution.merged


def test_a_fault_late_in_the_fold_drops_what_was_merged_before() -> None:
    def resolver(a: Version, b: Version) -> bytes:
        if a.value == b"c":
            raise LookupError
        return b"merged"

    versions = [put(b"a", 1, clock=1), put(b"b", 2), put(b"c", 3)]
    resolution = resolve(versions, resolver)
    assert (resolution.visible, resolution.merged) == (versions[0], False)


@pytest.mark.parametrize("answer", [None, 1, 0, "yes", bytearray(b"v"), NotImplemented])
def test_an_answer_that_is_none_makes_the_default_order_decide(answer: object) -> None:
    versions = [put(b"a", 1, clock=1), put(b"b", 2)]
    resolution = resolve(versions, lambda a, b: answer)  # type: ignore[arg-type, return-value]
    assert resolution.visible is versions[0]
    assert isinstance(resolution.fault, TypeError)
    assert type(answer).__name__ in str(resolution.fault)


def test_an_interrupt_is_not_the_resolvers_fault() -> None:
    def resolver(a: Version, b: Version) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resolve([put(b"a", 1), put(b"b", 2)], resolver)


def test_in_equal_clock_mode_a_higher_clock_wins_by_itself() -> None:
    versions = [put(b"a", 1, clock=1), put(b"b", 2), put(b"c", 3, clock=2)]
    resolution = resolve(versions, failing, "equal-clock")
    assert resolution == Resolution(versions[2], False, True, reason="clock")
    assert resolve(versions, failing, "concurrent").fault is not None


def test_in_equal_clock_mode_the_resolver_settles_equal_clocks() -> None:
    versions: Sequence[Version] = [put(b"a", 1, clock=1), put(b"b", 2, clock=1)]
    assert resolve(versions, first_kept, "equal-clock").visible is versions[0]
    assert resolve(versions, concatenate, "equal-clock").visible.value == b"a+b"
