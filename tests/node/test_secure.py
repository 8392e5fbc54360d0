"""Nodes with TLS: they replicate as others do, and nothing of theirs goes to a stranger."""

from dataclasses import replace
from pathlib import Path

import pytest

from replicator.errors import PeerError, UsageError
from replicator.faces.certificates import Authority
from replicator.net.address import parse_address
from replicator.net.dial import dial
from replicator.net.tls import Tls
from tests.net.certs import files_of, made, tls_of
from tests.node.peers import SETTINGS, converged, running, until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return made(tmp_path / "ca")


async def test_nodes_of_one_cluster_replicate(tmp_path: Path, authority: Authority) -> None:
    async with running(tmp_path / "a", tls=tls_of(authority, "a")) as a:
        for number in range(2000):
            await a.put(b"a%d" % number, b"value" * 20)
        async with running(tmp_path / "b", a.address, tls=tls_of(authority, "b")) as b:
            await b.put(b"b", b"value")
            await converged(a, b)
            await a.put(b"later", b"value")
            await converged(a, b)
            assert a.errors() == b.errors() == []


async def test_a_stranger_gets_nothing_and_both_sides_read_why(
    tmp_path: Path, authority: Authority
) -> None:
    stranger = tls_of(made(tmp_path / "other"), "b")
    async with running(tmp_path / "a", tls=tls_of(authority, "a")) as a:
        await a.put(b"key", b"value")
        async with running(tmp_path / "b", a.address, tls=stranger) as b:
            await until(lambda: a.errors() and b.errors())
            assert "the peer's certificate is not of this cluster's CA" in b.errors()[0]
            assert "is not of the peer's cluster CA" in a.errors()[0]
            assert not b.store.known()
            assert "met" not in a.names_told()


@pytest.mark.parametrize("listens_safely", [True, False])
async def test_a_node_without_tls_gets_nothing_and_both_sides_read_why(
    tmp_path: Path, authority: Authority, listens_safely: bool
) -> None:
    tls = tls_of(authority, "safe")
    here, there = (tls, None) if listens_safely else (None, tls)
    async with running(tmp_path / "a", tls=here) as a:
        await a.put(b"key", b"value")
        async with running(tmp_path / "b", a.address, tls=there) as b:
            await until(lambda: a.errors() and b.errors())
            assert "without TLS" in (a if listens_safely else b).errors()[0]
            for text in (a.errors()[0], b.errors()[0]):
                assert "TLS" in text
                assert "certificates" in text
            assert not b.store.known()


async def test_a_node_that_has_no_room_says_so_to_a_dialler_with_tls(
    tmp_path: Path, authority: Authority
) -> None:
    settings = replace(SETTINGS, connections_max=1, linger=30.0)
    async with running(tmp_path / "a", settings=settings, tls=tls_of(authority, "a")) as a:
        tls = tls_of(authority, "b")
        async with running(tmp_path / "b", a.address, settings=settings, tls=tls) as b:
            await until(lambda: any(peer.connected for peer in b.node.status().peers))
            with pytest.raises(PeerError, match="the peer turns this node away: 1 connections"):
                await dial(parse_address(a.address), timeout=10, patience=10, tls=tls)


async def test_a_revocation_ends_an_open_conversation(tmp_path: Path, authority: Authority) -> None:
    settings = replace(SETTINGS, linger=30.0)
    async with running(tmp_path / "a", settings=settings, tls=tls_of(authority, "a")) as a:
        unaware = Tls(replace(files_of(authority, "b"), revoked=None))
        async with running(tmp_path / "b", a.address, settings=settings, tls=unaware) as b:
            await a.put(b"key", b"value")
            await converged(a, b)
            authority.revoke("b")
            await until(lambda: any("revoked" in text for text in b.errors()))
            await a.put(b"secret", b"value")
            await until(
                lambda: any("refused this node's certificate" in text for text in b.errors())
            )
            assert b.store.known() != a.store.known()
            assert any("the certificate 'b' is revoked" in text for text in a.errors())


async def test_listening_for_strangers(tmp_path: Path, authority: Authority) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with running(tmp_path / "a", host="0.0.0.0"):
            pass
    assert caught.group_contains(UsageError, match="refuses to listen on 0")
    async with running(tmp_path / "b", host="0.0.0.0", tls=tls_of(authority, "b")):
        pass
