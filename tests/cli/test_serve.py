"""The daemon as a process: served through its socket, stopped, killed, started again."""

import json
import resource
import signal
import socket
import stat
import subprocess
from contextlib import ExitStack
from pathlib import Path

import hiredis
import plyvel
import pytest

from replicator.errors import UnreachableError
from replicator.faces.cli import door
from replicator.faces.configuration import DEFAULT
from replicator.faces.redis.limits import RESP_DESCRIPTORS_LEFT
from replicator.faces.resp import encode_request
from replicator.faces.unixsocket import DIRECTORY_NAME, SOCKET_NAME, connect
from tests.cli.daemons import (
    REPLICATOR,
    Daemon,
    documents,
    replicator,
    replicator_process,
    serving,
    until,
)

pytestmark = pytest.mark.processes


def joined(data: Path) -> socket.socket:
    client = connect(data, 30)
    assert client is not None
    return client


def received(client: socket.socket) -> bytes:
    """Everything until the daemon hangs up."""
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_commands_beside_a_daemon_and_after_it(tmp_path: Path) -> None:
    data = tmp_path / "store"
    where = ["--data", str(data)]
    lines = b"".join(b"key%04d\tvalue\n" % number for number in range(1500))
    with serving(data) as daemon:
        assert daemon.ready["name"] == "store"
        loaded = replicator("load", "-", *where, stdin=lines)
        assert loaded.stdout.startswith("1,500 records written, 0 unchanged")
        assert replicator("put", "k", "v", *where).exit_code == 0
        assert replicator("get", "k", *where).stdout == "v\n"
        assert replicator("delete", "k", *where).exit_code == 0
        assert replicator("get", "k", *where).exit_code == 1
        assert len(documents("scan", *where)) == 1500
        assert documents("conflicts", *where) == []
        (status,) = documents("status", *where)
        assert status["daemon"] is True
        assert status["address"] == daemon.address
        assert status["counters"]["writes"] == 1502
        (digest,) = documents("digest", *where)
        assert daemon.end() == 0
    assert documents("digest", *where) == [digest]
    assert documents("status", *where)[0]["daemon"] is False
    assert len(documents("scan", *where)) == 1500


