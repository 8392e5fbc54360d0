"""Events: in order, in one thread, and no callback can do harm."""

import logging
import subprocess
import sys
import threading

import pytest

from replicator import events as module
from replicator.errors import UsageError
from replicator.events import Events


def test_callbacks_get_events_in_order_in_one_named_thread() -> None:
    events = Events("a")
    seen: list[tuple[object, str]] = []
    events.on("connect", lambda host, port: seen.append(((host, port), _here())))
    events.on("round", lambda number: seen.append((number, _here())))
    events.emit("connect", "::1", 9000)
    for number in range(100):
        events.emit("round", number)
    events.close()
    assert [what for what, _ in seen] == [("::1", 9000), *range(100)]
    assert {where for _, where in seen} == {"replicator events a"}


def test_no_thread_where_nobody_listens() -> None:
    before = threading.active_count()
    events = Events()
    events.on("conflict", print)
    events.emit("connect", "127.0.0.1", 9000)
    assert threading.active_count() == before
    events.close()


def test_a_callback_that_raises_is_logged_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = Events()
    seen: list[Exception] = []

    def careless(error: Exception) -> None:
        raise ValueError("careless")

    events.on("error", careless)
    events.on("error", lambda error: sys.exit(3))
    events.on("error", seen.append)
    first, second = OSError(1), OSError(2)
    events.emit("error", first)
    events.emit("error", second)
    events.close()
    assert seen == [first, second]
    assert caplog.text.count("a callback of the event 'error' raised") == 4
    assert "ValueError: careless" in caplog.text


def test_off_takes_back_one_on() -> None:
    events = Events()
    seen: list[int] = []
    events.on("round", seen.append)
    events.on("round", seen.append)
    events.off("round", seen.append)
    events.emit("round", 1)
    events.close()
    assert seen == [1]
    events.off("round", seen.append)
    with pytest.raises(UsageError, match="not registered for the event 'round'"):
        events.off("round", seen.append)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    events = Events()
    known = "connect, connection, round, conflict, difference, error"
    with pytest.raises(UsageError, match=known):
        events.on("conect", print)
    with pytest.raises(UsageError, match=known):
        events.off("conect", print)


def test_slow_callbacks_lose_the_oldest_events_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "EVENT_QUEUE_MAX", 3)
    events = Events()
    seen: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        begun.set()
        go_on.wait()
        seen.append(number)

    events.on("round", slow)
    events.emit("round", 0)
    begun.wait()
    for number in range(1, 6):
        events.emit("round", number)
    go_on.set()
    events.close()
    assert seen == [0, 3, 4, 5]
    assert events.dropped == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_callback_may_close_the_events_it_is_called_by() -> None:
    events = Events()
    closed = threading.Event()

    def close(number: int) -> None:
        events.close()
        closed.set()

    events.on("round", close)
    events.emit("round", 1)
    assert closed.wait(10)
    events.close()
    events.emit("round", 2)


def test_a_callback_that_hangs_does_not_hold_up_close_for_ever() -> None:
    events = Events()
    go_on = threading.Event()
    seen: list[int] = []
    events.on("round", lambda number: (go_on.wait(), seen.append(number)))
    events.emit("round", 1)
    events.emit("round", 2)
    events.close(timeout=0.01)
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("replicator events"):
            thread.join()
    assert seen == [1]


def test_a_program_that_forgets_to_close_ends_and_its_events_are_delivered() -> None:
    program = (
        "from replicator.events import Events\n"
        "events = Events()\n"
        "events.on('round', print)\n"
        "events.emit('round', 'delivered')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "delivered\n", "")


def _here() -> str:
    return threading.current_thread().name
