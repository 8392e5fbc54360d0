"""A daemon from start to end, as the service manager and signals have it."""

import json
import os
import pty
import resource
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from replicator.faces.resp import encode_request
from tests.cli.daemons import (
    REPLICATOR,
    WAIT_SECONDS,
    Daemon,
    documents,
    replicator,
    replicator_process,
    serving,
    until,
)
from tests.faces.servicemanager import Manager

pytestmark = pytest.mark.processes

SLOW = str(Path(__file__).with_name("slow.py"))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"{'@' if request.param == 'abstract' else ''}{tmp_path}/notify")
    yield made
    made.socket.close()


def entries(daemon: Daemon) -> list[dict[str, str]]:
    """What it has logged."""
    return [json.loads(line) for line in daemon.log.splitlines()]


def messages(daemon: Daemon, level: str) -> list[str]:
    return [one["message"] for one in entries(daemon) if one["level"] == level]


def answer(address: str, *request: bytes) -> bytes:
    """The first reply of a daemon that listens by TCP."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_SECONDS) as client:
        client.sendall(encode_request(*request))
        return client.recv(4096)


def role_of(address: str, *credentials: bytes) -> bytes:
    """What a client is that has shown these."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_SECONDS) as client:
        client.sendall(encode_request(b"AUTH", *credentials))
        if (reply := client.recv(4096)) != b"+OK\r\n":
            return reply
        client.sendall(encode_request(b"GET", b"k") + encode_request(b"DEL", b"k"))
        client.sendall(encode_request(b"REPL.FORGET", b"nobody"))
        client.shutdown(socket.SHUT_WR)
        replies = b"".join(iter(lambda: client.recv(4096), b""))
        return b"%d refused" % replies.count(b"-NOPERM")


# The service manager


def test_the_manager_is_told_of_every_turn(tmp_path: Path, manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "300000"}
    told: list[str] = []

    def heard(what: str) -> bool:
        told.extend(manager.heard())
        return any(one.startswith(what) for one in told)

    config = tmp_path / "node.toml"
    config.write_text("")
    with serving(tmp_path / "store", "--config", str(config), environ=environ) as daemon:
        until(lambda: heard("READY=1"))
        until(lambda: told.count("WATCHDOG=1") > 3 or heard("never"))
        told.clear()
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: heard("RELOADING=1\nMONOTONIC_USEC="))
        until(lambda: heard("READY=1\nSTATUS="))
        assert "refused" not in str(told)
        config.write_text("x")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: heard("READY=1\nSTATUS=the last reload was refused"))
        assert daemon.end() == 0
        assert heard("STOPPING=1")


def test_a_daemon_whose_store_has_failed_gives_no_more_signs_of_life(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "300000"}
    data = tmp_path / "store"
    with manager.socket, serving(data, environ=environ) as daemon:
        until(lambda: "WATCHDOG=1" in manager.heard())
        # No file takes another byte: neither LevelDB's log nor one that would replace it. So the
        # very first write fails, which waits for the gate.
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, 0))
        assert replicator("put", "k", "v", "--data", str(data)).exit_code == 3
        told: list[str] = []
        until(lambda: told.extend(manager.heard()) or "STATUS=" in str(told))  # type: ignore[func-returns-value]
        assert told[-1] == "STATUS=the store has failed, and waits for a restart"
        assert replicator("get", "k", "--data", str(data)).exit_code == 1  # the loop turns
        assert manager.heard() == []


# Ending


def test_a_daemon_that_cannot_close_ends_within_its_bound(tmp_path: Path) -> None:
    within = (sys.executable, SLOW, "0.5", "600")
    with serving(tmp_path / "store", within=within) as daemon:
        assert replicator("put", "k", "v", "--data", str(daemon.data)).exit_code == 0
        assert daemon.end() == 3
        assert messages(daemon, "error") == [
            "closing has not come to an end within 0.5 s: it ends now; what was acknowledged is "
            "there"
        ]
    assert replicator("get", "k", "--data", str(tmp_path / "store")).stdout == "v\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path / "store", within=(sys.executable, SLOW, "600", "600")) as daemon:
        daemon.process.send_signal(number)
        until(lambda: f"closing: {number.name}" in daemon.log)
        assert daemon.end(number) == 128 + number


