"""`replicate` and `open_replica`: keywords, refusals, and what is left behind by a failure."""

import inspect
import os
import socket
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import plyvel
import pytest
import trio

import replicator
from replicator import open_replica, replicate, resolvers
from replicator.config import Settings
from replicator.errors import (
    ClosedError,
    ConfigError,
    DoubleWrapError,
    FormatError,
    StorageError,
    UsageError,
)
from replicator.faces.handle import Replica
from replicator.faces.keywords import Keywords, Tuning, make_settings


def open_level(path: Path) -> plyvel.DB:
    return plyvel.DB(str(path), create_if_missing=True)


@pytest.fixture
def level(tmp_path: Path) -> Any:
    db = open_level(tmp_path / "level")
    yield db
    db.close()


# Keywords


def test_every_setting_is_a_keyword_with_the_same_default() -> None:
    settings = {field.name: field.default for field in fields(Settings)}
    explicit = {
        name: parameter.default
        for name, parameter in inspect.signature(replicate).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert explicit.pop("discovery") is None, "the node's is nothing, the library's multicast"
    own = {"resolver": None, "resolver_mode": "concurrent", "adoption_progress": None}
    assert explicit == {name: settings[name] for name in explicit.keys() - own.keys()} | own
    named = (explicit.keys() - own.keys()) | {"discovery"}
    assert set(settings) == named | Tuning.__annotations__.keys()
    assert set(settings) == set(Keywords.__annotations__)
    assert make_settings(**settings) == Settings(), "each has a check, which its default passes"
    assert make_settings() == Settings()


@pytest.mark.parametrize(
    ("keywords", "advice"),
    [
        ({"port": "9000"}, "port='9000': write a number up to 65535"),
        ({"port": 65_536}, "port=65536: write a number up to 65535"),
        ({"port": True}, "port=True: write a number"),
        ({"host": ""}, "host='': write an address of this machine"),
        ({"host": None}, "host=None: write an address of this machine"),
        ({"host": "192.0.2.1", "port": 0, "insecure": True}, "no address of this machine"),
        ({"peers": "host:9000"}, "peers='host:9000': write a list of addresses"),
        ({"peers": 9000}, "peers=9000: write a list"),
        ({"peers": [9000]}, "peers=9000: write each peer as text"),
        ({"peers": ["host"]}, "peers: 'host' is no address: the port is missing: host:9000"),
        ({"peers": ["::1:9000"]}, r"peers: .*brackets"),
        ({"cluster": ""}, "cluster='': write text of 1 to 255 bytes"),
        ({"cluster": None}, "cluster=None: write text"),
        ({"name": "n" * 256}, "write text of 1 to 255 bytes"),
        ({"sync": 1}, "sync=1: write True or False"),
        ({"join_timeout": -1}, "join_timeout=-1: write seconds, from 0 to 86400"),
        ({"join_timeout": None}, "join_timeout=None: write seconds"),
        ({"sync_interval": 0}, "sync_interval=0: write seconds, from 0.001 to"),
        ({"keepalive": float("nan")}, "keepalive=nan: write seconds"),
        ({"linger": float("inf")}, "linger=inf: write seconds"),
        ({"interval_min": 3, "interval_max": 2}, "interval_min=3.0 is greater than interval_max"),
        ({"atomic_round_bytes": 1.5}, "atomic_round_bytes=1.5: write a whole number"),
        ({"tls": "certs"}, "tls='certs': write a mapping with ca, certificate, key and revoked"),
        ({"tls": {}}, "tls lacks ca, certificate, key: name the files"),
        ({"tls": {"ca": "ca.crt", "cert": "a.crt"}}, "tls has no 'cert': it takes ca, certif"),
        ({"tls": {"ca": b"ca.crt"}}, "tls: ca=b'ca.crt': write the path of a file"),
        ({"insecure": 1}, "insecure=1: write True or False"),
        ({"connections_max": 0}, "connections_max=0: write a whole number from 1"),
        ({"resolver": "latest"}, "resolver='latest' cannot be called: write a function"),
        ({"resolver_mode": "never"}, """resolver_mode='never': write "concurrent" or"""),
    ],
)
def test_malformed_values(level: plyvel.DB, keywords: dict[str, Any], advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        replicate(level, **({"port": None} | keywords))
    assert not level.closed
    replicate(level, port=None).close()


def test_an_unknown_keyword(level: plyvel.DB) -> None:
    with pytest.raises(TypeError, match="no keyword 'prot'"):
        replicate(level, prot=9000)  # type: ignore[call-arg]


def test_keywords_arrive(level: plyvel.DB) -> None:
    with replicate(
        level, port=0, name="node", cluster="mine", peers=iter(["localhost:1"]), join_timeout=0
    ) as replica:
        status = replica.status()
        assert (status.name, status.cluster) == ("node", "mine")
        assert [peer.address for peer in status.peers] == ["localhost:1"]
        host, port = replica.address
        assert (host, str(replica.address)) == ("127.0.0.1", status.address)
        with socket.create_connection((host, port)):
            pass


# What is refused


def test_a_port_in_use(level: plyvel.DB) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"{port}"):
            replicate(level, port=port)
    assert not level.closed
    replicate(level, port=port).close()


def test_double_wrapping(level: plyvel.DB) -> None:
    with replicate(level, port=None) as replica:
        for again in (level, level.prefixed_db(b"p"), replica, replica.prefixed_db(b"p")):
            with pytest.raises(DoubleWrapError):
                replicate(again, port=None)  # type: ignore[arg-type]
        replica.put(b"k", b"v")
    assert level.closed


@pytest.mark.parametrize("db", [None, "path", {}, object()])
def test_no_handle_at_all(db: Any) -> None:
    with pytest.raises(UsageError, match=r"expected an open plyvel\.DB"):
        replicate(db, port=None)


def test_a_closed_handle(level: plyvel.DB) -> None:
    level.close()
    with pytest.raises(UsageError, match="closed"):
        replicate(level, port=None)


def test_a_custom_comparator(tmp_path: Path) -> None:
    level = plyvel.DB(
        str(tmp_path),
        create_if_missing=True,
        comparator=lambda a, b: (a > b) - (a < b),
        comparator_name=b"mine",
    )
    with pytest.raises(FormatError, match="comparator 'mine'"):
        replicate(level, port=None)
    level.close()


def test_foreign_data_in_the_reserved_range(level: plyvel.DB) -> None:
    level.put(b"\xff\xff\xff\xff\x00", b"")
    with pytest.raises(FormatError, match="reserved"):
        replicate(level, port=None)
    assert not level.closed
    assert list(level) == [(b"\xff\xff\xff\xff\x00", b"")]


def test_use_after_close(level: plyvel.DB) -> None:
    replica = replicate(level, port=None)
    replica.close()
    for call in (
        replica.digest,
        replica.known,
        replica.status,
        replica.sync,
        lambda: replica.versions(b"k"),
        lambda: list(replica.conflicts()),
        lambda: replica.update(b"k", lambda versions: b""),
        lambda: replica.add_peer("localhost:9000"),
        lambda: replica.remove_peer("localhost:9000"),
        lambda: replica.on("error", print),
        lambda: replica.off("error", print),
    ):
        with pytest.raises(ClosedError, match="closed"):
            call()
    assert "(closed)" in repr(replica)


# What is adopted and what is shown


def test_existing_data_is_adopted(level: plyvel.DB) -> None:
    for number in range(2500):
        level.put(b"%04d" % number, b"v")
    told: list[int] = []
    with replicate(level, port=None, adoption_progress=told.append) as replica:
        assert told[-1] == 2500
        assert told == sorted(told)
        assert len(list(replica)) == 2500
        (version,) = replica.versions(b"0007")
        assert (version.clock, version.timestamp, version.value) == (0, 0, b"v")


def test_what_a_handle_tells_of_itself(level: plyvel.DB) -> None:
    with replicate(level, port=None) as replica:
        assert replica.name == level.name
        assert replica.prefix == b""
        assert replica.address is None
        assert replica.cluster_id is None
        replica.put(b"k", b"v")
        status = replica.status()
        assert replica.origin == status.origin
        assert replica.cluster_id == status.cluster_id is not None
        assert status.counters.writes == 1
        assert status.write_gate == "nobody there"
        assert repr(replica.known()) == f"KnownSet({replica.origin}:1)"
        assert len(replica.digest()) > 8


def test_versions_and_update(level: plyvel.DB) -> None:
    with replicate(level, port=None) as replica:
        seen = []

        def increment(versions: list[replicator.Version]) -> bytes:
            seen.append(versions)
            return b"%d" % (int(versions[0].value or 0) + 1 if versions else 1)

        assert replica.update(b"n", increment) == b"1"
        assert replica.update(b"n", increment, sync=True) == b"2"
        assert replica.get(b"n") == b"2"
        assert seen[0] == []
        assert [str(version.dot) for version in seen[1]] == [f"{replica.origin}:1"]
        assert replica.update(b"n", lambda versions: None) is None
        (version,) = replica.versions(b"n")
        assert version.is_delete
        assert version.clock == 2
        assert replica.versions(b"absent") == []
        with pytest.raises(TypeError):
            replica.update(b"n", increment, sync=1)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="inside update"):
            replica.update(b"n", lambda versions: replica.put(b"m", b""))  # type: ignore[func-returns-value]
        assert replica.get(b"m") is None


