"""Closing a handle: in which order, for whom it waits, what it leaves open."""

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import plyvel
import pytest

from replicator.errors import ClosedError, UsageError
from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from tests.faces.waiting import until


def open_level(path: Path) -> plyvel.DB:
    return plyvel.DB(str(path), create_if_missing=True)


def run(program: str, *arguments: str) -> str:
    """What a program of its own prints; it must end well, and soon."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_it_closes_what_it_wraps_and_its_thread(tmp_path: Path) -> None:
    native = open_level(tmp_path)
    replica = replicate(native, port=None, name="closing")
    assert "replicator closing" in names_of_threads()
    replica.put(b"k", b"v")
    replica.close()
    assert replica.closed
    assert native.closed
    assert "replicator closing" not in names_of_threads()
    replica.close()
    again = plyvel.DB(str(tmp_path))
    assert again.get(b"k") == b"v"
    again.close()


def test_it_never_closes_a_prefixed_dbs_parent(tmp_path: Path) -> None:
    root = open_level(tmp_path)
    with replicate(root.prefixed_db(b"p:"), port=None) as replica:
        replica.put(b"k", b"v")
        items, raw_items = replica.iterator(), replica.raw_iterator()
        snapshot, batch = replica.snapshot(), replica.write_batch()
        next(items)
    assert not root.closed
    assert root.get(b"p:k") == b"v"
    for call in (items.__next__, items.prev, raw_items.valid, snapshot.iterator, batch.write):
        with pytest.raises(ClosedError, match="closed"):
            call()
    del items, raw_items, snapshot, batch
    with replicate(root.prefixed_db(b"p:"), port=None) as replica:
        assert list(replica) == [(b"k", b"v")]
    root.close()


@pytest.mark.parametrize("prefixed", [False, True])
def test_a_dropped_handle_is_closed(tmp_path: Path, prefixed: bool) -> None:
    native = open_level(tmp_path)
    replica = replicate(native.prefixed_db(b"p:") if prefixed else native, port=None, name="drop")
    replica.put(b"k", b"v")
    items = replica.iterator()
    next(items)
    del replica
    assert "replicator drop" in names_of_threads(), "its iterator keeps it alive"
    del items
    assert "replicator drop" not in names_of_threads()
    assert native.closed == (not prefixed)
    native.close()


def test_nothing_of_a_handle_needs_the_garbage_collector(tmp_path: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        replica = replicate(open_level(tmp_path), port=None, name="cycles")
        with replica.write_batch() as batch:
            batch.put(b"k", b"v")
        for view in (replica, replica.snapshot(), replica.prefixed_db(b"k")):
            assert len(list(view)) == 1
        with pytest.raises(TypeError):
            replica.get(1)  # type: ignore[arg-type]
        del replica, batch, view
        assert "replicator cycles" not in names_of_threads()
    finally:
        gc.enable()


def test_a_kept_exception_does_not_hold_up_closing(tmp_path: Path) -> None:
    replica = replicate(open_level(tmp_path), port=None)
    kept = []
    for call in (
        lambda: replica.get(1),  # type: ignore[arg-type]
        lambda: replica.put(b"\xff" * 4, b""),
        lambda: replica.delete(b"\xff" * 4),
        lambda: replica.iterator(start=1),  # type: ignore[arg-type]
        lambda: replica.snapshot().get(1),  # type: ignore[arg-type]
        lambda: replica.raw_iterator().key(),
        lambda: replica.update(b"k", lambda versions: 1 // 0),  # type: ignore[arg-type,return-value]
        lambda: replica.iterator().prev(),
    ):
        with pytest.raises(Exception) as info:
            call()
        kept.append(info)
    replica.close()
    assert len(kept) == 8


def test_it_waits_for_calls_in_flight(tmp_path: Path) -> None:
    native = open_level(tmp_path)
    replica = replicate(native, port=None)
    inside, go_on = threading.Event(), threading.Event()

    def slow(versions: object) -> bytes:
        inside.set()
        go_on.wait()
        return b"written"

    writer = threading.Thread(target=replica.update, args=(b"k", slow))
    writer.start()
    inside.wait()
    closers = [threading.Thread(target=replica.close) for _ in range(2)]
    for closer in closers:
        closer.start()
    until(lambda: replica.closed)
    with pytest.raises(ClosedError):
        replica.get(b"k")
    assert not native.closed
    assert all(closer.is_alive() for closer in closers)
    go_on.set()
    for thread in (writer, *closers):
        thread.join()
    assert native.closed
    again = plyvel.DB(str(tmp_path))
    assert again.get(b"k") == b"written"
    again.close()


def test_closing_inside_its_own_call(replica: Replica) -> None:
    def closes(versions: object) -> bytes:
        replica.close()
        return b""

    with pytest.raises(UsageError, match="inside a call of the same handle"):
        replica.update(b"k", closes)
    assert not replica.closed
    assert replica.get(b"k") is None
    replica.put(b"k", b"v")


def test_another_handle_may_be_closed_inside_a_call(
    replica: Replica, tmp_path: Path, wrap: Callable[..., Replica]
) -> None:
    other = wrap(open_level(tmp_path / "other"))
    assert replica.update(b"k", lambda versions: other.close() or b"v") == b"v"
    assert other.closed


def test_a_signal_handler_that_closes(replica: Replica) -> None:
    outcomes = []

    def close(number: int, frame: object) -> None:
        try:
            replica.close()
        except UsageError as error:
            outcomes.append(error)

    def interrupted(versions: object) -> bytes:
        signal.raise_signal(signal.SIGUSR1)
        return b"v"

    before = signal.signal(signal.SIGUSR1, close)
    try:
        replica.update(b"k", interrupted)
        assert len(outcomes) == 1
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert replica.closed
    assert len(outcomes) == 1


def test_a_callback_may_close(tmp_path: Path) -> None:
    replica = replicate(open_level(tmp_path), port=0, name="callee")
    closed = threading.Event()

    def close(*_: object) -> None:
        replica.close()
        closed.set()

    replica.on("connection", close)
    other = replicate(open_level(tmp_path / "other"), port=None)
    other.add_peer(str(replica.address))
    assert closed.wait(20)
    assert replica.closed
    other.close()


def test_leaving_a_with_block_by_an_exception(tmp_path: Path) -> None:
    with (
        pytest.raises(LookupError),
        replicate(open_level(tmp_path), port=None) as replica,
    ):
        raise LookupError
    assert replica.closed


def test_a_store_that_cannot_be_left_in_order_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = open_level(tmp_path)
    replica = replicate(native, port=None)

    def fails() -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(replica._engine.store, "close", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        replica.close()
    assert native.closed
    assert replica.closed
    replica.close()


@pytest.mark.processes
@pytest.mark.parametrize("ending", ["", "sys.exit()", "threading.Thread(target=late).start()"])
def test_a_program_that_forgets_to_close(tmp_path: Path, ending: str) -> None:
    program = f"""