def test_two_daemons_end_equal_and_show_their_conflicts(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for data in (a, b):
        replicator("load", "-", "--data", str(data), stdin=b"k\tfrom %s\n" % data.name.encode())
    with serving(a) as first, serving(b, "--peer", first.address):
        compare = ["digest", "--data", str(a), "--with", str(b)]
        until(lambda: replicator(*compare).exit_code == 0)
        values = [replicator("get", "k", "--data", str(data)).stdout for data in (a, b)]
        assert values == ["from b\n"] * 2
        assert documents("conflicts", "--data", str(a)) == documents("conflicts", "--data", str(b))
        text = replicator("conflicts", "--data", str(a)).stdout
        assert text.startswith("k\n  > from b\n")
        assert "\n    from a\n" in text
        status = replicator("status", "--data", str(b)).stdout
        assert f"peer        {first.address}  a: dialled, " in status
        assert replicator("put", "k", "settled", "--data", str(a)).exit_code == 0
        until(lambda: replicator("get", "k", "--data", str(b)).stdout == "settled\n")
        until(lambda: documents("conflicts", "--data", str(b)) == [])


def test_a_killed_daemon_leaves_its_data_and_a_socket_that_does_no_harm(tmp_path: Path) -> None:
    data = tmp_path / "store"
    where = ["--data", str(data)]
    with serving(data) as daemon:
        replicator("put", "k", "v", *where)
        daemon.end(signal.SIGKILL)
    assert (data / DIRECTORY_NAME / SOCKET_NAME).exists()
    assert replicator("get", "k", *where).stdout == "v\n"
    with serving(data) as daemon:
        assert replicator("get", "k", *where).stdout == "v\n"
        assert documents("status", *where)[0]["daemon"] is True
        assert daemon.end(signal.SIGINT) == 0
    assert not (data / DIRECTORY_NAME / SOCKET_NAME).exists()


def test_the_directory_is_its_owners(tmp_path: Path) -> None:
    data = tmp_path / "store"
    with serving(data):
        ours = data / DIRECTORY_NAME
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert stat.S_IMODE(ours.stat().st_mode) == 0o700
        assert stat.S_IMODE((ours / SOCKET_NAME).stat().st_mode) == 0o600


def test_a_long_path(tmp_path: Path) -> None:
    data = tmp_path / ("d" * 200)
    with serving(data, "--name", "long"):
        assert replicator("put", "k", "v", "--data", str(data)).exit_code == 0
        assert documents("status", "--data", str(data))[0]["daemon"] is True


def test_a_second_daemon_on_a_directory_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "store"
    with serving(data):
        second = replicator_process("serve", "--data", str(data), "--listen", "127.0.0.1:0")
        assert second.returncode == 3
        assert "is in use" in second.stderr
        assert replicator("get", "k", "--data", str(data)).exit_code == 1


def test_a_port_in_use(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as first:
        second = replicator_process(
            "serve", "--data", str(tmp_path / "b"), "--listen", first.address
        )
        assert second.returncode == 2
        assert "in use" in second.stderr
        assert "Traceback" not in second.stderr


def test_daemons_with_tls(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    assert replicator("certs", "init", str(ca)).exit_code == 0
    configs = []
    for name in ("a", "b"):
        issued = replicator("certs", "issue", name, "--dir", str(ca))
        configs.append(tmp_path / f"{name}.toml")
        configs[-1].write_text(issued.stdout.split("\n\n")[1])
    a, b = tmp_path / "a", tmp_path / "b"
    with serving(a, "--config", str(configs[0]), "--listen", "0.0.0.0:0") as first:
        address = first.address.replace("0.0.0.0", "127.0.0.1")
        assert "without TLS" not in first.log
        replicator("put", "k", "v", "--data", str(a))
        with serving(b, "--config", str(configs[1]), "--peer", address):
            until(lambda: replicator("get", "k", "--data", str(b)).stdout == "v\n")
        with serving(tmp_path / "c", "--peer", address) as plain:
            until(lambda: "this node speaks TLS only" in plain.log)
            assert replicator("get", "k", "--data", str(tmp_path / "c")).exit_code == 1


def test_listening_for_strangers_is_refused(tmp_path: Path) -> None:
    result = replicator_process("serve", "--data", str(tmp_path / "a"), "--listen", "0.0.0.0:0")
    assert result.returncode == 2
    assert "refuses to listen on 0.0.0.0 without TLS" in result.stderr
    assert "Traceback" not in result.stderr


def test_listening_for_strangers_is_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "--listen", "0.0.0.0:0", "--insecure") as daemon:
        assert "without TLS: whoever reaches that address" in daemon.log
    with serving(tmp_path / "other", "--listen", "[::1]:0", "--insecure") as daemon:
        assert "without TLS" not in daemon.log


def test_a_mistaken_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('[node]\ndata = "store"\nnmae = "a"\n')
    result = replicator_process("serve", "--config", str(config))
    assert result.returncode == 2
    assert result.stderr == (
        f"replicator: {config}: line 3: node.nmae: unknown key: did you mean name?\n"
    )
    assert not (tmp_path / "store").exists()


def test_existing_data_is_adopted(tmp_path: Path) -> None:
    with plyvel.DB(str(tmp_path / "store"), create_if_missing=True) as db:
        db.put(b"old", b"value")
    with serving(tmp_path / "store"):
        assert replicator("get", "old", "--data", str(tmp_path / "store")).stdout == "value\n"


def test_a_daemon_says_in_words_that_it_is_ready(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [REPLICATOR, "serve", "--data", tmp_path, "--listen", "127.0.0.1:0", "--name", "\x1b[2J"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("ready: \\x1b[2J at 127.0.0.1:")
    process.terminate()
    assert "\x1b" not in process.stderr.read()
    assert process.wait() == 0
    process.stdout.close()
    process.stderr.close()


def test_a_client_in_any_language(tmp_path: Path) -> None:
    data = tmp_path / "store"
    with serving(data), joined(data) as client:
        # Pipelined, cut anywhere, inline among arrays, in lower case.
        stream = (
            encode_request(b"hello", b"3")
            + encode_request(b"set", b"k", b"v" * 100_000)
            + b"get k\r\n"
            + encode_request(b"REPL.STATUS")
            + encode_request(b"QUIT")
        )
        for start in range(0, len(stream), 7_001):
            client.sendall(stream[start : start + 7_001])
        reader = hiredis.Reader()
        reader.feed(received(client))
        hello, ok, value, status, bye = (reader.gets() for _ in range(5))
        assert hello[b"proto"] == 3
        assert (ok, value, bye) == (b"OK", b"v" * 100_000, b"OK")
        assert status[b"name"] == b"store"
        assert not reader.has_data()


@pytest.mark.parametrize(
    "rubbish",
    [
        b">1000000000\r\n",
        b"*1\r\n:1\r\n",
        b"*2000000\r\n",
        b"*1\r\n$99999999999\r\n",
        b"x" * 70_000,
    ],
)
def test_rubbish_ends_one_client_with_a_reason(tmp_path: Path, rubbish: bytes) -> None:
    data = tmp_path / "store"
    with serving(data) as daemon, joined(data) as other:
        with joined(data) as client:
            client.sendall(encode_request(b"PING") + rubbish + b"\r\n")
            client.shutdown(socket.SHUT_WR)
            replies = received(client)
        assert replies.startswith(b"+PONG\r\n-ERR ")
        other.sendall(encode_request(b"QUIT"))
        assert received(other) == b"+OK\r\n"
        assert "Traceback" not in daemon.log


def test_clients_that_leave_in_the_middle_do_no_harm(tmp_path: Path) -> None:
    data = tmp_path / "store"
    with serving(data) as daemon:
        replicator("put", "k", "v" * 100_000, "--data", str(data))
        for _ in range(20):
            with joined(data) as client:
                client.sendall(encode_request(b"GET", b"k") * 50 + b"*3\r\n$3\r\nSET\r\n$1\r\n")
        assert replicator("get", "k", "--data", str(data)).exit_code == 0
        assert "Traceback" not in daemon.log


def test_more_clients_than_there_is_room_for_are_told(tmp_path: Path) -> None:
    data = tmp_path / "store"
    room = 20
    with serving(data) as daemon:
        limit = RESP_DESCRIPTORS_LEFT + room
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        with ExitStack() as clients:
            for _ in range(room):
                client = clients.enter_context(joined(data))
                client.sendall(encode_request(b"PING"))
                assert client.recv(7) == b"+PONG\r\n"
            with joined(data) as one_more:
                assert received(one_more) == b"-ERR max number of clients reached\r\n"
            refused = replicator("get", "k", "--data", str(data))
            assert refused.exit_code == 4
            assert "refuses: max number of clients" in refused.stderr
        until(lambda: replicator("get", "k", "--data", str(data)).exit_code == 1)


def test_a_daemon_that_is_stopped_does_not_hang_a_command_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "GREETING_SECONDS", 0.2)
    data = tmp_path / "store"
    with serving(data) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        with (
            pytest.raises(UnreachableError, match="does not answer"),
            door.open_door(data, DEFAULT),
        ):
            pass
        daemon.process.send_signal(signal.SIGCONT)


def test_a_load_that_loses_its_daemon_is_repeated(tmp_path: Path) -> None:
    data = tmp_path / "store"
    file = tmp_path / "many.tsv"
    count = 20_000
    file.write_bytes(b"".join(b"key%06d\tvalue\n" % number for number in range(count)))
    command = ["load", str(file), "--data", str(data), "--json"]
    with serving(data) as daemon:
        load = subprocess.Popen(
            [REPLICATOR, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert load.stdout is not None and load.stderr is not None
        cut_at = json.loads(load.stdout.readline())["written"]
        daemon.end(signal.SIGKILL)
        load.stdout.read()
        assert load.wait() == 4
        assert "went away" in load.stderr.read()
        load.stdout.close()
        load.stderr.close()
    with serving(data):
        report = documents(*command[:-1])[-1]
        assert report["unchanged"] >= cut_at
        assert report["written"] + report["unchanged"] == count
        assert len(documents("scan", "--data", str(data))) == count
        # One version a key was ever made.
        before = documents("status", "--data", str(data))[0]
        assert before["counters"]["writes"] == report["written"]


def test_requests_in_flight_do_not_keep_a_daemon_from_ending(tmp_path: Path) -> None:
    data = tmp_path / "store"
    with serving(data, "--peer", "127.0.0.1:1") as daemon, joined(data) as client:
        client.sendall(encode_request(b"PING"))
        assert client.recv(7) == b"+PONG\r\n"
        client.sendall(encode_request(b"REPL.SYNC", b"600000"))
        assert daemon.end() == 0


def test_daemons_come_and_go_on_one_directory(tmp_path: Path) -> None:
    data = tmp_path / "store"
    for turn in range(3):
        daemon = Daemon(data, "--listen", "127.0.0.1:0")
        try:
            assert replicator("put", "turn", str(turn), "--data", str(data)).exit_code == 0
        finally:
            assert daemon.end() == 0
    assert replicator("get", "turn", "--data", str(data)).stdout == "2\n"