def test_several_clients_may_ask_for_the_end(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "--resp", "0") as daemon:
        host, _, port = daemon.ready["resp"].rpartition(":")
        clients = [socket.create_connection((host, int(port)), WAIT_SECONDS) for _ in range(5)]
        for client in clients:
            with suppress(OSError):
                client.sendall(encode_request(b"SHUTDOWN"))
        assert daemon.process.wait(WAIT_SECONDS) == 0
        assert messages(daemon, "info")[-1] == "closing: SHUTDOWN"
        for client in clients:
            client.close()


def test_a_hangup_while_it_closes_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "store", within=(sys.executable, SLOW, "600", "0.5")) as daemon:
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: "closing: SIGTERM" in daemon.log)
        for _ in range(3):
            daemon.process.send_signal(signal.SIGHUP)
        assert daemon.process.wait(WAIT_SECONDS) == 0


def test_replies_of_what_was_read_are_sent_before_the_end(tmp_path: Path) -> None:
    data = tmp_path / "store"
    with serving(data, "--resp", "0") as daemon:
        host, _, port = daemon.ready["resp"].rpartition(":")
        with socket.create_connection((host, int(port)), WAIT_SECONDS) as client:
            client.sendall(encode_request(b"SET", b"k", b"v" * 1000) * 500)
            assert client.recv(5) == b"+OK\r\n"
            daemon.process.send_signal(signal.SIGTERM)
            replies = 5
            # What it had not read by then resets the connection, after the replies.
            with suppress(ConnectionResetError):
                while part := client.recv(1 << 16):
                    replies += len(part)
        assert replies % 5 == 0
        assert daemon.process.wait(WAIT_SECONDS) == 0
    assert documents("status", "--data", str(data))[0]["daemon"] is False


# Reloading


def test_a_reload_takes_peers_and_the_log_level(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    config = tmp_path / "b.toml"
    alone = "[replication]\ndial_members = false\n"
    config.write_text(alone)
    with (
        serving(a, "--config", str(config)) as first,
        serving(b, "--config", str(config)) as second,
    ):
        assert replicator("put", "k", "v", "--data", str(a)).exit_code == 0
        static = f'[peers]\nstatic = ["{first.address}"]\n'
        config.write_text(f'{static}[log]\nlevel = "debug"\n{alone}fanout = 3\n')
        second.process.send_signal(signal.SIGHUP)
        until(lambda: replicator("get", "k", "--data", str(b)).stdout == "v\n")
        until(lambda: any("not in force" in one for one in messages(second, "warning")))
        (told,) = [one for one in messages(second, "info") if one.startswith("reloaded")]
        assert told == (
            f"reloaded: peers added: {first.address}; log level: debug; passwords and certificates "
            "read again"
        )
        assert messages(second, "warning") == [
            "changed, but not in force before a restart: replication.fanout"
        ]
        config.write_text(f'[log]\nlevel = "error"\n{alone}')
        second.process.send_signal(signal.SIGHUP)
        until(lambda: documents("status", "--data", str(b))[0]["peers"] == [])
        assert len([one for one in messages(second, "info") if one.startswith("reloaded")]) == 1
        assert second.end() == 0


def test_a_bad_file_leaves_everything_as_it_was(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text("")
    with serving(tmp_path / "store", "--config", str(config)) as daemon:
        config.write_text('[peers]\nstatic = ["127.0.0.1:1"]\n[replication]\nfanout = 0\nx = 1\n')
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: messages(daemon, "error") != [])
        assert messages(daemon, "error") == [
            f"nothing was reloaded, all stays as it was: {config}: line 4: replication.fanout: "
            "fanout=0: write a whole number from 1 to 65535; "
            f"{config}: line 5: replication.x: unknown key: there are "
            + messages(daemon, "error")[0].partition("there are ")[2]
        ]
        config.unlink()
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: len(messages(daemon, "error")) == 2)
        assert "node.toml cannot be read" in messages(daemon, "error")[1]
        assert documents("status", "--data", str(daemon.data))[0]["peers"] == []
        assert daemon.end() == 0


