"""Running a user's resolver: whatever it does, the store goes on (R6)."""

import logging
import threading
from typing import Any

import pytest

from replicator.config import VALUE_BYTES_MAX
from replicator.core.dots import Dot
from replicator.core.record import Version
from replicator.core.resolve import default_resolver
from replicator.core.resolvers import maximum
from replicator.errors import UsageError
from replicator.store.resolving import HUNG_MAX, Settler


def _versions(*values: bytes) -> list[Version]:
    return [
        Version(b"k", Dot(index, 1), 0, 0, False, value) for index, value in enumerate(values, 1)
    ]


def test_one_version_asks_nobody() -> None:
    settler = Settler(lambda a, b: 1 / 0, "concurrent", 1.0)  # type: ignore[arg-type,return-value]
    (version,) = _versions(b"1")
    assert settler.resolve([version]).visible is version
    assert settler.faults == 0


@pytest.mark.parametrize("resolver", [default_resolver, maximum])
def test_ready_made_ones_run_in_place(resolver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    assert Settler(resolver, "concurrent", 0.0).resolve(_versions(b"1", b"2")).visible.value == b"2"


def test_a_users_runs_in_a_thread_of_its_own() -> None:
    seen = []

    def resolver(a: Version, b: Version) -> bytes:
        seen.append(threading.current_thread().name)
        return b"merged"

    resolution = Settler(resolver, "concurrent", 5.0).resolve(_versions(b"1", b"2"))
    assert resolution.merged and resolution.visible.value == b"merged"
    assert seen == ["replicator resolver"]


def test_what_cannot_be_stored_is_a_fault() -> None:
    """A merged value is one that a put could have had."""
    large = bytes(VALUE_BYTES_MAX + 1)
    resolution = Settler(lambda a, b: large, "concurrent", 5.0).resolve(_versions(b"1", b"2"))
    assert resolution.visible.value == b"2" and isinstance(resolution.fault, ValueError)
    fits = large[1:]
    resolution = Settler(lambda a, b: fits, "concurrent", 5.0).resolve(_versions(b"1", b"2"))
    assert resolution.merged and resolution.visible.value == fits


def test_tombstones_are_shown_to_it() -> None:
    """A merge function may see what was deleted meanwhile, and let the delete win."""
    seen = []

    def resolver(a: Version, b: Version) -> bool:
        seen.append((a.is_delete, a.value, b.is_delete))
        return a.is_delete

    put, *_ = _versions(b"1")
    tombstone = Version(b"k", Dot(7, 1), 3, 5, True, None)
    resolution = Settler(resolver, "concurrent", 5.0).resolve([put, tombstone])
    assert seen == [(True, None, False)] and resolution.visible is tombstone


def test_one_that_calls_itself_is_refused() -> None:
    """Through a handle: every call would begin another one, in a thread of its own."""
    calls = []

    def resolver(a: Version, b: Version) -> bool:
        calls.append(threading.current_thread())
        settler.resolve(_versions(b"3", b"4"))
        return True

    settler = Settler(resolver, "concurrent", 30.0)
    resolution = settler.resolve(_versions(b"1", b"2"))
    assert resolution.visible.value == b"2" and isinstance(resolution.fault, UsageError)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "answer",
    [None, 1, "text", bytearray(b"x"), ValueError("no"), SystemExit(3), KeyboardInterrupt()],
)
def test_faults(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """At once, not after the time limit; logged with the key."""

    def resolver(a: Version, b: Version) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    settler = Settler(resolver, "concurrent", 60.0)
    with caplog.at_level(logging.WARNING):
        resolution = settler.resolve(_versions(b"1", b"2", b"3"))
    assert resolution.visible.value == b"3" and resolution.fault is not None
    assert settler.faults == 1
    assert "b'k'" in caplog.text


def test_one_that_hangs_is_left_behind_and_asked_no_more() -> None:
    """Its threads are bounded; when its calls come back, it is asked again."""
    release = threading.Event()
    calls = []

    def resolver(a: Version, b: Version) -> bool:
        calls.append(threading.current_thread())
        return not release.wait(60)

    settler = Settler(resolver, "concurrent", 0.01)
    for _ in range(HUNG_MAX + 5):
        resolution = settler.resolve(_versions(b"1", b"2"))
        assert resolution.visible.value == b"2" and resolution.fault is not None
    assert len(calls) == HUNG_MAX
    assert settler.faults == HUNG_MAX + 5
    release.set()
    for thread in calls:
        thread.join(10)

    resolution = settler.resolve(_versions(b"1", b"2"))
    assert (resolution.fault, resolution.visible.value) == (None, b"1")


def test_late_answers_do_not_count() -> None:
    release = threading.Event()
    threads = []

    def resolver(a: Version, b: Version) -> bytes:
        threads.append(threading.current_thread())
        release.wait(60)
        return b"late"

    settler = Settler(resolver, "concurrent", 0.01)
    assert settler.resolve(_versions(b"1", b"2")).visible.value == b"2"
    release.set()
    threads[0].join(10)
    assert settler.resolve(_versions(b"1", b"2")).visible.value == b"late"