def test_prefixes_side_by_side(level: plyvel.DB, wrap: Callable[..., Replica]) -> None:
    level.put(b"outside", b"stays")
    a, b = wrap(level.prefixed_db(b"a:")), wrap(level.prefixed_db(b"b:"))
    a.put(b"k", b"of a")
    with b.write_batch() as batch:
        batch.put(b"k", b"of b")
        batch.put(b"l", b"")
    assert (a.prefix, a.name) == (b"a:", level.name)
    assert list(a) == [(b"k", b"of a")]
    assert list(b) == [(b"k", b"of b"), (b"l", b"")]
    assert list(b.prefixed_db(b"k")) == [(b"", b"of b")]
    assert list(a.snapshot().iterator(reverse=True, include_value=False)) == [b"k"]
    assert a.origin != b.origin
    assert (level.get(b"a:k"), level.get(b"b:k")) == (b"of a", b"of b")
    assert level.get(b"outside") == b"stays"
    a.compact_range()
    assert a.approximate_sizes((b"", b"z")) == [a.approximate_size(b"", b"z")]
    assert a.get_property(b"leveldb.stats")
    with pytest.raises(DoubleWrapError):
        wrap(level.prefixed_db(b"a"))
    a.close()
    assert next(iter(b)) == (b"k", b"of b")
    wrap(level.prefixed_db(b"a:"))


