"""The TOML reader: strict, names every mistake, its line, and what was probably meant."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import Settings
from replicator.core.resolvers import latest_timestamp
from replicator.errors import ConfigError
from replicator.faces.configuration import (
    DEFAULT,
    Config,
    Environment,
    File,
    Given,
    read_config,
)
from replicator.faces.configuration.config import HttpConfig, LogConfig, RespConfig
from replicator.faces.configuration.sections import KEYS, ReplicationSection
from replicator.faces.keywords import make_settings
from replicator.faces.limits import CONFIG_BYTES_MAX
from replicator.faces.listening import TlsServerFiles
from replicator.net.address import Address

FILE = Path("/base/node.toml")


def mistakes(text: str) -> list[str]:
    """What is wrong with a file, without its name."""
    found, config = Given(FILE).examine(text)
    assert (config is None) == bool(found)
    return [str(mistake).removeprefix(f"{FILE}: ") for mistake in found]


def in_force(text: str) -> Config:
    found, config = Given(FILE).examine(text)
    assert found == []
    assert config is not None
    return config


def test_nothing_at_all_is_the_default() -> None:
    assert in_force("") == DEFAULT
    assert DEFAULT.settings == Settings()


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(
        """
        [node]
        name = "a"
        data = "store"
        cluster = "orders"
        [listen]
        host = "::1"
        port = 0
        [peers]
        static = ["[::1]:9001", "b.example:9000"]
        [replication]
        sync = true
        interval_max = 5
        [resolver]
        name = "latest_timestamp"
        mode = "equal-clock"
        timeout = 0.5
        """
    )
    config = read_config(path)
    assert config.data == tmp_path / "store"
    assert config.resolver is latest_timestamp
    assert config.resolver_mode == "equal-clock"
    assert config.settings == Settings(
        host="::1",
        port=0,
        peers=("[::1]:9001", "b.example:9000"),
        cluster="orders",
        name="a",
        sync=True,
        interval_max=5.0,
        resolver_timeout=0.5,
    )


def test_tls_files_lie_beside_the_configuration() -> None:
    config = in_force(
        """
        [listen]
        insecure = true
        [tls]
        ca = "tls/ca.crt"
        certificate = "/etc/a.crt"
        key = "a.key"
        """
    )
    assert config.settings.insecure
    assert config.settings.tls == {
        "ca": "/base/tls/ca.crt",
        "certificate": "/etc/a.crt",
        "key": "/base/a.key",
    }
    assert make_settings(tls={"ca": Path("c"), "certificate": "a", "key": "k"}).tls == {
        "ca": "c",
        "certificate": "a",
        "key": "k",
    }


def test_every_mistake_is_named_with_its_line() -> None:
    text = """
[node]
nmae = "a"

[listen]
host = 1

[replicaton]
sync = true

[replication]
sync = "yes"
"""
    assert mistakes(text) == [
        "line 3: node.nmae: unknown key: did you mean name?",
        "line 6: listen.host: 1: write text in quotes",
        "line 8: replicaton: unknown section: did you mean replication?",
        "line 12: replication.sync: 'yes': write true or false",
    ]


def test_every_value_out_of_range_is_named_with_its_line() -> None:
    text = """
