"""What a client does when answers are lost, daemons go away, or what answers is none."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import replicator
from replicator import (
    AccessError,
    ClosedError,
    ContendedError,
    NotReplicated,
    OutcomeUnknown,
    PeerError,
    RefusedError,
    StorageError,
    UnreachableError,
    UsageError,
)
from replicator.faces.client import calling, choosing, optimistic
from replicator.faces.client.retries import RETRIES, Retry
from replicator.faces.resp import Failure, Status
from tests.client.fake import HANG_UP, KEEP_SILENT, FakeDaemon, Raw, fakes, once

OK = Status("OK")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with fakes(tmp_path, 1) as (daemon,):
        yield daemon


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[FakeDaemon]]:
    with fakes(tmp_path, 2) as daemons:
        yield daemons


def test_a_read_whose_answer_is_lost_is_tried_again(daemon: FakeDaemon) -> None:
    daemon.acts[b"GET"] = once(HANG_UP, b"v")
    with replicator.connect(daemon.url) as db:
        assert db.get(b"k") == b"v"
    assert daemon.names == [b"GET", b"GET"]


@pytest.mark.parametrize("cut", [HANG_UP, Raw(b"$5\r\nva"), Raw(b"+O")])
def test_a_put_whose_answer_is_cut_is_tried_again(daemon: FakeDaemon, cut: object) -> None:
    def act(_: list[bytes]) -> object:
        if daemon.names.count(b"SET") > 1:
            return OK
        if isinstance(cut, Raw):
            threading.Timer(0.05, daemon.drop).start()
        return cut

    daemon.acts[b"SET"] = act
    with replicator.connect(daemon.url) as db:
        db.put(b"k", b"v")
    assert daemon.asked == [[b"SET", b"k", b"v"]] * 2


def test_what_is_not_the_same_twice_is_not_tried_again(daemon: FakeDaemon) -> None:
    daemon.acts[b"APPEND"] = once(HANG_UP, 1)
    daemon.acts[b"REPL.VERSIONS"] = lambda _: []
    for name in (b"REPL.PUT", b"INCRBY", b"SET"):
        daemon.acts[name] = lambda _: HANG_UP
    daemon.acts[b"REPL.RESOLVE"] = lambda _: HANG_UP
    with replicator.connect(daemon.url) as db:
        with pytest.raises(OutcomeUnknown, match=r"APPEND of unix:.* may have happened") as caught:
            db.execute(b"append", b"k", b"v")
        assert caught.value.command == "APPEND"
        assert caught.value.endpoint == daemon.url
        for unsafe in (
            lambda: db.incr(b"n"),
            lambda: db.set_if_absent(b"k", b"v"),
            lambda: db.update(b"k", lambda _: b"v"),
            lambda: db.resolve(b"k", None),
        ):
            with pytest.raises(OutcomeUnknown):
                unsafe()
    for name in (b"APPEND", b"REPL.PUT", b"INCRBY", b"SET", b"REPL.RESOLVE"):
        assert daemon.names.count(name) == 1


def test_an_update_that_others_always_overtake_is_given_up(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimistic, "CLIENT_UPDATES_MAX", 3)
    daemon.acts[b"REPL.VERSIONS"] = lambda _: []
    daemon.acts[b"REPL.PUT"] = lambda _: Failure("CHANGED", "read it again")
    with replicator.connect(daemon.url) as db, pytest.raises(ContendedError, match="3 times"):
        db.update(b"k", lambda _: b"v")
    assert daemon.asked == [[b"REPL.VERSIONS", b"k"], [b"REPL.PUT", b"k", b"v", b"IF"]] * 3


def test_a_caller_may_say_that_twice_is_the_same(daemon: FakeDaemon) -> None:
    daemon.acts[b"GETRANGE"] = once(HANG_UP, b"v")
    with replicator.connect(daemon.url) as db:
        assert db.execute(b"GETRANGE", b"k", b"0", b"0", idempotent=True) == b"v"


def test_a_command_that_kills_every_daemon_is_given_up(pair: list[FakeDaemon]) -> None:
    for daemon in pair:
        daemon.acts[b"SET"] = lambda _: HANG_UP
        daemon.acts[b"GET"] = lambda _: HANG_UP
    with replicator.connect([daemon.url for daemon in pair]) as db:
        with pytest.raises(OutcomeUnknown):
            db.put(b"k", b"v")
        tried = [daemon.names.count(b"SET") for daemon in pair]
        assert sum(tried) == 4
        assert min(tried) > 0
        with pytest.raises(UnreachableError):
            db.get(b"k")


def test_a_put_goes_to_the_same_daemon_again_and_then_to_the_next(pair: list[FakeDaemon]) -> None:
    first, second = pair
    first.acts[b"SET"] = lambda _: HANG_UP
    with replicator.connect([first.url, second.url]) as db:
        db.put(b"k", b"v")
        assert first.names.count(b"SET") == 2
        assert second.names.count(b"SET") == 1
        assert db.endpoint == second.url


def test_what_writes_anew_what_is_shown_stays_at_its_daemon(pair: list[FakeDaemon]) -> None:
    first, second = pair
    first.acts[b"PEXPIRE"] = lambda _: HANG_UP
    with replicator.connect([first.url, second.url]) as db:
        with pytest.raises(OutcomeUnknown, match="that daemon is gone"):
            db.expire(b"k", 10)
        assert first.names.count(b"PEXPIRE") == 2
        assert b"PEXPIRE" not in second.names
        assert db.expire(b"k", 10)
        assert second.names.count(b"PEXPIRE") == 1


def test_a_write_that_nobody_could_confirm_is_not_called_undone(daemon: FakeDaemon) -> None:
    def act(_: list[bytes]) -> object:
        threading.Thread(target=daemon.stop).start()
        return KEEP_SILENT

    daemon.acts[b"SET"] = act
    with replicator.connect(daemon.url, timeout=0.3) as db:
        with pytest.raises(OutcomeUnknown, match="no daemon answers"):
            db.put(b"k", b"v")
        with pytest.raises(UnreachableError, match="no daemon is there"):
            db.put(b"k", b"v")


def test_a_daemon_that_ends_has_done_nothing(pair: list[FakeDaemon]) -> None:
    first, second = pair
    first.acts[b"SET"] = lambda _: Failure("CLOSING", "the handle is closed")
    first.acts[b"APPEND"] = lambda _: Failure("CLOSING", "the handle is closed")
    with replicator.connect([first.url, second.url]) as db:
        db.put(b"k", b"v")
        assert second.names.count(b"SET") == 1
    with replicator.connect([first.url, second.url]) as db, pytest.raises(OutcomeUnknown):
        db.execute(b"APPEND", b"k", b"v")


def test_a_daemon_that_keeps_silent_is_left(
    pair: list[FakeDaemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "CLIENT_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(choosing, "CLIENT_DIAL_SECONDS", 0.2)
    first, second = pair
    first.acts[b"GET"] = lambda _: KEEP_SILENT
    with replicator.connect([first.url, second.url]) as db:
        first.acts[b"HELLO"] = lambda _: KEEP_SILENT
        assert db.get(b"k") == b"of 2"


def test_a_connection_that_ended_while_nobody_used_it_costs_nothing(daemon: FakeDaemon) -> None:
    with replicator.connect(daemon.url) as db:
        db.put(b"k", b"v")
        daemon.drop()
        daemon.stop()
        daemon.start()
        assert db.execute(b"APPEND", b"k", b"v") == 1
    assert daemon.names == [b"SET", b"APPEND"]


def test_a_daemon_that_comes_back_is_waited_for(daemon: FakeDaemon) -> None:
    with replicator.connect(daemon.url) as db:
        daemon.stop()
        timer = threading.Timer(0.3, daemon.start)
        timer.start()
        assert db.execute(b"APPEND", b"k", b"v") == 1
        timer.join()


@pytest.mark.parametrize(
    ("hello", "error", "says"),
    [
        (Failure("ERR", "unknown command 'HELLO', with args"), UnreachableError, "no replicator"),
        (Failure("NOPROTO", "sorry"), UnreachableError, "no replicator"),
        (Failure("ERR", "max number of clients reached"), UnreachableError, "it refuses: max"),
        (Failure("WRONGPASS", "invalid"), AccessError, "does not let this client in"),
        (Failure("NOAUTH", "required"), AccessError, "wants a password"),
        (Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), UnreachableError, "no RESP"),
        (HANG_UP, UnreachableError, "went away"),
    ],
)
def test_what_is_none_of_our_daemons(
    daemon: FakeDaemon, hello: object, error: type[Exception], says: str
) -> None:
    daemon.acts[b"HELLO"] = lambda _: hello
    with pytest.raises(error, match=says):
        replicator.connect(daemon.url, password="s3cret")


def test_a_plain_redis_is_told_from_a_replicator(daemon: FakeDaemon) -> None:
    daemon.acts[b"HELLO"] = lambda _: {"server": "redis", "proto": 3}
    daemon.acts[b"REPL.TOKEN"] = lambda _: Failure("ERR", "unknown command 'REPL.TOKEN'")
    with pytest.raises(UnreachableError, match="it is no replicator"):
        replicator.connect(daemon.url)


def test_the_password_is_sent_and_never_told(daemon: FakeDaemon) -> None:
    seen: list[list[bytes]] = []

    def hello(request: list[bytes]) -> object:
        seen.append(request)
        return Failure("WRONGPASS", "invalid username-password pair")

    daemon.acts[b"HELLO"] = hello
    with pytest.raises(AccessError) as caught:
        replicator.connect(daemon.url, user="me", password="s3cret")
    assert seen == [[b"HELLO", b"3", b"AUTH", b"me", b"s3cret"]]
    assert "s3cret" not in str(caught.value)


def test_a_password_that_a_daemon_does_not_need(daemon: FakeDaemon) -> None:
    words = "AUTH <password> called without any password configured for the default user"
    greetings: list[list[bytes]] = []

    def hello(request: list[bytes]) -> object:
        greetings.append(request)
        return Failure("ERR", words) if len(request) > 2 else {"server": "replicator"}

    daemon.acts[b"HELLO"] = hello
    with replicator.connect(daemon.url, password="x") as db:
        assert db.get(b"k") == b"of 1"
    assert [len(greeting) for greeting in greetings] == [5, 2]


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"a\.sock: no daemon is there; .*b: no daemon"):
        replicator.connect([f"unix:{tmp_path}/a.sock", f"unix:{tmp_path}/b"])
    with pytest.raises(UnreachableError, match="no daemon is there"):
        replicator.connect("redis://127.0.0.1:1")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Failure("ERR", "x"), UsageError),
        (Failure("STORAGE", "x"), StorageError),
        (Failure("NOREPLICAS", "x"), NotReplicated),
        (Failure("PEER", "x"), PeerError),
        (Failure("NOPERM", "x"), AccessError),
        (Failure("INTERNAL", "x"), RefusedError),
    ],
)
def test_errors_are_those_of_the_library(
    daemon: FakeDaemon, reply: Failure, error: type[Exception]
) -> None:
    daemon.acts[b"SET"] = lambda _: reply
    with replicator.connect(daemon.url) as db, pytest.raises(error, match="x"):
        db.put(b"k", b"v")


def test_connections_are_bounded_and_used_again(daemon: FakeDaemon) -> None:
    running = []
    most = []
    lock = threading.Lock()

    def act(_: list[bytes]) -> object:
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.002)
        with lock:
            running.pop()
        return b"v"

    daemon.acts[b"GET"] = act
    with replicator.connect(daemon.url, connections_max=3) as db:
        threads = [
            threading.Thread(target=lambda: [db.get(b"k") for _ in range(20)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max(most) <= 3
    assert daemon.connections <= 3
    assert daemon.names.count(b"GET") == 160


def test_no_free_connection_is_an_error_in_time(daemon: FakeDaemon) -> None:
    release = threading.Event()
    daemon.acts[b"GET"] = lambda _: release.wait() and b"v"
    with replicator.connect(daemon.url, connections_max=1, timeout=0.1) as db:
        thread = threading.Thread(target=db.get, args=[b"k"])
        thread.start()
        while b"GET" not in daemon.names:
            time.sleep(0.001)
        with pytest.raises(UnreachableError, match="raise connections_max"):
            db.get(b"k")
        release.set()
        thread.join()


def test_a_closed_client(daemon: FakeDaemon) -> None:
    db = replicator.connect(daemon.url)
    items = db.iterator()
    db.close()
    db.close()
    assert db.closed
    for use in (lambda: db.get(b"k"), lambda: db.put(b"k", b"v"), lambda: next(items)):
        with pytest.raises(ClosedError):
            use()


def test_a_client_that_nobody_holds_hangs_up(daemon: FakeDaemon) -> None:
    view = replicator.connect(daemon.url).prefixed_db(b"p:")
    assert view.get(b"k") == b"of 1"  # what came of it keeps it
    connection = daemon._open[-1]
    del view
    deadline = time.monotonic() + 10
    while connection.fileno() >= 0:  # closed by the other end, so by this one
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("timeout", -1), ("timeout", "x"), ("catch_up", float("nan")), ("connections_max", 0)],
)
def test_arguments_that_make_no_sense(daemon: FakeDaemon, keyword: str, value: object) -> None:
    with pytest.raises(replicator.ConfigError, match=keyword):
        replicator.connect(daemon.url, **{keyword: value})  # type: ignore[arg-type]


def test_commands_of_one_connection_are_refused(daemon: FakeDaemon) -> None:
    with replicator.connect(daemon.url) as db:
        for name in (b"MULTI", b"subscribe", b"AUTH", b"REPL.MORE"):
            with pytest.raises(UsageError, match="about its connection"):
                db.execute(name)
        with pytest.raises(TypeError):
            db.execute("GET", b"k")  # type: ignore[arg-type]
    assert daemon.asked == []


def test_the_table_says_what_is_retried_where() -> None:
    assert RETRIES[b"SET"] is Retry.ANYWHERE
    assert RETRIES[b"PEXPIRE"] is Retry.HERE
    for name in (b"INCR", b"INCRBY", b"REPL.RESOLVE", b"REPL.JOIN", b"REPL.FORGET", b"APPEND"):
        assert name not in RETRIES