# Within trio


async def test_open_replica_makes_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "new", str(tmp_path / "new"), os.fsencode(tmp_path / "new")):
        async with open_replica(path, port=0, name="in trio") as replica:
            replica.put(b"k", b"v")
            assert replica.get(b"k") == b"v"
            assert replica.status().running
            assert replica.address is not None
        assert replica.closed
        plyvel.DB(str(tmp_path / "new")).close()


async def test_open_replica_closes_as_any_handle_does(level: plyvel.DB, tmp_path: Path) -> None:
    async with open_replica(level.prefixed_db(b"p:"), port=None) as replica:
        replica.put(b"k", b"v")
    assert not level.closed
    other = open_level(tmp_path / "other")
    async with open_replica(other, port=None):
        pass
    assert other.closed


async def test_an_exception_leaves_the_block_as_it_is(level: plyvel.DB) -> None:
    with pytest.raises(LookupError) as info:
        async with open_replica(level, port=None) as replica:
            raise LookupError("mine")
    assert info.value.__cause__ is None
    assert replica.closed


async def test_a_group_of_exceptions_leaves_the_block_as_it_is(level: plyvel.DB) -> None:
    with pytest.raises(ExceptionGroup) as info:
        async with open_replica(level, port=None):
            raise ExceptionGroup("mine", [LookupError()])
    assert info.value.message == "mine"


async def test_cancelling_closes(level: plyvel.DB) -> None:
    with trio.move_on_after(0.05) as scope:
        async with open_replica(level, port=0) as replica:
            replica.put(b"k", b"v")
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert replica.closed
    assert level.closed


async def test_cancelled_from_the_start(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_replica(tmp_path / "db", port=0):
            raise AssertionError("not reached")
    plyvel.DB(str(tmp_path / "db"), create_if_missing=True).close()


async def test_what_blocks_is_refused_in_the_trio_thread(level: plyvel.DB) -> None:
    async with open_replica(level, port=None) as replica:
        with pytest.raises(UsageError, match="await"):
            replica.sync()
        with pytest.raises(UsageError, match="async with"):
            replica.close()
        assert await replica.synchronize()
        assert await trio.to_thread.run_sync(replica.sync)
        await trio.to_thread.run_sync(replica.close)
        assert replica.closed
        with pytest.raises(ClosedError):
            await replica.synchronize()


async def test_what_fails_leaves_nothing_open(level: plyvel.DB, tmp_path: Path) -> None:
    path = tmp_path / "db"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for db in (level, path):
            with pytest.raises(UsageError, match=f"{port}"):
                async with open_replica(db, port=port):
                    raise AssertionError("not reached")
    assert not level.closed
    with pytest.raises(ConfigError):
        async with open_replica(path, port="any"):  # type: ignore[arg-type]
            raise AssertionError("not reached")
    with open_level(path), pytest.raises(StorageError, match="in use"):
        async with open_replica(path, port=None):
            raise AssertionError("not reached")
    async with open_replica(level, port=None), open_replica(path, port=None):
        pass


# The package


def test_what_is_public() -> None:
    for name in replicator.__all__:
        assert getattr(replicator, name) is not None
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    version = tomllib.loads(pyproject.read_text())["project"]["version"]
    assert replicator.__version__ == version
    assert callable(resolvers.latest_timestamp)
