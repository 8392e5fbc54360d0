"""The client on real daemons, beside the library's handle where both do the same."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plyvel
import pytest

import replicator
from replicator import (
    NotLiveError,
    NotReplicated,
    OutcomeUnknown,
    ReservedKeyError,
    StaleError,
    UnreachableError,
    UsageError,
)
from replicator.core.record import Version
from replicator.faces.unixsocket import DIRECTORY_NAME, SOCKET_NAME
from tests.cli.daemons import Daemon, serving, until

pytestmark = pytest.mark.processes

Handle = Any


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """Two daemons of one cluster."""
    directory = tmp_path_factory.mktemp("pair")
    with serving(directory / "a") as a, serving(directory / "b", "--peer", a.address) as b:
        yield [a, b]


@pytest.fixture
def client(pair: list[Daemon]) -> Iterator[replicator.Client]:
    with replicator.connect(url(pair[0])) as db:
        yield db


def url(daemon: Daemon) -> str:
    return f"unix:{daemon.data}"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[replicator.Replica]:
    db = plyvel.DB(str(tmp_path / "library"), create_if_missing=True)
    with replicator.replicate(db, port=None, discovery=[], join_timeout=0) as replica:
        yield replica


@pytest.fixture(params=["library", "client"])
def view(request: pytest.FixtureRequest) -> Handle:
    """Keys of its own, in a handle of either kind."""
    handle = request.getfixturevalue(request.param)
    return handle.prefixed_db(os.urandom(8))


def filled(view: Handle) -> list[bytes]:
    keys = [b"k%04d" % number for number in range(2500)]
    with view.write_batch() as batch:
        for key in keys:
            batch.put(key, b"v" + key)
    return keys


def test_reads_and_writes_are_those_of_the_library(view: Handle) -> None:
    assert view.get(b"k") is None
    assert view.get(b"k", b"none") == b"none"
    view.put(b"k", bytearray(b"v"))
    assert view.get(b"k") == b"v"
    view.put(b"k", b"", sync=True)
    assert view.get(b"k", b"none") == b""
    view.delete(b"k")
    view.delete(b"k", sync=True)
    assert view.get(b"k") is None
    for wrong in (lambda: view.put("k", b""), lambda: view.put(b"k", 7), lambda: view.get(7)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ReservedKeyError):
        view.put(b"k", bytes(17 << 20))
    for ttl in (0, -1, 1e12):
        with pytest.raises(replicator.ExpiryError):
            view.put(b"k", b"v", ttl=ttl)


def test_iterators_are_those_of_the_library(view: Handle) -> None:
    keys = filled(view)
    items = [(key, b"v" + key) for key in keys]
    assert list(view) == items
    assert list(view.iterator(reverse=True)) == items[::-1]
    assert list(view.iterator(include_value=False)) == keys
    assert list(view.iterator(include_key=False)) == [value for _, value in items]
    assert list(view.iterator(include_key=False, include_value=False)) == [None] * 2500
    for reverse in (False, True):
        for start_in in (False, True):
            for stop_in in (False, True):
                found = list(
                    view.iterator(
                        reverse=reverse,
                        start=keys[10],
                        stop=keys[1200],
                        include_start=start_in,
                        include_stop=stop_in,
                        include_value=False,
                    )
                )
                expected = keys[10 if start_in else 11 : 1201 if stop_in else 1200]
                assert found == (expected[::-1] if reverse else expected)
    assert list(view.iterator(prefix=b"k21", reverse=True)) == items[2100:2200][::-1]
    assert list(view.iterator(prefix=b"x")) == []
    assert list(view.iterator(start=b"k3")) == []
    with pytest.raises(TypeError):
        view.iterator(prefix=b"k", start=b"k")
    with view.iterator() as opened:
        assert next(opened) == items[0]
    with pytest.raises(RuntimeError):
        next(opened)


def test_batches_are_those_of_the_library(view: Handle) -> None:
    with view.write_batch() as batch:
        batch.put(b"a", b"1")
        batch.put(b"b", b"2", ttl=100)
        batch.put(b"a", b"3")
        batch.delete(b"c")
    assert [view.get(key) for key in (b"a", b"b", b"c")] == [b"3", b"2", None]
    assert 99 < view.ttl(b"b") <= 100
    with pytest.raises(ZeroDivisionError), view.write_batch(transaction=True) as batch:
        batch.put(b"a", b"4")
        raise ZeroDivisionError
    assert view.get(b"a") == b"3"
    with pytest.raises(ZeroDivisionError), view.write_batch() as batch:
        batch.put(b"a", b"5")
        raise ZeroDivisionError
    assert view.get(b"a") == b"5"
    first, second = view.write_batch(), view.write_batch()
    first.put(b"a", b"6")
    second.put(b"b", b"7")
    first.append(second)
    first.write()
    assert [view.get(key) for key in (b"a", b"b")] == [b"6", b"7"]
    assert view.ttl(b"b") is None
    second.clear()
    second.write()


def test_times_to_live_are_those_of_the_library(view: Handle) -> None:
    view.put(b"k", b"v", ttl=100)
    assert 99 < view.ttl(b"k") <= 100
    assert view.persist(b"k") is True
    assert view.persist(b"k") is False
    assert view.ttl(b"k") is None
    assert view.expire(b"k", 0.05) is True
    until(lambda: view.get(b"k") is None)
    assert view.ttl(b"k") == 0.0
    assert view.expire(b"k", 1) is False


@pytest.mark.parametrize("kind", ["library", "client"])
def test_careful_writes_are_those_of_the_library(kind: str, request: pytest.FixtureRequest) -> None:
    db = request.getfixturevalue(kind)
    key = os.urandom(8)
    assert db.update(key, lambda versions: b"%d" % len(versions)) == b"0"
    seen = db.versions(key)
    assert [type(version) for version in seen] == [Version]
    assert (seen[0].key, seen[0].value, seen[0].is_delete) == (key, b"0", False)
    db.put(key, b"other")
    db.put(key, b"mine", seen=seen)
    found = db.versions(key)
    assert {version.value for version in found} == {b"other", b"mine"}
    assert [conflict for conflict, _ in db.conflicts() if conflict == key] == [key]
    assert db.update(key, lambda versions: b"%d" % len(versions), ttl=100) == b"2"
    assert db.versions(key)[0].expiry_ms is not None
    db.put(key, b"again", seen=[])
    loser = db.versions(key)[1]
    dot = db.resolve(key, loser.dot)
    assert [version.dot for version in db.versions(key)] == [dot]
    with pytest.raises(NotLiveError):
        db.resolve(key, loser.dot)
    with pytest.raises(UsageError):
        db.resolve(key, "no dot")
    assert db.update(key, lambda _: None) is None
    assert db.get(key) is None
    with pytest.raises(ZeroDivisionError):
        db.update(key, lambda _: b"%d" % (1 // 0))


def test_what_has_expired_is_a_delete_to_update(client: replicator.Client) -> None:
    key = os.urandom(8)
    client.put(key, b"v", ttl=0.02)
    until(lambda: client.get(key) is None)
    seen: list[Version] = []
    client.update(key, lambda versions: seen.extend(versions) or b"new")
    assert [(version.is_delete, version.value) for version in seen] == [(True, None)]


def test_a_node_tells_of_itself_as_the_library_does(
    client: replicator.Client, library: replicator.Replica, pair: list[Daemon]
) -> None:
    told, known = client.status(), library.status()
    assert set(told) == set(type(known).__dataclass_fields__)
    assert told.name == "a"
    assert told.address == pair[0].address
    assert set(told.counters) == set(type(known.counters).__dataclass_fields__)
    until(lambda: len(client.members()) == 2)
    assert sorted(member.name for member in client.members()) == ["a", "b"]
    with pytest.raises(AttributeError, match="does not tell"):
        _ = told.nonsense
    assert client.sync(10) is True
    assert client.reevaluate(10) is True
    assert client.digest() == client.execute(b"REPL.DIGEST").decode()


def test_a_write_on_the_disks_of_peers(client: replicator.Client, pair: list[Daemon]) -> None:
    key = os.urandom(8)
    client.put(key, b"v", replicas=1, timeout=20)
    with replicator.connect(url(pair[1])) as there:
        assert there.get(key) == b"v"
        with client.write_batch(replicas=1, timeout=20) as batch:
            batch.put(key, b"w")
        assert there.get(key) == b"w"
        client.delete(key, replicas=1)
        assert there.get(key) is None
        client.update(key, lambda _: b"x", replicas=1, timeout=20)
        assert there.get(key) == b"x"
    with pytest.raises(NotReplicated):
        client.put(key, b"y", replicas=5, timeout=0.05)
    assert client.get(key) == b"y"  # it stays
    for wrong in ({"replicas": 0}, {"timeout": 1.0}, {"sync": False}):
        with pytest.raises(UsageError):
            client.put(key, b"v", **wrong)


def test_tokens_and_changes(client: replicator.Client, pair: list[Daemon]) -> None:
    key = os.urandom(8)
    feed = client.changes(follow=False)
    assert sum(1 for _ in feed) > 0
    since = feed.token
    with replicator.connect(url(pair[1])) as there:
        there.put(key, b"v")
        token = there.token(own=True)
        assert client.wait_for(token, 20)
    feed = client.changes(since, timeout=0.05)
    (change,) = [change for change in feed if change.key == key]
    assert (change.kind, change.value, change.is_local) == ("change", b"v", False)
    assert not change.is_delete
    assert list(client.changes(feed.token, follow=False)) == []
    following = client.changes(feed.token)
    threading.Timer(0.1, client.delete, [key]).start()
    assert next(following).is_delete
    with pytest.raises(UsageError, match="is no token"):
        client.wait_for("nonsense", 1)
    with pytest.raises(UsageError, match="follow=False"):
        client.changes(follow=False, timeout=1)


def test_sums_of_many_threads_are_exact(client: replicator.Client) -> None:
    key, won = os.urandom(8), []

    def work() -> None:
        for _ in range(25):
            client.incr(key)
            client.update(key + b"+", lambda found: b"%d" % (number_of(found) + 1))
        won.append(client.set_if_absent(key + b"!", b"%d" % threading.get_ident()))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get(key) == client.get(key + b"+") == b"150"
    assert client.incr(key, -151) == -1
    assert won.count(True) == 1
    for value in (b"x", b"1.5", b" 1", b"9223372036854775807"):
        client.put(key, value)
        with pytest.raises(UsageError):
            client.incr(key)
        assert client.get(key) == value


def number_of(versions: list[Version]) -> int:
    return int(versions[0].value or 0) if versions else 0


def test_any_command(client: replicator.Client) -> None:
    key = os.urandom(8)
    assert client.execute(b"set", key, b"v") == b"OK"
    assert client.get_many([key, key + b"?"]) == [b"v", None]
    assert client.get_many([]) == []
    with pytest.raises(UsageError, match="unknown command"):
        client.execute(b"FLY")


def test_a_client_in_a_forked_child_connects_anew(pair: list[Daemon]) -> None:
    code = """
