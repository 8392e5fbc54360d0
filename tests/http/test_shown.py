"""Keys and values as a page shows them."""

import pytest

from replicator.faces.http.limits import SHOWN_BYTES_MAX
from replicator.faces.http.shown import shown


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain", {"text": "plain", "bytes": 5, "cut": False}),
        (b"", {"text": "", "bytes": 0, "cut": False}),
        ("ключ".encode(), {"text": "ключ", "bytes": 8, "cut": False}),
        (b"\x00\xff", {"hex": "00ff", "bytes": 2, "cut": False}),
        (b"<b>&amp;", {"text": "<b>&amp;", "bytes": 8, "cut": False}),
        (b"\x1b[31m\n", {"text": r"\x1b[31m\n", "bytes": 6, "cut": False}),
        (
            "a\u202eb\u200b".encode(),
            {"text": r"a\xe2\x80\xaeb\xe2\x80\x8b", "bytes": 8, "cut": False},
        ),
    ],
)
def test_what_does_not_print_is_escaped(data: bytes, expected: object) -> None:
    assert shown(data) == expected


def test_what_is_long_is_cut() -> None:
    assert shown(b"x" * 10_000) == {"text": "x" * SHOWN_BYTES_MAX, "bytes": 10_000, "cut": True}
    assert shown(b"\xff" * 10_000)["hex"] == "ff" * SHOWN_BYTES_MAX


@pytest.mark.parametrize("shift", range(4))
def test_a_character_that_the_cut_halves_does_not_make_it_binary(shift: int) -> None:
    data = b"x" * shift + "𝕏".encode() * 1000
    assert shown(data)["text"] == "x" * shift + "𝕏" * ((SHOWN_BYTES_MAX - shift) // 4)


def test_a_value_that_ends_in_half_a_character_is_binary() -> None:
    assert shown("é".encode()[:1]) == {"hex": "c3", "bytes": 1, "cut": False}
