import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.config import NAME_BYTES_MAX
from replicator.core.record import Version
from replicator.core.resolve import Resolver, default_resolver, resolve
from replicator.core.resolvers import (
    DEPTH_MAX,
    READY_MADE,
    announced_name,
    by_name,
    highest_clock,
    is_trusted,
    json_merge,
    latest_timestamp,
    maximum,
    prefer_origin,
    resolver_name,
    set_union,
)
from replicator.errors import ConfigError, UsageError
from tests.core.samples import delete, put, siblings

ONE, TWO, THREE = (f"{origin:016x}" for origin in (1, 2, 3))
ALL: list[Resolver] = [*READY_MADE.values(), prefer_origin(TWO, ONE)]
MERGING: list[Resolver] = [json_merge, set_union, maximum]

json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("abü"),
)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner),
    max_leaves=8,
)
json_bytes = json_values.map(lambda value: json.dumps(value).encode())
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(
    lambda number: str(number).encode()
)
any_values = st.one_of(
    json_bytes,
    json_bytes.map(lambda value: value[:-1]),
    numbers,
    st.binary(max_size=10),
)


def shown(resolver: Resolver, *versions: Version) -> bytes | None:
    """The value that the versions, which have no fault to find, resolve to."""
    resolution = resolve(versions, resolver)
    assert resolution.fault is None
    return resolution.visible.value


class TestAll:
    @pytest.mark.parametrize("resolver", ALL, ids=resolver_name)
    @settings(max_examples=40)
    @given(data=st.data())
    def test_never_at_fault_whatever_the_values(
        self, resolver: Resolver, data: st.DataObject
    ) -> None:
        values = data.draw(st.lists(any_values, min_size=1, max_size=3))
        versions = [put(value, origin, 1) for origin, value in enumerate(values, 1)]
        versions += data.draw(st.sampled_from([[], [delete(9, clock=1)]]))
        assert resolve(versions, resolver).fault is None

    @pytest.mark.parametrize("resolver", ALL, ids=resolver_name)
    @settings(max_examples=40)
    @given(versions=siblings(max_size=2))
    def test_which_is_a_and_which_is_b_does_not_matter(
        self, resolver: Resolver, versions: tuple[Version, ...]
    ) -> None:
        if len(versions) == 2 and not versions[0].same_content(versions[1]):
            a, b = versions
            forth, back = resolver(a, b), resolver(b, a)
            assert forth == back if isinstance(forth, bytes) else forth is not back


class TestLatestTimestamp:
    def test_the_later_wins_whatever_the_clock(self) -> None:
        early, late = put(b"early", 1, clock=9, timestamp=1), put(b"late", 2, timestamp=2)
        assert shown(latest_timestamp, early, late) == b"late"

    def test_equal_ones_go_by_clock_then_dot(self) -> None:
        low, high = put(b"low", 2, timestamp=5), put(b"high", 1, clock=1, timestamp=5)
        assert shown(latest_timestamp, low, high) == b"high"
        assert shown(latest_timestamp, put(b"low", 1), put(b"high", 2)) == b"high"

    def test_a_delete_is_a_write_like_any_other(self) -> None:
        version = put(b"v", 1, timestamp=5)
        assert shown(latest_timestamp, version, delete(2, timestamp=6)) is None
        assert shown(latest_timestamp, version, delete(2, timestamp=4)) == b"v"


class TestHighestClock:
    def test_it_is_the_default_order(self) -> None:
        assert highest_clock is default_resolver

    def test_a_delete_is_a_write_like_any_other(self) -> None:
        version = put(b"v", 1, clock=1)
        assert shown(highest_clock, version, delete(2, clock=2)) is None
        assert shown(highest_clock, version, delete(2, clock=0)) == b"v"