import sys, threading, time
import plyvel, replicator
db = replicator.replicate(plyvel.DB(sys.argv[1], create_if_missing=True), port=0, discovery=())
db.on("error", print)
db.put(b"k", b"v")
def late():
    time.sleep(0.5)
    db.put(b"late", b"v")
{ending}
"""
    path = tmp_path / "db"
    assert run(program, str(path)) == ""
    with replicate(open_level(path), port=None) as replica:
        assert replica.get(b"k") == b"v"
        assert (replica.get(b"late") is not None) == ("late" in ending)


@pytest.mark.processes
def test_the_work_of_daemon_threads_at_the_end(tmp_path: Path) -> None:
    program = """
import sys, threading
import plyvel, replicator
db = replicator.replicate(plyvel.DB(sys.argv[1], create_if_missing=True), port=None, discovery=())
for number in range(1000):
    db.put(b"%d" % number, b"")
def reads():
    try:
        while True:
            list(db)
    except RuntimeError:
        pass
for _ in range(4):
    threading.Thread(target=reads, daemon=True).start()
"""
    assert run(program, str(tmp_path / "db")) == ""


@pytest.mark.processes
def test_in_a_forked_child_every_call_is_refused(tmp_path: Path) -> None:
    program = """
import os, sys, traceback
import plyvel, replicator
db = replicator.replicate(plyvel.DB(sys.argv[1], create_if_missing=True), port=None, discovery=())
db.put(b"k", b"v")
items, raw_items = db.iterator(), db.raw_iterator()
snapshot, batch, view = db.snapshot(), db.write_batch(), db.prefixed_db(b"k")
next(items)
calls = [
    lambda: db.get(b"k"), lambda: db.put(b"k", b""), lambda: db.delete(b"k"), db.write_batch,
    db.iterator, db.raw_iterator, db.snapshot, lambda: list(db), lambda: db.get_property(b"x"),
    db.compact_range, lambda: db.approximate_size(b"", b"x"), lambda: db.update(b"k", print),
    db.digest, db.known, lambda: list(db.conflicts()), lambda: db.versions(b"k"), db.sync,
    db.status, lambda: db.on("error", print), lambda: db.add_peer("localhost:9000"),
    lambda: db.remove_peer("localhost:9000"), lambda: list(items), items.prev, items.seek_to_stop,
    raw_items.valid, lambda: snapshot.get(b"k"), snapshot.iterator, batch.write, batch.clear,
    lambda: view.get(b""), lambda: view.put(b"", b""), view.snapshot,
]
child = os.fork()
if child == 0:
    try:
        for call in calls:
            try:
                call()
            except replicator.ClosedError as error:
                assert "forked" in str(error), error
            else:
                raise AssertionError(f"not refused: call {calls.index(call)}")
        assert db.closed
        db.close()
        snapshot.close()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
