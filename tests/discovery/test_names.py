"""Peers by DNS names: records that change, expire, vanish; servers that fail."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from replicator.errors import ConfigError, MissingExtraError
from replicator.net.discovery import names, questions
from replicator.net.discovery.names import Dns, Srv
from tests.discovery.nameserver import NameServer, name_server
from tests.discovery.told import running

INTERVAL_SECONDS = 0.05


@pytest.fixture(autouse=True)
def resolv_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """How this machine asks, were it not for the test's own server."""
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\nsearch prod.svc.example svc.example\noptions ndots:5\n")
    monkeypatch.setattr(questions, "RESOLV_CONF", str(path))
    return path


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        yield server


def dns_of(server: NameServer, name: str = "db.example.:9000") -> Dns:
    return Dns(name, INTERVAL_SECONDS, server.address)


def srv_of(server: NameServer, name: str = "_db._tcp.example.") -> Srv:
    return Srv(name, INTERVAL_SECONDS, server.address)


async def test_all_addresses_of_a_name(server: NameServer) -> None:
    server.records = {
        ("db.example.", "A"): ["10.0.0.1", "10.0.0.2"],
        ("db.example.", "AAAA"): ["fd00::1"],
    }
    async with running(dns_of(server)) as told:
        await told.until_found("10.0.0.1:9000", "10.0.0.2:9000", "[fd00::1]:9000")
        server.records["db.example.", "A"] = ["10.0.0.3"]
        await told.until_found("10.0.0.3:9000", "[fd00::1]:9000")
        assert told.troubles == []


@pytest.mark.parametrize("kind", ["A", "AAAA"])
async def test_a_name_with_one_kind_of_address(server: NameServer, kind: str) -> None:
    text = {"A": "10.0.0.1", "AAAA": "fd00::1"}[kind]
    server.records = {("db.example.", kind): [text]}
    async with running(dns_of(server)) as told:
        await told.until(lambda: bool(told.addresses))
        await told.until_fine()


async def test_a_name_that_vanishes_has_no_addresses(server: NameServer) -> None:
    server.records = {("db.example.", "A"): ["10.0.0.1"]}
    async with running(dns_of(server)) as told:
        await told.until_found("10.0.0.1:9000")
        server.records = {}
        await told.until_found()
        await told.until_trouble("db.example", "no such name", "correct the name")
        server.records = {("db.example.", "A"): ["10.0.0.2"]}
        await told.until_found("10.0.0.2:9000")
        await told.until_fine()
        assert len(told.troubles) == 1


async def test_a_name_whose_addresses_vanish(server: NameServer) -> None:
    server.records = {("db.example.", "A"): ["10.0.0.1"]}
    async with running(dns_of(server)) as told:
        await told.until_found("10.0.0.1:9000")
        server.records = {("db.example.", "TXT"): ["x"]}
        await told.until_found()
        await told.until_trouble("no addresses")


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED", "silence"])
async def test_while_the_server_fails_nothing_is_dropped(
    server: NameServer, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "DNS_TIMEOUT", 0.3)
    server.records = {("db.example.", "A"): ["10.0.0.1"]}
    async with running(dns_of(server)) as told:
        await told.until_found("10.0.0.1:9000")
        server.failure = failure
        await told.until_trouble("db.example", "what was found before stays")
        asked = len(server.asked)
        await told.until(lambda: len(server.asked) > asked + 2)
        assert told.addresses == {"10.0.0.1:9000"}
        assert len(told.troubles) == 1
        server.failure = None
        await told.until_fine()
        assert told.found_lists == [{"10.0.0.1:9000"}]


async def test_while_half_of_the_answers_fail_nothing_is_dropped(server: NameServer) -> None:
    server.records = {("db.example.", "A"): ["10.0.0.1"], ("db.example.", "AAAA"): ["fd00::1"]}
    async with running(dns_of(server)) as told:
        await told.until_found("10.0.0.1:9000", "[fd00::1]:9000")
        server.failure, server.failing = "SERVFAIL", {"AAAA"}
        server.records["db.example.", "A"] = ["10.0.0.1", "10.0.0.2"]
        await told.until_found("10.0.0.1:9000", "10.0.0.2:9000", "[fd00::1]:9000")
        await told.until_trouble("no name server is able")