class TestPreferOrigin:
    def test_the_origin_named_first_wins(self) -> None:
        versions = [put(b"1", 1, clock=5), put(b"2", 2), put(b"3", 3, clock=9)]
        for order in permutations((ONE, TWO, THREE)):
            assert shown(prefer_origin(*order), *versions) == str(int(order[0], 16)).encode()

    def test_a_named_one_beats_the_others_and_those_go_by_default_order(self) -> None:
        versions = [put(b"1", 1), put(b"2", 2, clock=5), put(b"3", 3, clock=4)]
        assert shown(prefer_origin(ONE), *versions) == b"1"
        assert shown(prefer_origin(f"{9:016x}"), *versions) == b"2"

    def test_its_delete_wins_too(self) -> None:
        assert shown(prefer_origin(ONE), delete(1), put(b"v", 2, clock=9)) is None
        assert shown(prefer_origin(TWO), delete(1, clock=9), put(b"v", 2)) == b"v"

    @pytest.mark.parametrize(
        ("origins", "message"),
        [
            ((), "at least one origin"),
            (("1",), "'1' is no origin"),
            ((ONE, TWO, ONE), "names an origin twice"),
        ],
    )
    def test_misuse_is_told(self, origins: tuple[str, ...], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            prefer_origin(*origins)


class TestMerging:
    @pytest.mark.parametrize("resolver", MERGING)
    def test_a_put_beats_a_delete(self, resolver: Resolver) -> None:
        for value in (b'{"a":1}', b"[1]", b"1", b"anything"):
            assert shown(resolver, put(value, 1), delete(2, clock=9)) == value
            assert shown(resolver, delete(1, clock=9), put(value, 2)) == value

    @pytest.mark.parametrize(
        ("resolver", "values", "expected"),
        [
            (json_merge, [b'{"a":1}', b'{"b":2}'], b'{"a":1,"b":2}'),
            (set_union, [b"[1]", b"[2]"], b"[1,2]"),
            (maximum, [b"1", b"2"], b"2"),
        ],
    )
    def test_a_delete_between_two_puts_keeps_neither_out(
        self, resolver: Resolver, values: list[bytes], expected: bytes
    ) -> None:
        for one, other, deleted in permutations((1, 2, 3)):
            versions = [put(values[0], one), put(values[1], other), delete(deleted, clock=9)]
            assert shown(resolver, *versions) == expected

    @pytest.mark.parametrize(
        ("resolver", "readable", "unreadable"),
        [
            (json_merge, b"{}", [b"[]", b"1", b"", b"{", b"\xff{}", b'{"a":NaN}', b'{"a":01}']),
            (json_merge, b"{}", ['{"a":1}'.encode("utf-16"), b'\xef\xbb\xbf{"a":1}', b"{} {}"]),
            (set_union, b"[1]", [b"{}", b"null", b"", b"[", b"[Infinity]", b"[1,]", b"[1]x"]),
            (maximum, b"1", [b"", b"x", b"1 ", b"0x1", b".5", b"1.", b"1e12345", b"nan", b"1_0"]),
            (maximum, b"1", ["٣".encode(), b"1\n", b"Infinity", b"--1", b"\xff"]),
        ],
    )
    def test_where_one_cannot_be_read_the_default_order_decides(
        self, resolver: Resolver, readable: bytes, unreadable: list[bytes]
    ) -> None:
        for value in unreadable:
            assert shown(resolver, put(readable, 1, clock=1), put(value, 2)) == readable
            assert shown(resolver, put(readable, 1), put(value, 2)) == value
            assert shown(resolver, put(value, 1), put(readable, 2)) == readable

    def test_json_that_is_nested_deeper_than_the_limit_is_not_merged(self) -> None:
        def nested(depth: int) -> bytes:
            return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

        other = put(b'{"b":1}', 1)
        assert DEPTH_MAX == 100, "nodes that differ in it would show different values"
        merged = nested(100)[:-1] + b',"b":1}'
        assert shown(json_merge, other, put(nested(100), 2)) == merged
        for depth in (101, 100_000):
            assert shown(json_merge, other, put(nested(depth), 2)) == nested(depth)

    def test_half_a_surrogate_pair_is_no_utf_8_and_not_merged(self) -> None:
        value = rb'{"a":"\ud800"}'
        assert shown(json_merge, put(b'{"b":1}', 1), put(value, 2)) == value

    def test_numbers_stay_as_they_were_written(self) -> None:
        exact = b"1" * 5000
        values = [b'{"a":0.10000000000000000000001}', b'{"b":%s,"c":1E400,"d":-0}' % exact]
        expected = b'{"a":0.10000000000000000000001,"b":%s,"c":1E400,"d":-0}' % exact
        assert shown(json_merge, put(values[0], 1), put(values[1], 2)) == expected


class TestJsonMerge:
    def test_keys_of_either_side_are_kept_in_canonical_form(self) -> None:
        a, b = put(' { "b" : 1, "ä": "ü\\n" } '.encode(), 1), put(b'{"a":[true,null]}', 2)
        assert shown(json_merge, a, b) == '{"a":[true,null],"b":1,"ä":"ü\\n"}'.encode()

    def test_of_a_key_of_both_the_newer_one_is_shown(self) -> None:
        older, newer = put(b'{"k":"old","o":1}', 2), put(b'{"k":"new","n":1}', 1, clock=1)
        assert shown(json_merge, older, newer) == b'{"k":"new","n":1,"o":1}'

    def test_objects_are_merged_in_turn(self) -> None:
        older = put(b'{"k":{"x":{"old":1,"both":"old"}},"l":{"x":1}}', 1)
        newer = put(b'{"k":{"x":{"new":1,"both":"new"}},"l":2}', 2)
        assert shown(json_merge, older, newer) == (
            b'{"k":{"x":{"both":"new","new":1,"old":1}},"l":2}'
        )

    def test_an_older_object_does_not_replace_a_newer_scalar(self) -> None:
        assert shown(json_merge, put(b'{"k":1}', 2), put(b'{"k":{}}', 1)) == b'{"k":1}'

    def test_what_two_merged_to_counts_as_new_as_the_newer_one(self) -> None:
        first, second = put(b'{"k":"first"}', 1), put(b'{"other":1}', 2, clock=5)
        third = put(b'{"k":"third"}', 3, clock=3)
        assert shown(json_merge, first, second, third) == b'{"k":"first","other":1}'

    @given(st.lists(st.dictionaries(st.sampled_from("abc"), json_scalars), min_size=2, max_size=4))
    def test_no_key_is_lost(self, objects: list[dict[str, object]]) -> None:
        versions = [put(json.dumps(value).encode(), n) for n, value in enumerate(objects)]
        value = shown(json_merge, *versions)
        assert value is not None
        assert json.loads(value).keys() == set().union(*objects)


class TestSetUnion:
    def test_elements_are_sorted_and_count_once(self) -> None:
        a, b = put(b'["b", 10, {"y":1, "x":2}]', 1), put(b'[9, "b", {"x":2,"y":1}, "a", 9]', 2)
        assert shown(set_union, a, b) == b'[9,10,"a","b",{"x":2,"y":1}]'

    def test_numbers_are_sorted_by_size(self) -> None:
        a, b = put(b"[10,-1,1e3,0]", 1), put(b"[9,0.5,-20,1.0,1]", 2)
        assert shown(set_union, a, b) == b"[-20,-1,0,0.5,1,1.0,9,10,1e3]"

    def test_removing_holds_against_what_it_saw_only(self) -> None:
        """The put without "x" superseded the one it saw; a concurrent one brings "x" back."""
        assert shown(set_union, put(b'["y"]', 1, 2, clock=1), put(b'["x"]', 2)) == b'["x","y"]'

    @given(st.lists(st.lists(st.sampled_from(["a", "b", 1, 2.5, None]), max_size=4), min_size=2))
    def test_it_is_a_union(self, arrays: list[list[object]]) -> None:
        versions = [put(json.dumps(value).encode(), n) for n, value in enumerate(arrays)]
        if len({version.value for version in versions}) > 1:
            value = shown(set_union, *versions)
            assert value is not None
            members = json.loads(value)
            assert set(members) == set().union(*arrays)
            assert len(members) == len(set(members))


class TestMaximum:
    @pytest.mark.parametrize(
        ("less", "greater"),
        [
            (b"9", b"10"),
            (b"-10", b"-9"),
            (b"-1", b"0"),
            (b"0.1", b"0.10000000000000000000000000000001"),
            (b"1" * 400, b"1" * 399 + b"2"),
            (b"1e-9999", b"+1e-9998"),
            (b"9.9E9998", b"1e9999"),
        ],
    )
    def test_the_greater_is_shown(self, less: bytes, greater: bytes) -> None:
        assert shown(maximum, put(less, 1, clock=9), put(greater, 2)) == greater
        assert shown(maximum, put(greater, 1), put(less, 2, clock=9)) == greater

    def test_equal_numbers_go_by_default_order(self) -> None:
        assert shown(maximum, put(b"1.0", 1, clock=1), put(b"1", 2)) == b"1.0"
        assert shown(maximum, put(b"-0", 1), put(b"0", 2)) == b"0"

    @given(st.lists(numbers, min_size=1, max_size=5))
    def test_it_is_a_maximum(self, values: list[bytes]) -> None:
        value = shown(maximum, *(put(value, n) for n, value in enumerate(values)))
        assert value is not None
        assert Decimal(value.decode()) == max(Decimal(other.decode()) for other in values)


class Chooser:
    """A user's resolver with a state of its own."""

    def __call__(self, a: Version, b: Version) -> bool:
        return True

    def choose(self, a: Version, b: Version) -> bool:
        return False


def users_own(a: Version, b: Version) -> bool:
    return True


class TestNames:
    @pytest.mark.parametrize("name", [*READY_MADE, f"prefer_origin:{TWO},{ONE}"])
    def test_a_name_reads_back(self, name: str) -> None:
        resolver = by_name(name)
        assert resolver_name(resolver) == name
        assert is_trusted(resolver)

    def test_they_are_named_as_they_are_imported(self) -> None:
        assert [resolver_name(function) for function in (latest_timestamp, *MERGING)] == [
            "latest_timestamp",
            "json_merge",
            "set_union",
            "maximum",
        ]

    def test_none_is_the_default_order_by_name(self) -> None:
        assert resolver_name(None) == "highest_clock"
        assert announced_name(None, "concurrent") == "highest_clock"
        assert announced_name(None, "equal-clock") == "highest_clock (equal-clock)"
        assert resolver_name(default_resolver) == "highest_clock"
        assert is_trusted(None)

    def test_equal_preferences_are_equal_names(self) -> None:
        assert resolver_name(prefer_origin(ONE, TWO)) == f"prefer_origin:{ONE},{TWO}"
        assert resolver_name(prefer_origin(TWO, ONE)) != resolver_name(prefer_origin(ONE, TWO))

    @pytest.mark.parametrize(
        ("resolver", "name"),
        [
            (users_own, "users_own"),
            (Chooser(), "Chooser"),
            (Chooser().choose, "Chooser.choose"),
        ],
    )
    def test_a_users_own_is_named_by_module_and_is_not_trusted(
        self, resolver: Callable[[Version, Version], bool], name: str
    ) -> None:
        assert resolver_name(resolver) == f"{__name__}.{name}"
        assert not is_trusted(resolver)

    def test_a_partial_has_a_name_too(self) -> None:
        assert resolver_name(partial(users_own)) == "functools.partial"

    def test_long_names_are_cut_and_stay_apart(self) -> None:
        many = [f"{origin:016x}" for origin in range(1, 40)]
        one, other = prefer_origin(*many), prefer_origin(*many[:-1])
        names = {resolver_name(one), resolver_name(other)}
        assert len(names) == 2
        assert {len(name.encode()) for name in names} == {NAME_BYTES_MAX}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("json_merg", "there is no resolver 'json_merg': did you mean json_merge?"),
            ("", "there is no resolver '': there are highest_clock, json_merge"),
            ("mine.resolver", "there is no resolver 'mine.resolver': there are"),
            ("mine:resolver", "there is no resolver 'mine:resolver': there are"),
            ("json_merge:x", "json_merge takes no arguments"),
            ("prefer_origin", "needs at least one origin.*write prefer_origin:ORIGIN,ORIGIN"),
            ("prefer_origin:", "needs at least one origin"),
            ("prefer_origin:1f", "'1f' is no origin"),
            (f"prefer_origin:{ONE},", "'' is no origin"),
            (f"prefer_origin:{ONE}, {TWO}", f"' {TWO}' is no origin"),
        ],
    )
    def test_what_is_no_resolver_is_told(self, text: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            by_name(text)
