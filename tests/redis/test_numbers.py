"""Numbers, as Redis reads and writes them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.faces.redis.numbers import integer, real, rounded, written
from replicator.faces.stepwise import CommandError

INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(INTEGERS)
def test_whole_numbers(number: int) -> None:
    assert integer(b"%d" % number) == number


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        b"+1",
        b"01",
        b"-0",
        b" 1",
        b"1 ",
        b"1_0",
        b"1.0",
        b"x",
        b"9" * 5000,
        b"9223372036854775808",
        b"-9223372036854775809",
        "١".encode(),
    ],
)
def test_no_whole_numbers(text: bytes) -> None:
    with pytest.raises(CommandError, match="not an integer or out of range"):
        integer(text)


@pytest.mark.parametrize(
    ("one", "other", "sum_"),
    [
        (b"10.50", b"0.1", b"10.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"3", b"1.1", b"4.1"),
        (b"1", b"-1", b"0"),
        (b"-0.00000000000000000000001", b"0", b"0"),
        (b".5", b"5.", b"5.5"),
        (b"9007199254740993", b"0.5", b"9007199254740993.5"),  # beyond 53 bits
        (b"18446744073709551615", b"0", b"18446744073709551615"),
        (b"18446744073709551617", b"0", b"18446744073709551616"),  # beyond 64
        (b"1e30", b"0", b"1000000000000000000024696061952"),
    ],
)
def test_sums_of_real_numbers(one: bytes, other: bytes, sum_: bytes) -> None:
    assert written(rounded(real(one) + real(other))) == sum_


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b" 1", b"1 ", b"1_0", b"nan", b"1e5000", b"1e-5000", b"1,5", b"--1", b"\xff"],
)
def test_no_real_numbers(text: bytes) -> None:
    with pytest.raises(CommandError, match="not a valid float"):
        real(text)


@pytest.mark.parametrize("text", [b"inf", b"-INF", b"+Infinity"])
def test_the_infinite(text: bytes) -> None:
    with pytest.raises(CommandError, match="NaN or Infinity"):
        real(text)


@given(INTEGERS, st.integers(-80, 80))
def test_rounding(number: int, exponent: int) -> None:
    exact = Fraction(number) * Fraction(2) ** exponent
    assert rounded(exact) == exact  # 63 bits fit
    near = exact * (1 + Fraction(1, 1 << 70))
    assert rounded(near) == exact