for call in calls[:3]:
    call()
assert next(items, None) is None
db.put(b"k", b"still here")
db.close()
print("parent", os.getpid() > 0)
"""
    assert run(program, str(tmp_path / "db")) == "parent True\n"
    with replicate(open_level(tmp_path / "db"), port=None) as replica:
        assert replica.get(b"k") == b"still here"


@pytest.mark.processes
def test_a_child_may_open_another_directory(tmp_path: Path) -> None:
    program = """
import os, sys
import plyvel, replicator
first = replicator.replicate(plyvel.DB(sys.argv[1] + "/a", create_if_missing=True), port=None, discovery=())
child = os.fork()
if child == 0:
    del first
    with replicator.replicate(plyvel.DB(sys.argv[1] + "/b", create_if_missing=True), port=0, discovery=()) as db:
        db.put(b"k", b"v")
        assert db.status().running
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
first.put(b"k", b"v")
"""
    tmp_path.joinpath("level").mkdir()
    assert run(program, str(tmp_path / "level")) == ""


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_another_thread_closes(tmp_path: Path) -> None:
    """The child's `close` returns although a thread that it lacks holds the lock."""
    replica = replicate(open_level(tmp_path), port=None)
    inside, go_on = threading.Event(), threading.Event()

    def slow(versions: object) -> bytes:
        inside.set()
        go_on.wait()
        return b""

    writer = threading.Thread(target=replica.update, args=(b"k", slow))
    writer.start()
    inside.wait()
    closer = threading.Thread(target=replica.close)
    closer.start()
    until(lambda: replica.closed)
    child = os.fork()
    if child == 0:
        replica.close()
        os._exit(0)
    go_on.set()
    writer.join()
    closer.join()
    until(lambda: os.waitpid(child, os.WNOHANG) == (child, 0))
