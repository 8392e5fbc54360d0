"""The journal: a failure is logged once until it changes, and strangers write nothing raw."""

import logging

import pytest

from replicator.peers import journal as module
from replicator.peers.journal import SHOWN_CHARACTERS_MAX, Journal, printable


def test_a_failure_is_logged_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "replicator")
    journal = Journal("a")
    assert journal.failed("peer b", "refused")
    assert not journal.failed("peer b", "refused")
    assert journal.failed("peer c", "refused")
    assert journal.failed("peer b", "timed out")
    journal.works("peer b")
    journal.works("peer b")
    assert journal.failed("peer b", "timed out")
    assert [record.getMessage() for record in caplog.records] == [
        "a: peer b: refused",
        "a: peer c: refused",
        "a: peer b: timed out",
        "a: peer b: works again",
        "a: peer b: timed out",
    ]


def test_the_memory_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOGGED_FAILURES_MAX", 2)
    journal = Journal("a")
    for subject in ("b", "c", "d"):
        assert journal.failed(subject, "refused")
    assert not journal.failed("c", "refused")
    assert not journal.failed("d", "refused")
    assert journal.failed("b", "refused")


def test_what_strangers_write_is_escaped_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    Journal("a").failed("peer \x1b[2J", "line\nbreak \u202e")
    assert caplog.records[0].getMessage() == r"a: peer \x1b[2J: line\nbreak \u202e"
    assert printable("Zürich → 東京") == "Zürich → 東京"
    assert len(printable("x" * 10_000)) == SHOWN_CHARACTERS_MAX + 1