[listen]
port = 70000
[peers]
static = ["a:1", "b"]
[replication]
interval_min = -1
linger = inf
connections_max = 0
[resolver]
name = "latest_timestmp"
timeout = 0
"""
    assert mistakes(text) == [
        "line 3: listen.port: port=70000: write a number up to 65535, 0 for a free one, or None "
        "not to listen",
        "line 5: peers.static: peers: 'b' is no address: the port is missing: b:9000",
        "line 7: replication.interval_min: interval_min=-1.0: write seconds, from 0.001 to 86400",
        "line 8: replication.linger: linger=inf: write seconds, from 0 to 86400",
        "line 9: replication.connections_max: connections_max=0: write a whole number from 1 to "
        "65535",
        "line 11: resolver.name: there is no resolver 'latest_timestmp': did you mean "
        "latest_timestamp?",
        "line 12: resolver.timeout: resolver_timeout=0.0: write seconds, from 0.001 to 86400",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "zzz = 1",
            "line 1: zzz: unknown section: there are access, discovery, http, listen, log, ",
        ),
        ("node = 1", "line 1: node: is a section: write [node] on a line of its own"),
        ("node.nmae = 'a'", "line 1: node.nmae: unknown key: did you mean name?"),
        ("node = {nmae = 'a'}", "line 1: node.nmae: unknown key: did you mean name?"),
        ("[node]\nqqqq = 1", "line 2: node.qqqq: unknown key: there are cluster, data, name"),
        ("[node]\nname = ''", "line 2: node.name: name='': write text of 1 to 255 bytes"),
        ("[node]\ncluster = '" + "ü" * 128 + "'", "line 2: node.cluster: cluster='ü"),
        ("[peers]\nstatic = 'a:1'", "line 2: peers.static: 'a:1': write a list: [\"a:1\"]"),
        ("[peers]\nstatic = 1", "line 2: peers.static: 1: write a list of texts in quotes"),
        (
            "[discovery]\ninterfaces = 'eth0'",
            "line 2: discovery.interfaces: 'eth0': write a list: [\"eth0\"]",
        ),
        (
            "[discovery]\ninterfaces = []",
            "line 2: discovery.interfaces: interfaces is (): list addresses or names of network",
        ),
        (
            "[discovery]\nmulticast = false\ninterfaces = ['eth0']",
            "line 3: discovery.interfaces: is for multicast, which is switched off",
        ),
        (
            "[discovery]\ndns = ['db:1']\ninterval = 0",
            "line 3: discovery.interval: interval is 0.0: give seconds, from 0.01 to 86400",
        ),
        (
            "[discovery]\ncommand = 'peers --all'",
            'line 2: discovery.command: \'peers --all\': write a list: ["peers", "--all"]',
        ),
        ("[discovery]\nmulticst = true", "line 2: discovery.multicst: unknown key: did you mean m"),
        ("[resolver]\nname = 'lates'", "line 2: resolver.name: there is no resolver 'lates'"),
        (
            "[resolver]\nmode = 'x'",
            'line 2: resolver.mode: \'x\': write "concurrent" or "equal-clock"',
        ),
        ("[replication]\ninterval_min = 31", "line 2: replication.interval_min: is greater than"),
        ("[replication]\nlinger = inf", "line 2: replication.linger: linger=inf: write seconds"),
        ("[replication]\nlinger = nan", "line 2: replication.linger: linger=nan: write seconds"),
        (
            "[replication]\nsync_interval = true",
            "line 2: replication.sync_interval: True: write a number",
        ),
        ("[tls]", "line 1: tls: is empty: name the files, or leave the section out"),
        ("\n[tls]\nca = 'c'", "line 2: tls: tls lacks certificate, key: name the files"),
        ("[tls]\nca = ''", "line 1: tls: tls: ca='': write the path of a file"),
        (
            "[tls]\ncertificat = 'c'",
            "line 2: tls.certificat: unknown key: did you mean certificate?",
        ),
        ("[resp]\nlisten = 6379", "line 2: resp.listen: 6379: write text in quotes"),
        ("[resp]\nlisten = '70000'", "line 2: resp.listen: '127.0.0.1:70000' is no address"),
        ("[http]\nlisten = 'x'", "line 2: http.listen: 'x' is no address: the port is missing"),
        ("[resp]\nsocket_mode = '0666x'", "line 2: resp.socket_mode: '0666x': write a mode as"),
        ("[resp]\nsocket = ''", "line 2: resp.socket: '': write the path of the socket"),
        (f"[resp]\nsocket = '{'x' * 102}'", "line 2: resp.socket: '/base/xxx"),
        ("[resp]\nsocket_group = ''", "line 2: resp.socket_group: '': write the name of a group"),
        ("[resp]\nclients_max = 0", "line 2: resp.clients_max: 0: write a whole number from 1 to"),
        (
            "[resp]\nnotify_keyspace_events = 'Km'",
            "line 2: resp.notify_keyspace_events: 'Km': unknown letters 'm': write some of",
        ),
        ("[resp]\nkey = 'k'", "line 2: resp.key: needs certificate beside it: name both"),
        ("[resp]\nclient_ca = 'k'", "line 2: resp.client_ca: needs certificate beside it"),
        ("[http]\ncertificate = 'k'", "line 2: http.certificate: needs key beside it: name both"),
        ("[http]\nkey = ''", "line 2: http.key: '': write the path of a file"),
        (
            "[http]\nallowed_hosts = ['a', 'http://b']",
            "line 2: http.allowed_hosts: 'http://b': write names without scheme, port and path",
        ),
        (
            "[access]\nadmin_password = 'x'",
            "line 2: access.admin_password: is never written here, where others read it: write it "
            "into a file of its own, named by admin_password_file",
        ),
        ("[access]\nadmin_password_file = ''", "line 2: access.admin_password_file: '': write"),
        ("[log]\nlevel = 'loud'", 'line 2: log.level: \'loud\': write "debug" or "info" or'),
        ('[node]\ndata = "a\\u0000b"', "line 2: node.data: 'a\\x00b': a path holds no zero"),
        ("[node]\ndata = '~nobody-here/x'", "line 2: node.data: '~nobody-here/x': Could not"),
        ("[listen]\ninsecure = 1", "line 2: listen.insecure: 1: write true or false"),
        ("[node\n", "line 1: Expected ']' at the end of a table declaration (column 6)"),
        ("[node]\nname = 'a'\nname = 'b'\n", "line 3: Cannot overwrite a value (column 11)"),
    ],
)
def test_mistakes(text: str, expected: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(expected)


def test_a_secret_written_there_is_not_repeated() -> None:
    (found,) = mistakes("[access]\nhttp_token = 'hush'")
    assert "hush" not in found


def test_mistakes_of_all_kinds_are_told_together_and_none_that_follows_from_another() -> None:
    text = """
