"""Leases: closing waits for calls in flight, and for nothing else."""

import threading

import pytest

from replicator.errors import ClosedError
from replicator.faces.lease import Lease, Recall, Shut, is_held_here, leased, lend
from tests.faces.waiting import until


class Door:
    """The least that holds a lease."""

    def __init__(self) -> None:
        self._lease: Lease = lend(lambda key: key, None)  # type: ignore[arg-type]
        self.inside = threading.Event()
        self.go_on = threading.Event()

    @leased
    def stay(self) -> str:
        self.inside.set()
        self.go_on.wait()
        return "stayed"

    @leased
    def fail(self) -> None:
        raise LookupError

    @leased
    def ask(self) -> bool:
        return self.is_inside()

    def is_inside(self) -> bool:
        return is_held_here(self._lease)

    def shut(self) -> Recall:
        calls = Recall(self._lease)
        self._lease = Shut("shut")
        return calls


def is_over(calls: Recall) -> bool:
    return calls._returned.is_set()


def test_without_calls_there_is_nothing_to_wait_for() -> None:
    door = Door()
    assert is_over(door.shut())
    with pytest.raises(ClosedError, match="shut"):
        door.stay()


def test_a_call_in_flight_is_waited_for() -> None:
    door = Door()
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(door.stay()))
    thread.start()
    door.inside.wait()
    calls = door.shut()
    assert not is_over(calls)
    door.go_on.set()
    calls.wait("door")
    thread.join()
    assert results == ["stayed"], "it was let finish"


def test_a_kept_traceback_holds_no_lease() -> None:
    door = Door()
    with pytest.raises(LookupError) as kept:
        door.fail()
    assert is_over(door.shut())
    assert kept.traceback


def test_the_own_thread_is_told_apart() -> None:
    door, other = Door(), Door()
    assert not door.is_inside()
    assert door.ask()
    assert not other.is_inside()
    thread = threading.Thread(target=door.stay)
    thread.start()
    door.inside.wait()
    assert not door.is_inside(), "another thread is inside"
    door.go_on.set()
    thread.join()


def test_waiting_says_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.faces.lease.WARNING_SECONDS", 0.001)
    door = Door()
    thread = threading.Thread(target=door.stay)
    thread.start()
    door.inside.wait()
    calls = door.shut()
    waiter = threading.Thread(target=calls.wait, args=("the store",))
    waiter.start()
    until(lambda: caplog.records)
    assert "'the store' still waits for calls" in caplog.text
    door.go_on.set()
    thread.join()
    waiter.join()
