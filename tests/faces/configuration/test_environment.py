"""Environment variables: every key, lists and switches, secrets taken out, strangers left alone."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import ConfigError
from replicator.faces.access import read_access
from replicator.faces.configuration import Environment, Given
from replicator.faces.configuration.environment import NOTHING, SECRET_VARIABLES
from replicator.faces.configuration.sections import KEYS, Key


def value_of(variable: str, text: str) -> object:
    """What a variable comes to in force."""
    source = Given(None, Environment.take({variable: text}))
    found, config = source.examine("")
    assert config is not None, found
    key = next(key for key in KEYS.values() if key.variable == variable)
    return getattr(getattr(config.file, key.section), key.name)


def wrong(environ: dict[str, str]) -> list[str]:
    found, config = Given(None, Environment.take(environ)).examine("")
    assert config is None
    return [str(mistake) for mistake in found]


def sample(key: Key) -> tuple[str, object]:
    """A text that is not the default, and what it means."""
    if key.is_switch:
        return str(not key.default).upper(), not key.default
    if key.is_number:
        return "4000", 4000
    special = {
        "discovery.interfaces": "eth0",
        "discovery.srv": "_a._tcp.b",
        "resolver.name": "maximum",
        "resolver.mode": "equal-clock",
        "resp.listen": "1",
        "resp.socket_mode": "0600",
        "resp.notify_keyspace_events": "KEA",
        "http.listen": "1",
        "log.level": "error",
        "log.format": "json",
    }
    text = special.get(str(key), " a:1, ,b:2," if key.is_list else "some")
    meant = tuple(part.strip() for part in text.split(",") if part.strip())
    return text, meant if key.is_list else text


BESIDE = {
    "tls": {"REPLICATOR_TLS_CA": "c", "REPLICATOR_TLS_CERTIFICATE": "c", "REPLICATOR_TLS_KEY": "k"},
    "resp": {"REPLICATOR_RESP_CERTIFICATE": "c", "REPLICATOR_RESP_KEY": "k"},
    "http": {"REPLICATOR_HTTP_CERTIFICATE": "c", "REPLICATOR_HTTP_KEY": "k"},
    "replication": {"REPLICATOR_REPLICATION_INTERVAL_MAX": "86400"},
}
"""What keys of a section need, to be looked at alone."""


@pytest.mark.parametrize("key", KEYS.values(), ids=str)
def test_every_key_is_a_variable(key: Key) -> None:
    text, meant = sample(key)
    source = Given(None, Environment.take({**BESIDE.get(key.section, {}), key.variable: text}))
    found, config = source.examine("")
    assert config is not None, [str(one) for one in found]
    (row,) = [row for row in config.values() if row[0] == str(key)]
    assert row[1] == meant
    assert str(row[2]) == key.variable


def test_switches_in_many_words() -> None:
    for text in ("true", "1", "Yes", "on"):
        assert value_of("REPLICATOR_REPLICATION_SYNC", text) is True
    for text in ("false", "0", "NO", "off"):
        assert value_of("REPLICATOR_DISCOVERY_MULTICAST", text) is False


def test_an_empty_variable_is_none() -> None:
    assert Environment.take({"REPLICATOR_NODE_NAME": "", "REPLICATOR_LISTEN_PORT": ""}) == NOTHING


def test_the_short_form_of_the_directory() -> None:
    source = Given(None, Environment.take({"REPLICATOR_DATA": "here"}))
    _, config = source.examine("")
    assert config is not None and config.data == Path("here")
    assert wrong({"REPLICATOR_DATA": "a", "REPLICATOR_NODE_DATA": "b"}) == [
        "REPLICATOR_DATA: contradicts REPLICATOR_NODE_DATA: keep one"
    ]


def test_relative_paths_start_where_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[access]\nadmin_password_file = "p"\nhttp_token_file = "t"\n')
    environ = {"REPLICATOR_ACCESS_HTTP_TOKEN_FILE": "t"}
    config = Given(file, Environment.take(environ)).read()
    assert config.access.files == {"admin_password": tmp_path / "p", "http_token": Path("t")}


@pytest.mark.parametrize(
    ("variable", "text", "what"),
    [
        ("REPLICATOR_LISTEN_PORT", "x", "'x': write a number"),
        ("REPLICATOR_LISTEN_PORT", "1.5", "1.5: write a whole number"),
        ("REPLICATOR_LISTEN_PORT", "70000", "port=70000: write a number up to 65535"),
        ("REPLICATOR_LISTEN_PORT", "1_0", "10.0: write a whole number"),
        ("REPLICATOR_REPLICATION_SYNC", "maybe", "'maybe': write true or false"),
        ("REPLICATOR_REPLICATION_LINGER", "nan", "linger=nan: write seconds"),
        ("REPLICATOR_NODE_NAME", "\udcff", "is not UTF-8"),
        ("REPLICATOR_PEERS_STATIC", "a:1,b", "peers: 'b' is no address"),
        ("REPLICATOR_LOG_LEVEL", "loud", "'loud': write \"debug\" or"),
        ("REPLICATOR_NODE_NMAE", "a", "unknown variable: did you mean REPLICATOR_NODE_NAME?"),
        ("REPLICATOR_TLS_QQQQQQQQQQQQQQ", "a", "unknown variable: docs/CONFIG.md lists all"),
        ("REPLICATOR_LOGLEVEL", "a", "unknown variable: did you mean REPLICATOR_LOG_LEVEL?"),
        ("REPLICATOR_ACCESS_ADMIN_PASWORD", "a", "unknown variable: did you mean"),
    ],
)
def test_what_cannot_be_meant(variable: str, text: str, what: str) -> None:
    (found,) = wrong({variable: text})
    assert found.startswith(f"{variable}: {what}")


def test_what_is_not_ours_is_left_alone() -> None:
    environ = {
        "REPLICATOR_IMAGE_TAG": "1",
        "REPLICATOR_SERVICE_HOST": "10.0.0.1",
        "REPLICATOR_SERVICE_PORT": "9000",
        "REPLICATOR_SERVICE_PORT_REPLICATION": "9000",
        "REPLICATOR_PORT": "tcp://10.0.0.1:9000",
        "REPLICATOR_PORT_9000_TCP_ADDR": "10.0.0.1",
        "REPLICATOR_HTTP_SERVICE_HOST": "10.0.0.1",
        "REPLICATOR_HTTP_PORT": "tcp://10.0.0.1:8080",
        "REPLICATOR_LISTEN_PORT": "tcp://10.0.0.1:9000",
        "OTHER_LISTEN_PORT": "1",
    }
    before = dict(environ)
    assert Environment.take(environ) == NOTHING
    assert environ == before


def test_secrets_are_taken_out_and_shown_nowhere() -> None:
    environ = {variable: f"hush {number}" for number, variable in enumerate(SECRET_VARIABLES)}
    environ["REPLICATOR_ACCESS_HTTP_TOKEN"] = "hush"
    environment = Environment.take(environ)
    assert environ == {}
    assert {secret.where for secret in environment.secrets.values()} == set(SECRET_VARIABLES)
    source = Given(None, environment)
    config = source.read()
    assert config.access.has_password and config.access.has_token
    assert config.access.secrets["http_token"].reveal() == b"hush"
    assert "hush" not in f"{environment!r} {source!r} {config!r} {list(config.values())}"


def test_a_secret_that_cannot_be_is_not_repeated() -> None:
    (found,) = wrong({"REPLICATOR_ACCESS_ADMIN_PASSWORD": "hush\nhush"})
    assert "REPLICATOR_ACCESS_ADMIN_PASSWORD is more than one line" in found
    assert "hush" not in found


def test_of_the_process_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATOR_ACCESS_ADMIN_PASSWORD", "hush\n")
    environment = Environment.take(os.environ)
    assert "REPLICATOR_ACCESS_ADMIN_PASSWORD" not in os.environ
    assert environment.secrets["admin_password"].reveal() == b"hush"


ANY_TEXT = st.text(st.characters(exclude_characters="\0")) | st.sampled_from(
    ["true", "1", "-1", "1e999", "nan", "127.0.0.1:1", "[::1]:0", "a:1,b:2", "~x/y", "../..", ","]
)


@given(st.dictionaries(st.sampled_from([key.variable for key in KEYS.values()]), ANY_TEXT))
def test_any_variables_are_read_or_refused(environ: dict[str, str]) -> None:
    found, config = Given(None, Environment.take(dict(environ))).examine("")
    assert (config is None) == bool(found)
    for mistake in found:
        assert str(mistake).startswith("REPLICATOR_") or mistake.key == "tls"


@given(st.dictionaries(st.sampled_from(sorted(SECRET_VARIABLES)), ANY_TEXT))
def test_any_secrets_are_read_or_refused(environ: dict[str, str]) -> None:
    _, config = Given(None, Environment.take(dict(environ))).examine("")
    if config is not None:
        with suppress(ConfigError):
            read_access(config.access)