[tls]
ca = 1
[replication]
interval_min = "x"
interval_max = 0.001
fanout = 0
[resolver]
nmae = "x"
"""
    assert [found.partition(": ")[0] for found in mistakes(text)] == [
        "line 3",
        "line 5",
        "line 7",
        "line 9",
    ]


def test_what_contradicts_a_default_is_told_where_it_is_written() -> None:
    (found,) = mistakes("[replication]\nfanout = 8\ninterval_max = 0.01")
    assert found.startswith("line 3: replication.interval_max: is less than interval_min")


def test_sections_of_what_the_daemon_serves() -> None:
    config = in_force(
        """
        [resp]
        listen = "6379"
        socket = "redis.sock"
        socket_mode = "660"
        socket_group = "www-data"
        clients_max = 5
        notify_keyspace_events = "KEx"
        certificate = "a.crt"
        key = "/etc/a.key"
        client_ca = "ca.crt"
        [http]
        listen = "0.0.0.0:8080"
        allowed_hosts = ["replicator.example.org", "::1"]
        insecure = true
        [access]
        admin_password_file = "admin.password"
        [log]
        level = "debug"
        """
    )
    assert config.resp == RespConfig(
        listen=Address("127.0.0.1", 6379),
        socket=Path("/base/redis.sock"),
        socket_mode=0o660,
        socket_group="www-data",
        clients_max=5,
        notify_keyspace_events="KEx",
        tls=TlsServerFiles(Path("/base/a.crt"), Path("/etc/a.key"), Path("/base/ca.crt")),
        insecure=False,
    )
    assert config.http == HttpConfig(
        Address("0.0.0.0", 8080), None, ("replicator.example.org", "::1"), insecure=True
    )
    assert config.access.files == {"admin_password": Path("/base/admin.password")}
    assert config.access.has_password and not config.access.has_token
    assert config.log == LogConfig("debug", "auto")


def test_values_say_where_they_come_from() -> None:
    given = Given(
        FILE,
        Environment.take({"REPLICATOR_NODE_NAME": "b", "REPLICATOR_LISTEN_PORT": "1"}),
        {"listen.port": 2, "node.data": "here"},
    )
    _, config = given.examine('[node]\nname = "a"\n\ncluster = "c"')
    assert config is not None
    told = {key: (value, str(source)) for key, value, source in config.values()}
    assert list(told) == list(KEYS)
    assert told["node.name"] == ("b", "REPLICATOR_NODE_NAME")
    assert told["node.cluster"] == ("c", f"{FILE}:4")
    assert told["listen.port"] == (2, "--listen")
    assert told["listen.host"] == ("127.0.0.1", "default")
    assert config.data == Path("here")
    assert config.settings.port == 2


def test_mistakes_of_variables_and_options_name_those() -> None:
    given = Given(
        FILE,
        Environment.take({"REPLICATOR_REPLICATION_FANOUT": "0", "REPLICATOR_TLS_CA": "x"}),
        {"resp.listen": "nowhere"},
    )
    found, _ = given.examine("[listen]\nport = 'x'")
    assert [str(one).partition(": ")[0] for one in found] == [
        str(FILE),
        "REPLICATOR_TLS_CA",
        "REPLICATOR_REPLICATION_FANOUT",
        "--resp",
    ]


def test_an_enormous_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(b"#" * (CONFIG_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        read_config(path)


def test_intervals_are_compared_with_each_other() -> None:
    assert mistakes("[replication]\ninterval_min = 31\ninterval_max = 60") == []
    assert mistakes("[replication]\ninterval_min = 0.01\ninterval_max = 0.02") == []


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    with pytest.raises(ConfigError, match=r"node.toml cannot be read: .*No such file"):
        read_config(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"node.toml cannot be read: .*utf-8"):
        read_config(path)
    path.write_text("[node]\nnmae = 1\nx = 2")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).count(str(path)) == 2


def test_every_setting_is_a_key() -> None:
    elsewhere = {"host", "port", "peers", "discovery", "cluster", "name", "resolver_timeout"}
    elsewhere |= {"tls", "insecure"}
    keys = {field.name for field in msgspec.structs.fields(ReplicationSection)}
    assert keys == set(Settings.__slots__) - elsewhere


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    mistakes(text)


VALUES = st.booleans() | st.integers() | st.floats() | st.text() | st.just("[]")
NAMES = st.sampled_from([field.name for field in msgspec.structs.fields(File)])
NAMES_OF_KEYS = st.sampled_from([key.name for key in KEYS.values()])


@given(st.dictionaries(NAMES, st.dictionaries(NAMES_OF_KEYS, VALUES)))
def test_any_document_of_our_keys_is_read_or_refused(
    document: dict[str, dict[str, object]],
) -> None:
    lines = []
    for section, table in document.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(table[key])}" for key in table)]
    mistakes("\n".join(lines))
