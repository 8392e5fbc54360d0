"""Nothing that could move a cursor gets out, and what is written can be read back."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import UsageError
from replicator.faces.cli.output import complain, escaped, jsonable, print_json, unescaped


@given(st.binary() | st.text().map(str.encode))
def test_escaping_prints_and_is_reversible(data: bytes) -> None:
    text = escaped(data)
    assert text.isprintable()
    assert unescaped(text) == data


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("köln 東京".encode(), "köln 東京"),
        (b"\x1b[2J", r"\x1b[2J"),
        (b"a\tb\nc\rd\\e", r"a\tb\nc\rd\\e"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"\x00\x7f", r"\x00\x7f"),
        ("\x9b31m".encode(), r"\xc2\x9b31m"),
        ("\u202etxt".encode(), r"\xe2\x80\xaetxt"),
        ("a\u2028b".encode(), r"a\xe2\x80\xa8b"),
        ("\udcff", r"\xff"),
    ],
)
def test_escapes(data: bytes, text: str) -> None:
    assert escaped(data) == text


@pytest.mark.parametrize("text", ["\\", "a\\", "\\q", "\\x1", "\\xzz", "\\\\\\"])
def test_a_lone_backslash_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="single backslash"):
        unescaped(text)


@given(st.binary() | st.text().map(str.encode))
def test_json_carries_any_bytes_in_ascii(data: bytes) -> None:
    text = json.dumps(jsonable(data))
    assert text.isascii() and text.isprintable()
    value = json.loads(text)
    back = base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()
    assert back == data


def test_json_of_a_reply(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({b"key": b"\x1b", b"values": [b"\xff", None, 1, True, 0.5]})
    assert capsys.readouterr().out == (
        '{"key": "\\u001b", "values": [{"base64": "/w=="}, null, 1, true, 0.5]}\n'
    )


def test_complaints_are_escaped_and_keep_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    complain("bad \x1b[2J key\nwrite \\xNN")
    assert capsys.readouterr().err == "replicator: bad \\x1b[2J key\nwrite \\xNN\n"
