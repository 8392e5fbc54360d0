"""INFO, CONFIG, CLIENT, COMMAND, ROLE, WAIT, SHUTDOWN: the server, its clients, its node."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicator.faces.access import Access, Role
from replicator.faces.commands import COMMANDS
from replicator.faces.redis.limits import RESP_LOGINS_WRONG_MAX
from tests.cli.daemons import serving, until
from tests.redis.serving import Served, served
from tests.redis.talking import Connection, socket_of, text


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "store") as it:
        yield it


@pytest.fixture
def client(it: Served) -> Iterator[Connection]:
    with Connection(it.place) as connection:
        yield connection


def say(connection: Connection, request: str) -> Any:
    return text(connection.say(request))


def info(connection: Connection, *sections: str) -> dict[str, str]:
    lines = say(connection, " ".join(["INFO", *sections])).split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


# INFO


def test_what_clients_look_for(client: Connection) -> None:
    told = info(client)
    assert told["redis_version"].startswith("7.")
    assert (told["redis_mode"], told["role"], told["loading"]) == ("standalone", "master", "0")
    assert (told["cluster_enabled"], told["connected_clients"]) == ("0", "1")
    assert int(told["used_memory"]) > 10_000_000
    assert told["members"] == "1"


def test_sections(client: Connection) -> None:
    assert list(info(client, "cluster")) == ["cluster_enabled"]
    assert set(info(client, "CLUSTER", "cpu")) == {
        "cluster_enabled",
        "used_cpu_sys",
        "used_cpu_user",
    }
    assert info(client, "nosuch") == {}
    assert set(info(client, "all")) == set(info(client))


def test_statistics_begin_anew_for_info_alone(it: Served, client: Connection) -> None:
    for number in range(5):
        say(client, f"SET k{number} v")
    assert info(client, "stats")["keys_written"] == "5"
    assert say(client, "CONFIG RESETSTAT") == "OK"
    assert info(client, "stats")["keys_written"] == "0"
    assert it.server.status().writes == 5, "what monitoring reads goes on"


@pytest.mark.processes
def test_a_name_stays_on_its_line(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "a", "--name", "a\r\nrole:slave\x1b[31m") as daemon,
        Connection(socket_of(daemon)) as client,
    ):
        assert info(client)["role"] == "master"
        assert "\x1b" not in say(client, "INFO")


# CONFIG


def test_the_number_of_clients_can_be_changed(it: Served, client: Connection) -> None:
    assert say(client, "CONFIG SET maxclients 1") == "OK"
    with Connection(it.place) as other:
        assert text(other.get()) == "-ERR max number of clients reached"
        assert other.is_closed()
    assert say(client, "CONFIG SET maxclients 100") == "OK"
    with Connection(it.place) as other:
        assert say(other, "PING") == "PONG"
    assert it.server.status().refused == 1


def test_idle_clients_are_disconnected_and_subscribers_are_not(
    it: Served, client: Connection
) -> None:
    with Connection(it.place) as idle, Connection(it.place) as listener:
        say(idle, "PING")
        say(listener, "SUBSCRIBE a")
        assert say(client, "CONFIG SET timeout 1") == "OK"
        while it.server.status().clients == 3:
            say(client, "PING")
            time.sleep(0.02)
        assert idle.is_closed()
        assert say(client, "PUBLISH a x") == 1
        assert text(listener.get()) == ["message", "a", "x"]


def test_all_or_nothing_is_set(client: Connection) -> None:
    reply = say(client, "CONFIG SET timeout 7 notify-keyspace-events KEA maxclients 0")
    assert reply == (
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be "
        "between 1 and 1000000 inclusive"
    )
    assert say(client, "CONFIG GET timeout notify*") == [
        "notify-keyspace-events",
        "",
        "timeout",
        "0",
    ]


# CLIENT


def test_clients_are_listed(it: Served, client: Connection) -> None:
    say(client, "CLIENT SETNAME me")
    say(client, "CLIENT SETINFO LIB-NAME mine")
    say(client, "CLIENT SETINFO LIB-VER 1.2")
    with Connection(it.place, 3) as other:
        say(other, "SUBSCRIBE a")
        say(other, "MULTI")
        lines = say(client, "CLIENT LIST").splitlines()
        mine, others = (dict(word.split("=", 1) for word in line.split(" ")) for line in lines)
        assert (mine["id"], mine["name"], mine["cmd"]) == ("1", "me", "client")
        assert (mine["lib-name"], mine["lib-ver"], mine["resp"]) == ("mine", "1.2", "2")
        host, port = client.socket.getsockname()
        assert mine["addr"] == f"{host}:{port}"
        assert mine["laddr"] == f"{it.place[0]}:{it.place[1]}"
        assert (others["id"], others["sub"], others["multi"], others["resp"]) == (
            "2",
            "1",
            "0",
            "3",
        )
        assert say(client, "CLIENT LIST TYPE pubsub").startswith("id=2 ")
        assert say(client, "CLIENT LIST ID 2 77").startswith("id=2 ")
        assert say(client, "CLIENT INFO").startswith("id=1 ")


def test_clients_are_disconnected(it: Served, client: Connection) -> None:
    some = [Connection(it.place) for _ in range(3)]
    ids = [say(one, "CLIENT ID") for one in some]
    assert say(client, f"CLIENT KILL ID {ids[0]}") == 1
    assert some[0].is_closed()
    host, port = some[1].socket.getsockname()
    assert say(client, f"CLIENT KILL {host}:{port}") == "OK"
    assert some[1].is_closed()
    assert say(client, "CLIENT KILL TYPE normal SKIPME no") == 2
    assert some[2].is_closed()
    assert client.is_closed()
    until(lambda: it.server.status().clients == 0)
    for one in some:
        one.close()


# COMMAND


def test_commands_are_told_as_redis_tells_them(client: Connection) -> None:
    assert say(client, "COMMAND COUNT") == len(COMMANDS)
    assert len(say(client, "COMMAND")) == len(COMMANDS)
    (get,) = say(client, "COMMAND INFO get")
    assert get[:6] == ["get", 2, ["readonly"], 1, 1, 1]
    (mset,) = say(client, "COMMAND INFO MSET")
    assert mset[:6] == ["mset", -3, ["write"], 1, -1, 2]
    assert {name.upper().encode() for name in say(client, "COMMAND LIST")} == COMMANDS.keys()
    assert "shutdown" in say(client, "COMMAND LIST FILTERBY ACLCAT dangerous")
    assert len(say(client, "COMMAND DOCS")) == 2 * len(COMMANDS)


@pytest.mark.parametrize("name", ["CLIENT", "CONFIG", "COMMAND", "PUBSUB"])
def test_help_names_every_subcommand(client: Connection, name: str) -> None:
    lines = say(client, f"{name} HELP")
    assert lines[0] == f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    for line in lines[1:-2:2]:
        assert "unknown subcommand" not in str(say(client, f"{name} {line.split(' ')[0]}"))


# Several nodes, and the end


@pytest.mark.processes
def test_wait_counts_the_disks_that_hold_what_this_client_wrote(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "a") as a,
        serving(tmp_path / "b", "--peer", a.address) as b,
        Connection(socket_of(a)) as client,
    ):
        for number in range(100):
            say(client, f"SET k{number} v")
        assert say(client, "WAIT 1 20000") == 1
        with Connection(socket_of(b)) as there:
            assert say(there, "GET k99") == "v"
        assert say(client, "WAIT 0 0") == 1
        began = time.monotonic()
        assert say(client, "WAIT 2 100") == 1
        assert time.monotonic() - began >= 0.1
        role, offset, replicas = say(client, "ROLE")
        assert (role, offset) == ("master", 100)
        assert [replica[2] for replica in replicas] == ["100"]
        assert info(client, "replication")["connected_slaves"] == "1"
        b.end()
        say(client, "SET more v")
        assert say(client, "WAIT 1 100") == 0


def test_who_leaves_while_it_waits_for_ever_is_forgotten(it: Served) -> None:
    leaving = Connection(it.place)
    leaving.send("SET k v", "WAIT 1 0")
    leaving.get()
    until(lambda: it.server.status().commands.get("WAIT") == 1)
    leaving.close()
    until(lambda: it.server.status().clients == 0)


def test_shutdown_asks_for_the_end_once(it: Served, client: Connection) -> None:
    assert say(client, "SHUTDOWN NOSAVE") == "OK"
    assert client.is_closed()
    assert it.stops == 1


@pytest.mark.processes
def test_a_daemon_shuts_down(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as daemon:
        with Connection(socket_of(daemon)) as client:
            say(client, "SET k v")
            client.send("SHUTDOWN")
            assert client.is_closed()
        assert daemon.process.wait(30) == 0
        assert "closing: SHUTDOWN" in daemon.log
    with serving(tmp_path / "a") as daemon, Connection(socket_of(daemon)) as client:
        assert say(client, "GET k") == "v"


@pytest.mark.processes
def test_a_wrong_password_a_thousand_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From many connections at once, as somebody would do it: others are served, nothing stays."""
    secret = tmp_path / "password"
    secret.write_text("right")
    secret.chmod(0o600)
    monkeypatch.setenv("REPLICATOR_ACCESS_APPLICATION_PASSWORD_FILE", str(secret))
    with serving(tmp_path / "a", "--resp", "0") as daemon:
        with Connection(socket_of(daemon)) as admin:
            port = int(daemon.ready["resp"].rpartition(":")[2])
            place = ("127.0.0.1", port)
            good = Connection(place)
            assert say(good, "AUTH right") == "OK"
            some = [Connection(place) for _ in range(100)]
            for one in some:
                one.send(*["AUTH wrong"] * RESP_LOGINS_WRONG_MAX)
            for _ in range(200):
                assert say(good, "SET k v") == "OK"
            failures = int(info(admin, "stats")["acl_access_denied_auth"])
            assert failures < 1000, "they wait"
            assert say(admin, "CLIENT LIST").count("user=default") == len(some) + 1
            for one in some:
                one.close()
            until(lambda: info(admin, "clients")["connected_clients"] == "2")
            good.close()
        assert "right" not in daemon.log
        assert "wrong passwords from 127.0.0.1 so far" in daemon.log


def test_roles_of_the_commands() -> None:
    """What changes the server or stops it is the admin's."""
    admins = {name for name, command in COMMANDS.items() if command.needs == Role.ADMIN}
    assert {b"SHUTDOWN", b"FLUSHALL", b"FLUSHDB", b"REPL.RESOLVE", b"REPL.FORGET"} <= admins
    anybody = {name for name, command in COMMANDS.items() if command.needs is None}
    assert anybody == {b"HELLO", b"AUTH", b"QUIT", b"RESET"}


def test_a_reader_sets_nothing(tmp_path: Path) -> None:
    access = Access({Role.READONLY: b"look"})
    with served(tmp_path / "store", access) as it, Connection(it.place) as client:
        say(client, "AUTH look")
        for request in ("CONFIG SET timeout 1", "CONFIG RESETSTAT", "CLIENT KILL ID 1", "SHUTDOWN"):
            assert say(client, request).startswith("-NOPERM this user has no permissions to run")
        assert say(client, "CONFIG GET timeout") == ["timeout", "0"]