import os, sys, replicator
db = replicator.connect(sys.argv[1])
db.put(b"parent", b"1")
child = os.fork()
if child == 0:
    db.put(b"child", b"2")
    os._exit(0 if db.get(b"parent") == b"1" else 1)
assert all(db.get(b"parent") == b"1" for _ in range(200))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert db.get(b"child") == b"2"
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, url(pair[0])], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_program_reads_its_own_writes_after_its_daemon_was_killed(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "a") as a,
        serving(tmp_path / "b", "--peer", a.address) as b,
        replicator.connect([url(a), url(b)], catch_up=20) as db,
        replicator.connect(url(b)) as there,
    ):
        until(lambda: there.wait_for(db.token(), 1))
        for number in range(200):
            db.put(b"k", b"%d" % number, **({"replicas": 1} if number == 199 else {}))
        a.end(signal.SIGKILL)
        assert db.get(b"k") == b"199"
        assert db.endpoint == url(b)
        db.put(b"k", b"after")
        assert db.versions(b"k")[0].value == b"after"
        assert list(db.conflicts()) == []  # it superseded what it had written at a


def test_what_never_left_a_killed_daemon_is_missed_not_hidden(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as a, serving(tmp_path / "b", "--peer", a.address) as b:
        db = replicator.connect([url(a), url(b)], catch_up=0.2)
        with db:
            b.process.send_signal(signal.SIGSTOP)
            db.put(b"k", b"v")
            a.end(signal.SIGKILL)
            b.process.send_signal(signal.SIGCONT)
            with pytest.raises(StaleError):
                db.get(b"k")
            with replicator.connect(url(b)) as there:
                assert there.get(b"k") is None
            again = Daemon(a.data, "--listen", a.address, "--no-multicast", "--name", "a")
            try:
                until(lambda: reads(db, b"k") == b"v")
            finally:
                again.clean_up()


def swallow(ours: socket.socket, theirs: socket.socket, command: bytes) -> bool:
    """Carry what comes from either side to the other; whether an answer was swallowed."""
    for ready in select.select([ours, theirs], [], [])[0]:
        data = ready.recv(1 << 16)
        if ready is theirs:
            ours.sendall(data)
        else:
            theirs.sendall(data)
            if command in data:
                return bool(theirs.recv(1 << 16))
    return False


@contextmanager
def swallowing(daemon: Daemon, path: Path, command: bytes) -> Iterator[str]:
    """A way to a daemon that ends when this command was answered, and keeps the answer."""
    there = daemon.data / DIRECTORY_NAME / SOCKET_NAME
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def forward() -> None:
            ours, _ = listener.accept()
            with ours, socket.socket(socket.AF_UNIX) as theirs:
                theirs.connect(str(there))
                while not swallow(ours, theirs, command):
                    pass
                path.unlink()

        thread = threading.Thread(target=forward)
        thread.start()
        yield f"unix:{path}"
        thread.join()


def test_a_put_that_is_tried_again_at_another_node_is_no_conflict(
    pair: list[Daemon], tmp_path: Path
) -> None:
    key = os.urandom(8)
    with (
        swallowing(pair[0], tmp_path / "way", b"SET") as way,
        replicator.connect([way, url(pair[1])]) as db,
        replicator.connect(url(pair[0])) as at_a,
        replicator.connect(url(pair[1])) as at_b,
    ):
        db.put(key, b"v")
        assert db.endpoint == url(pair[1])
        until(lambda: at_a.digest() == at_b.digest())
        for handle in (at_a, at_b):
            found = handle.versions(key)
            assert [version.value for version in found] == [b"v", b"v"]  # it happened at both
            assert [conflict for conflict, _ in handle.conflicts() if conflict == key] == []
        db.put(key, b"w")
        assert [version.value for version in at_b.versions(key)] == [b"w"]


def test_a_sum_whose_answer_was_swallowed_has_happened_once(
    pair: list[Daemon], tmp_path: Path
) -> None:
    key = os.urandom(8)
    with (
        swallowing(pair[0], tmp_path / "way", b"INCRBY") as way,
        replicator.connect([way, url(pair[1])]) as db,
        replicator.connect(url(pair[0])) as at_a,
    ):
        with pytest.raises(OutcomeUnknown):
            db.incr(key)
        assert at_a.get(key) == b"1"


def reads(db: replicator.Client, key: bytes) -> bytes | None:
    try:
        value: bytes | None = db.get(key)
    except (StaleError, UnreachableError):
        return None
    return value


def test_a_daemon_that_restarts_under_load_loses_no_write(tmp_path: Path) -> None:
    options = ("--listen", "127.0.0.1:0", "--no-multicast", "--name", "a")
    daemon = Daemon(tmp_path / "a", *options)
    try:
        with replicator.connect(url(daemon), timeout=30) as db:
            failures: list[Exception] = []
            done = [0]

            def write() -> None:
                try:
                    for number in range(600):
                        db.put(b"%d" % number, b"v")
                        done[0] = number
                except Exception as error:
                    failures.append(error)

            writer = threading.Thread(target=write)
            writer.start()
            until(lambda: done[0] > 50)
            daemon.end()
            daemon = Daemon(tmp_path / "a", *options)
            until(lambda: done[0] > 200 or bool(failures))
            daemon.end(signal.SIGKILL)
            daemon = Daemon(tmp_path / "a", *options)
            writer.join()
            assert failures == []
            assert sum(1 for _ in db) == 600
    finally:
        daemon.clean_up()
