"""The log: nothing raw from strangers gets out, and nothing quoted looks like an entry."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.faces import logs
from replicator.faces.logs import JsonFormatter, LineFormatter

NASTY = "\x1b[2J\n2026-01-01 00:00:00,000 ERROR all is lost\r\x9b31m\u202e\x7f\udcff"


def record(message: str, *, fault: BaseException | None = None) -> logging.LogRecord:
    made = logging.LogRecord("replicator.x", logging.ERROR, "", 0, "%s", (message,), None)
    if fault is not None:
        made.exc_info = (type(fault), fault, fault.__traceback__)
    return made


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@given(st.text())
def test_an_entry_for_people_is_one_line(text: str) -> None:
    line = LineFormatter().format(record(text))
    assert line.isprintable()
    assert " ERROR " in line


def test_what_is_quoted_cannot_look_like_an_entry() -> None:
    line = LineFormatter().format(record(NASTY))
    assert line.endswith(
        r"\x1b[2J\n2026-01-01 00:00:00,000 ERROR all is lost\r\x9b31m\u202e\x7f\udcff"
    )


@given(st.text())
def test_a_traceback_is_indented_and_printable(text: str) -> None:
    first, *more = LineFormatter().format(record("it failed", fault=raised(text))).split("\n")
    assert first.endswith("ERROR it failed")
    assert more[0] == "    Traceback (most recent call last):"
    for line in more:
        assert line.startswith("    ")
        assert line.isprintable()


@given(st.text())
def test_an_entry_for_programs_is_one_line_of_ascii(text: str) -> None:
    line = JsonFormatter().format(record(text, fault=raised(text)))
    assert line.isascii() and line.isprintable()
    entry = json.loads(line)
    assert entry["message"] == text
    assert entry["level"] == "error"
    assert entry["logger"] == "replicator.x"
    assert entry["trace"].startswith("Traceback")
    assert entry["time"].endswith("Z") and len(entry["time"]) == len("2026-11-25T14:00:00.000Z")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def quiet() -> Iterator[None]:
    """Leave logging as it was."""
    root, ours = logging.getLogger(), logging.getLogger("replicator")
    before = (list(root.handlers), ours.level)
    yield
    root.handlers[:], _ = before
    ours.setLevel(before[1])
    logging.captureWarnings(False)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("text", io.StringIO(), False),
        ("json", Terminal(), True),
    ],
)
def test_the_form(
    monkeypatch: pytest.MonkeyPatch, form: str, stream: io.StringIO, is_json: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    logs.log_to_stderr("warning", form)
    logs.log_to_stderr("info", form)
    logging.getLogger("replicator.some").info("hello")
    logging.getLogger("zeroconf").warning("a stranger's \x1b")
    logging.getLogger("zeroconf").info("not told")
    logs.set_level("error")
    logging.getLogger("replicator").warning("not told either")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("{") is is_json
    assert "\x1b" not in lines[1]
