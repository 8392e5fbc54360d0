"""``config check`` and ``config show``: what people and programs read."""

import json
from pathlib import Path

import pytest

from replicator.faces.cli.app import cli
from replicator.faces.configuration.sections import KEYS
from tests.cli.daemons import documents, replicator, replicator_process

WRONG = """
[node]
nmae = "a"
[replication]
fanout = 0
sync = "\x1b[2J"
"""


def test_every_mistake_by_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(WRONG.replace("\x1b", "\\u001b"))
    result = replicator("config", "check", str(file))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{file}: line 3: node.nmae: unknown key: did you mean name?",
        f"{file}: line 5: replication.fanout: fanout=0: write a whole number from 1 to 65535",
        f"{file}: line 6: replication.sync: '\\x1b[2J': write true or false",
    ]
    told = documents("config", "check", str(file))
    assert [(one["line"], one["key"]) for one in told[:-1]] == [
        (3, "node.nmae"),
        (5, "replication.fanout"),
        (6, "replication.sync"),
    ]
    assert told[-1] == {"done": True, "mistakes": 3}


def test_no_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[node]\nname = "a"\n')
    result = replicator("config", "check", str(file))
    assert (result.exit_code, result.stdout) == (0, f"{file}: no mistakes\n")
    assert documents("config", "check", str(file)) == [{"done": True, "mistakes": 0}]
    assert replicator("config", "check", str(tmp_path / "missing")).exit_code == 2


def test_what_is_lacking_on_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush")
    secret.chmod(0o644)
    file = tmp_path / "node.toml"
    file.write_text(
        """
[listen]
host = "0.0.0.0"
[resp]
listen = "0.0.0.0:6379"
socket = "s"
socket_mode = "0666"
socket_group = "no such group"
[http]
listen = "0.0.0.0:8080"
certificate = "missing.crt"
key = "missing.key"
[access]
http_token_file = "password"
"""
    )
    result = replicator("config", "check", str(file))
    assert result.exit_code == 1
    lines = [line.removeprefix(f"{file}: ") for line in result.stdout.splitlines()]
    assert [line.split(": ")[:2] for line in lines] == [
        ["line 3", "listen.host"],
        ["line 14", "access.http_token_file"],
        ["line 12", "http.key"],
        ["line 5", "resp.listen"],
        ["line 7", "resp.socket_mode"],
        ["line 8", "resp.socket_group"],
    ]
    assert "refuses to listen on 0.0.0.0 without TLS" in lines[0]
    assert "open to other users" in lines[1]
    assert "without TLS (certificate and key under [resp]) and a password" in lines[3]
    assert "to every user (socket_mode 0666) without a password" in lines[4]
    assert replicator("config", "check", "--file-only", str(file)).exit_code == 0


def test_files_of_tls_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[tls]\nca = "ca.crt"\ncertificate = "a.crt"\nkey = "a.key"\n')
    result = replicator("config", "check", str(file))
    assert f"{file}: line 2: tls.ca: {tmp_path}/ca.crt cannot be read" in result.stdout


def test_variables_count_where_it_will_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "node.toml"
    file.write_text("")
    monkeypatch.setenv("REPLICATOR_REPLICATION_FANOUT", "0")
    result = replicator("config", "check", str(file))
    assert result.stdout.startswith("REPLICATOR_REPLICATION_FANOUT: fanout=0: write a whole")
    assert replicator("config", "check", "--file-only", str(file)).exit_code == 0


def test_show_tells_every_value_and_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[node]\n\nname = "a"\n[access]\nadmin_password_file = "p"\n')
    monkeypatch.setenv("REPLICATOR_PEERS_STATIC", "a:1,b:2")
    monkeypatch.setenv("REPLICATOR_ACCESS_HTTP_TOKEN", "hush")
    command = ("config", "show", "--config", str(file), "--listen", "127.0.0.1:0", "--insecure")
    result = replicator(*command)
    assert result.exit_code == 0
    rows = {
        row[0]: row[1:]
        for row in (line.split(maxsplit=1) for line in result.stdout.split("\n") if line)
    }
    assert list(rows) == [*KEYS, "access.http_token"]
    shown = {key: " ".join(row[0].split()) for key, row in rows.items()}
    assert shown["node.name"] == f'"a" {file}:3'
    assert shown["access.admin_password_file"] == f'"{tmp_path}/p" {file}:5'
    assert shown["peers.static"] == '["a:1", "b:2"] REPLICATOR_PEERS_STATIC'
    assert shown["listen.port"] == "0 --listen"
    assert shown["http.insecure"] == "true --insecure"
    assert shown["node.data"] == "- default"
    assert shown["access.http_token"] == "(hidden) REPLICATOR_ACCESS_HTTP_TOKEN"
    assert "hush" not in result.output


def test_show_for_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATOR_ACCESS_ADMIN_PASSWORD", "hush")
    monkeypatch.setenv("REPLICATOR_LOG_LEVEL", "debug")
    told = {one["key"]: one for one in documents("config", "show", "--name", "a")}
    assert told["log.level"] == {
        "key": "log.level",
        "value": "debug",
        "hidden": False,
        "kind": "environment",
        "source": "REPLICATOR_LOG_LEVEL",
        "line": None,
    }
    assert told["node.name"]["kind"] == "flag"
    assert told["replication.fanout"]["kind"] == "default"
    secret = told["access.admin_password"]
    assert (secret["value"], secret["hidden"]) == (None, True)
    assert "hush" not in json.dumps(told)


def test_show_tells_all_mistakes_instead() -> None:
    result = replicator_process("config", "show", "--resp", "nowhere", "--http", "70000")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "replicator: --resp: 'nowhere' is no address: the port is missing: nowhere:9000",
        "--http: '127.0.0.1:70000' is no address: its port must be a number from 0 to 65535",
    ]


def test_options_of_show_are_those_of_serve() -> None:
    group = cli.commands["config"]
    show = group.commands["show"]  # type: ignore[attr-defined]
    assert [one.opts for one in show.params] == [one.opts for one in cli.commands["serve"].params]
