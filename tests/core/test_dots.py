from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core.dots import ORIGIN_MAX, SEQ_MAX, Dot, format_origin, parse_dot, parse_origin
from replicator.errors import UsageError
from tests.core.samples import dots, origins


@given(dots)
def test_a_dot_reads_back(dot: Dot) -> None:
    assert parse_dot(str(dot)) == dot


@given(origins)
def test_an_origin_reads_back(origin: int) -> None:
    text = format_origin(origin)
    assert len(text) == 16
    assert parse_origin(text) == origin


def test_how_they_look() -> None:
    assert str(Dot(0x2A, 7)) == "000000000000002a:7"
    assert format_origin(ORIGIN_MAX) == "f" * 16
    assert parse_dot("000000000000002a:9223372036854775807") == Dot(0x2A, SEQ_MAX)


def test_dot_order_is_by_origin_then_number() -> None:
    assert sorted([Dot(2, 1), Dot(1, 10), Dot(1, 9)]) == [Dot(1, 9), Dot(1, 10), Dot(2, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2a:7",
        "000000000000002a",
        "000000000000002a:",
        "000000000000002a:0",
        "000000000000002a:07",
        "000000000000002a:-1",
        "000000000000002a:7\n",
        "000000000000002A:7",
        "000000000000002a:٧",
        f"000000000000002a:{SEQ_MAX + 1}",
        "000000000000002a:" + "9" * 5000,
    ],
)
def test_rubbish_is_no_dot(text: str) -> None:
    with pytest.raises(UsageError, match="is no dot: write origin:seq"):
        parse_dot(text)


@pytest.mark.parametrize(
    "text", ["", "2a", "0" * 17, "0" * 15 + "G", "0" * 15 + "A", "0" * 16 + "\n"]
)
def test_rubbish_is_no_origin(text: str) -> None:
    with pytest.raises(UsageError, match="is no origin: write its 16 hex digits"):
        parse_origin(text)


@given(st.text())
def test_any_text_gives_a_dot_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert str(parse_dot(text)) == text