def issue(ca: trustme.CA, directory: Path, name: str) -> None:
    made = ca.issue_cert(name)
    made.cert_chain_pems[0].write_to_path(directory / "resp.crt")
    made.private_key_pem.write_to_path(directory / "resp.key")
    (directory / "resp.key").chmod(0o600)


def name_shown(address: str, ca: trustme.CA) -> str:
    """The name in the certificate of who listens there."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    ca.configure_trust(context)
    context.check_hostname = False
    with (
        socket.create_connection((host, int(port)), WAIT_SECONDS) as plain,
        context.wrap_socket(plain) as safe,
    ):
        shown = safe.getpeercert()
        assert shown is not None
        names: tuple[tuple[str, str], ...] = shown["subjectAltName"]  # type: ignore[assignment]
        return names[0][1]


def test_a_reload_takes_certificates_and_passwords(tmp_path: Path) -> None:
    ca = trustme.CA()
    issue(ca, tmp_path, "old.example")
    password = tmp_path / "password"
    password.write_text("old\n")
    password.chmod(0o600)
    config = tmp_path / "node.toml"
    config.write_text(
        '[resp]\nlisten = "0.0.0.0:0"\ncertificate = "resp.crt"\nkey = "resp.key"\n'
        '[access]\nadmin_password_file = "password"\n'
    )
    with serving(tmp_path / "store", "--config", str(config)) as daemon:
        address = daemon.ready["resp"].replace("0.0.0.0", "127.0.0.1")
        assert name_shown(address, ca) == "old.example"
        issue(ca, tmp_path, "new.example")
        assert name_shown(address, ca) == "old.example"
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: name_shown(address, ca) == "new.example")
        # Without a password strangers could come in.
        config.write_text(config.read_text().partition("[access]")[0])
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: any("without a password" in one for one in messages(daemon, "error")))
        (tmp_path / "resp.key").write_text("garbage")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: any("resp.crt with" in one for one in messages(daemon, "error")))
        assert name_shown(address, ca) == "new.example"
        assert daemon.end() == 0
        assert "old\n" not in daemon.log


def test_passwords_are_those_of_the_last_reload(tmp_path: Path) -> None:
    files = {}
    for name in ("readonly", "application", "admin"):
        files[name] = tmp_path / name
        files[name].write_text(f"old {name}\n")
        files[name].chmod(0o600)
    config = tmp_path / "node.toml"
    keys = [f'{name}_password_file = "{name}"' for name in files]
    config.write_text("\n".join(['[resp]\nlisten = "0"\n[access]', *keys]))
    with serving(tmp_path / "store", "--config", str(config)) as daemon:
        address = daemon.ready["resp"]
        assert role_of(address, b"readonly", b"old readonly") == b"2 refused"
        assert role_of(address, b"application", b"old application") == b"1 refused"
        assert role_of(address, b"old admin") == b"0 refused"
        assert role_of(address, b"admin", b"old application").startswith(b"-WRONGPASS")
        files["admin"].write_text("new admin")
        assert role_of(address, b"new admin").startswith(b"-WRONGPASS")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: role_of(address, b"admin", b"new admin") == b"0 refused")
        assert role_of(address, b"admin", b"old admin").startswith(b"-WRONGPASS")
        assert role_of(address, b"readonly", b"old readonly") == b"2 refused"
        assert "new admin" not in daemon.log and "old admin" not in daemon.log


# Who may connect


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--resp", "0.0.0.0:0"], "[resp] refuses to listen on 0.0.0.0 without TLS"),
        (["--http", "[::]:0"], "[http] refuses to listen on :: without TLS"),
    ],
)
def test_listening_for_strangers_is_refused(
    tmp_path: Path, arguments: list[str], what: str
) -> None:
    data = tmp_path / "store"
    result = replicator_process("serve", "--data", str(data), *arguments)
    assert result.returncode == 2
    assert what in result.stderr
    assert "Traceback" not in result.stderr
    assert not data.exists()


def test_listening_for_strangers_is_warned_of(tmp_path: Path) -> None:
    arguments = ("--resp", "0.0.0.0:0", "--insecure")
    with serving(tmp_path / "store", *arguments) as daemon:
        (warning,) = messages(daemon, "warning")
        assert warning.startswith("[resp] listens on 0.0.0.0 without TLS or a secret: whoever")
        address = daemon.ready["resp"].replace("0.0.0.0", "127.0.0.1")
        assert answer(address, b"SET", b"k", b"v") == b"+OK\r\n"


def test_a_password_shuts_strangers_out(tmp_path: Path) -> None:
    environ = {"REPLICATOR_ACCESS_ADMIN_PASSWORD": "hush"}
    data = tmp_path / "store"
    path = tmp_path / "redis.sock"
    config = tmp_path / "node.toml"
    config.write_text(f'[resp]\nsocket = "{path}"\nsocket_mode = "0666"\n')
    with serving(data, "--config", str(config), "--resp", "0", environ=environ) as daemon:
        assert answer(daemon.ready["resp"], b"SET", b"k", b"v").startswith(b"-NO")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(encode_request(b"SET", b"k", b"v"))
            assert client.recv(100).startswith(b"-NO")
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        # The socket in the data directory is its owner's, who needs none.
        assert replicator("put", "k", "v", "--data", str(data)).exit_code == 0
        assert "hush" not in daemon.log + json.dumps(documents("status", "--data", str(data)))
        assert b"hush" not in Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes()
        assert daemon.end() == 0
    assert not path.exists()


def test_what_a_daemon_starts_does_not_inherit_its_secrets(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    config = tmp_path / "node.toml"
    script = f"env > {seen}.new; mv {seen}.new {seen}"
    config.write_text(f'[discovery]\ncommand = ["sh", "-c", "{script}"]\n')
    environ = {
        "REPLICATOR_ACCESS_ADMIN_PASSWORD": "hush",
        "REPLICATOR_ACCESS_HTTP_TOKEN": "hush-hush",
        "NOTIFY_SOCKET": str(tmp_path / "nobody"),
        "VISIBLE": "1",
    }
    with serving(tmp_path / "store", "--config", str(config), environ=environ):
        until(seen.exists)
    text = seen.read_text()
    assert "VISIBLE=1" in text
    assert "hush" not in text
    assert "NOTIFY_SOCKET" not in text


def test_a_socket_for_programs_of_other_users(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    environ = {"REPLICATOR_RESP_SOCKET": str(path)}
    with serving(tmp_path / "store", environ=environ) as daemon:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(encode_request(b"PING"))
            assert client.recv(100) == b"+PONG\r\n"
        second = replicator_process(
            *("serve", "--data", str(tmp_path / "other"), "--listen", "127.0.0.1:0"),
            *("--config", str(_config(tmp_path, f'[resp]\nsocket = "{path}"\n'))),
        )
        assert second.returncode == 2
        assert f"another program listens on {path}" in second.stderr
        daemon.end(signal.SIGKILL)
    assert path.exists()
    with serving(tmp_path / "store", environ=environ) as daemon:
        assert daemon.end() == 0
    assert not path.exists()


def _config(directory: Path, text: str) -> Path:
    path = directory / "other.toml"
    path.write_text(text)
    return path


def test_a_terminal_gets_lines(tmp_path: Path) -> None:
    controlling, terminal = pty.openpty()
    process = subprocess.Popen(
        [REPLICATOR, "serve", "--data", tmp_path / "store", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.wait(WAIT_SECONDS) == 0
    process.stdout.close()
    text = os.read(controlling, 1 << 16).decode()
    assert " INFO closing: SIGTERM" in text
    assert not text.startswith("{")