async def test_a_server_that_fails_from_the_start_says_nothing_of_addresses(
    server: NameServer,
) -> None:
    server.failure = "SERVFAIL"
    async with running(dns_of(server)) as told:
        await told.until_trouble("no name server is able")
        assert told.addresses is None


async def test_search_domains(server: NameServer) -> None:
    server.records = {("db.svc.example.", "A"): ["10.0.0.1"]}
    async with running(dns_of(server, "db:9000")) as told:
        await told.until_found("10.0.0.1:9000")
        assert server.asked[0] == ("db.prod.svc.example.", "A")


async def test_no_name_servers(resolv_conf: Path) -> None:
    resolv_conf.write_text("# nothing\n")
    async with running(Dns("db.example:9000", INTERVAL_SECONDS)) as told:
        await told.until_trouble("has no name servers")


async def test_records_decide_when_to_ask_again(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("replicator.net.discovery.pace.jittered", lambda s: pauses.append(s) or 0)
    server.records = {("db.example.", "A"): ["10.0.0.1"]}
    for ttl in (0, 7, 500):
        server.ttl = ttl
        async with running(Dns("db.example.:9000", 30, server.address)) as told:
            await told.until_fine()
    assert {1.0, 7, 30} <= set(pauses)


async def test_services(server: NameServer) -> None:
    server.records = {
        ("_db._tcp.example.", "SRV"): [
            "10 5 9001 a.example.",
            "10 5 9002 b.example.",
            "20 5 9003 b.example.",
            "0 0 0 a.example.",
            "0 0 9004 .",
        ],
        ("a.example.", "A"): ["10.0.0.1"],
        ("b.example.", "A"): ["10.0.0.2"],
        ("b.example.", "AAAA"): ["fd00::2"],
    }
    async with running(srv_of(server)) as told:
        await told.until_found(
            "10.0.0.1:9001",
            "10.0.0.2:9002",
            "[fd00::2]:9002",
            "10.0.0.2:9003",
            "[fd00::2]:9003",
        )
        await told.until_trouble("names port 0")


async def test_a_service_whose_target_is_gone(server: NameServer) -> None:
    server.records = {
        ("_db._tcp.svc.example.", "SRV"): ["0 0 9001 a.example.", "0 0 9002 b.example."],
        ("a.example.", "A"): ["10.0.0.1"],
    }
    async with running(srv_of(server, "_db._tcp")) as told:
        await told.until_found("10.0.0.1:9001")
        await told.until_trouble("b.example", "no such name")
        server.failure, server.failing = "SERVFAIL", {"A"}
        await told.until_trouble("no name server is able")
        assert told.addresses == {"10.0.0.1:9001"}


async def test_services_that_are_gone(server: NameServer) -> None:
    async with running(srv_of(server)) as told:
        await told.until_trouble("_db._tcp.example", "no such name")
        server.records = {("_db._tcp.example.", "TXT"): ["x"]}
        await told.until_trouble("no SRV records")
        assert told.found_lists == [set()]


def test_dnspython_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns", None)
    with pytest.raises(MissingExtraError, match=r"level-replicator\[dns\]"):
        Dns("db.example:9000")
    with pytest.raises(MissingExtraError, match=r"level-replicator\[dns\]"):
        Srv("_db._tcp.example")


@pytest.mark.parametrize("name", ["db.example", "10.0.0.1:9000", "[::1]:9000", "a b:9000", ""])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError):
        Dns(name)


@pytest.mark.parametrize("name", ["db.example:9000", "10.0.0.1", "a b", "", "x" * 256, 7])
def test_a_service_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        names.Srv(name)


def test_their_names() -> None:
    assert Dns("db.example:9000").name == "dns db.example:9000"
    assert Srv("_db._tcp.example").name == "srv _db._tcp.example"
