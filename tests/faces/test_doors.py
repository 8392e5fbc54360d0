"""The doors of a daemon: opened as configured, refused to strangers, with new keys on a reload."""

import logging
import socket
from pathlib import Path

import pytest
import trustme

from replicator.errors import ConfigError, UsageError
from replicator.faces.access import Role
from replicator.faces.configuration import Config, Environment, Given
from replicator.faces.doors import Doors, read_keys


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a server's certificate and a password."""
    made = trustme.CA().issue_cert("a.example")
    made.cert_chain_pems[0].write_to_path(tmp_path / "a.crt")
    made.private_key_pem.write_to_path(tmp_path / "a.key")
    (tmp_path / "a.key").chmod(0o600)
    (tmp_path / "password").write_text("hush")
    (tmp_path / "password").chmod(0o600)
    return tmp_path


TLS = 'certificate = "a.crt"\nkey = "a.key"\n'
PASSWORD = '[access]\nadmin_password_file = "password"\n'
TOKEN = '[access]\nhttp_token_file = "password"\n'


def configured(place: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    given = Given(place / "node.toml", Environment.take(environ or {}))
    found, config = given.examine(text)
    assert config is not None, found
    return config


def refusal(place: Path, text: str) -> str | None:
    """Why these doors are not opened."""
    try:
        Doors(configured(place, text)).close()
    except UsageError as error:
        return str(error)
    return None


def test_without_a_word_there_are_none(place: Path) -> None:
    doors = Doors(configured(place, ""))
    doors.open()
    assert (doors.resp, doors.http, doors.unix) == ([], [], None)
    assert (doors.resp_address, doors.http_address) == (None, None)
    assert doors.keys.access.default_role is Role.ADMIN
    doors.close()


def test_all_of_them(place: Path) -> None:
    text = '[resp]\nlisten = "0"\nsocket = "s"\n[http]\nlisten = "[::1]:0"\n'
    doors = Doors(configured(place, text))
    try:
        assert doors.resp_address is not None and doors.http_address is not None
        for address in (doors.resp_address, doors.http_address):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
        assert not (place / "s").exists()
        doors.open()
        for address in (doors.resp_address, doors.http_address):
            socket.create_connection(address).close()
        assert doors.http_address.host == "::1"
        assert (place / "s").is_socket()
    finally:
        doors.close()
    assert not (place / "s").exists()
    doors.close()


def test_strangers_need_tls_and_a_secret(place: Path) -> None:
    resp = '[resp]\nlisten = "0.0.0.0:0"\n'
    http = '[http]\nlisten = "0.0.0.0:0"\n'
    assert "without TLS (" in (refusal(place, resp) or "")
    assert "without TLS (" in (refusal(place, resp + PASSWORD) or "")
    assert "without a password (" in (refusal(place, resp + TLS) or "")
    # The token is none of RESP's, nor a password of HTTP's.
    assert "without a password (" in (refusal(place, resp + TLS + TOKEN) or "")
    assert "without a token (" in (refusal(place, http + TLS + PASSWORD) or "")
    assert "without TLS (" in (refusal(place, http + TOKEN) or "")
    assert refusal(place, resp + TLS + PASSWORD) is None
    assert refusal(place, http + TLS + TOKEN) is None
    assert refusal(place, resp + "insecure = true\n") is None
    assert refusal(place, http + "insecure = true\n") is None
    # What one section allows, the other does not.
    assert "[http] refuses" in (refusal(place, f"{resp}insecure = true\n{http}") or "")


def test_a_socket_for_everybody_needs_a_password(place: Path) -> None:
    text = '[resp]\nsocket = "s"\nsocket_mode = "0666"\n'
    assert "to every user (socket_mode 0666) without a password" in (refusal(place, text) or "")
    assert refusal(place, text + PASSWORD) is None
    assert refusal(place, text + "insecure = true\n") is None
    assert refusal(place, text.replace("0666", "0664")) is None


def test_what_was_allowed_is_warned_of(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f'[resp]\nlisten = "0.0.0.0:0"\ninsecure = true\n[http]\nlisten = "0"\n{PASSWORD}'
    doors = Doors(configured(place, text))
    doors.warn()
    doors.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "[resp] listens on 0.0.0.0 without TLS: whoever" in record.getMessage()


def test_new_keys_are_used_by_the_contexts_that_connections_have(place: Path) -> None:
    text = f'[resp]\nlisten = "0"\n{TLS}'
    doors = Doors(configured(place, text))
    context = doors.keys.resp
    assert context is not None
    keys = read_keys(configured(place, text + PASSWORD))
    doors.use(keys)
    assert doors.keys.resp is context
    assert context._current is keys.resp._current  # type: ignore[union-attr]
    assert doors.keys.access.default_role is None
    # Whether there is TLS at all is not for a reload to say.
    doors.use(read_keys(configured(place, '[resp]\nlisten = "0"\n')))
    assert doors.keys.resp is context
    doors.close()


def test_nothing_stays_open_where_one_door_does_not_open(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match="the port is in use"):
            Doors(configured(place, f'[resp]\nlisten = "0"\n[http]\nlisten = "{port}"\n'))
    with pytest.raises(ConfigError, match="does not resolve"):
        Doors(configured(place, '[resp]\nlisten = "host.invalid:1"\n'))
