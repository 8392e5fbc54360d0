"""Safe connections: who comes in, what both ends are told where one does not, and renewal."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trustme

from replicator.errors import PeerError, UsageError
from replicator.faces.certificates import Authority
from replicator.net import credentials
from replicator.net.dial import dial
from replicator.net.listen import (
    TLS_ONLY,
    listening_on,
    open_listeners,
    refuse_strangers,
    turn_away,
    welcome,
)
from replicator.net.tls import Tls, TlsFiles
from replicator.net.transport import FramedStream
from replicator.protocol.codec import decode, encode
from replicator.protocol.messages import Bye, Ping
from tests.net.certs import LONG_AGO, NOW, files_of, made, tls_of

SECONDS_MAX = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return made(tmp_path / "ca")


@pytest.fixture
async def listener() -> AsyncIterator[trio.SocketListener]:
    listener = (await open_listeners("127.0.0.1", 0))[0]
    yield listener
    await listener.aclose()


class Meeting:
    """One attempt of two nodes to meet: a stream, or an error, at each end."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.listener = listener
        self.dialled: FramedStream | PeerError
        self.welcomed: FramedStream | PeerError

    async def hold(self, dialler: Tls | None, host: Tls | None) -> "Meeting":
        with trio.fail_after(SECONDS_MAX):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._welcome, host)
                try:
                    self.dialled = await dial(
                        listening_on(self.listener), timeout=10, patience=5, tls=dialler
                    )
                except PeerError as error:
                    self.dialled = error
        return self

    async def _welcome(self, tls: Tls | None) -> None:
        stream = await self.listener.accept()
        try:
            self.welcomed = await welcome(stream, timeout=10, patience=5, tls=tls)
        except PeerError as error:
            self.welcomed = error
            await stream.aclose()

    def streams(self) -> tuple[FramedStream, FramedStream]:
        assert isinstance(self.dialled, FramedStream), self.dialled
        assert isinstance(self.welcomed, FramedStream), self.welcomed
        return self.dialled, self.welcomed

    def errors(self) -> tuple[str, str]:
        assert isinstance(self.dialled, PeerError), "the dialler came through"
        assert isinstance(self.welcomed, PeerError), "the dialler was let in"
        return str(self.dialled), str(self.welcomed)

    async def close(self) -> None:
        for end in (self.dialled, self.welcomed):
            if isinstance(end, FramedStream):
                await end.aclose_forcefully()


Meet = Callable[[Tls | None, Tls | None], Awaitable[Meeting]]


@pytest.fixture
async def meet(
    listener: trio.SocketListener,
) -> AsyncIterator[Meet]:
    meetings: list[Meeting] = []

    async def meet(dialler: Tls | None, host: Tls | None) -> Meeting:
        meetings.append(Meeting(listener))
        return await meetings[-1].hold(dialler, host)

    yield meet
    for meeting in meetings:
        await meeting.close()


# Who comes in


async def test_two_nodes_of_one_cluster_know_each_other(meet: Meet, authority: Authority) -> None:
    meeting = await meet(tls_of(authority, "a"), tls_of(authority, "b"))
    dialled, welcomed = meeting.streams()
    serials = {one.name: one.serial for one in authority.issued()}
    assert (dialled.certificate.name, dialled.certificate.serial) == ("b", serials["b"])
    assert (welcomed.certificate.name, welcomed.certificate.serial) == ("a", serials["a"])
    await dialled.send([b"hello"])
    assert await welcomed.receive() == [b"hello"]
    payloads = [b"hello", b"x" * 1_000_000]
    received: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(welcomed.send, payloads)
        while len(received) < 2:
            received += await dialled.receive() or []
    assert received == payloads


async def test_it_is_tls_1_3_whoever_asks(meet: Meet, authority: Authority) -> None:
    host, dialler = tls_of(authority, "a"), tls_of(authority, "b")
    assert host.server.minimum_version == ssl.TLSVersion.TLSv1_3
    dialler.client.minimum_version = ssl.TLSVersion.TLSv1_2
    dialler.client.maximum_version = ssl.TLSVersion.TLSv1_2
    told, logged = (await meet(dialler, host)).errors()
    assert "the peer speaks no TLS 1.3" in told
    assert "the peer speaks no TLS 1.3" in logged


async def test_a_node_of_another_ca(meet: Meet, authority: Authority, tmp_path: Path) -> None:
    stranger = tls_of(made(tmp_path / "other"), "a")
    told, logged = (await meet(stranger, tls_of(authority, "b"))).errors()
    assert "the peer's certificate is not of this cluster's CA" in told
    assert "refused this node's certificate: it is not of the peer's cluster CA" in logged


async def test_a_listener_does_not_take_the_dialler_at_its_word(
    meet: Meet, authority: Authority, tmp_path: Path
) -> None:
    """A dialler that would trust anybody is refused all the same, and told why."""
    files = files_of(made(tmp_path / "other"), "a")
    both = tmp_path / "both.crt"
    both.write_bytes(files.ca.read_bytes() + (authority.directory / "ca.crt").read_bytes())
    stranger = Tls(replace(files, ca=both))
    told, logged = (await meet(stranger, tls_of(authority, "b"))).errors()
    assert "refused this node's certificate: it is not of the peer's cluster CA" in told
    assert "the peer's certificate is not of this cluster's CA" in logged


async def test_a_dialler_without_a_certificate(meet: Meet, authority: Authority) -> None:
    nobody = tls_of(authority, "a")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority.directory / "ca.crt")
    nobody._current = replace(nobody._current, client=context)
    told, logged = (await meet(nobody, tls_of(authority, "b"))).errors()
    assert "refused this node's certificate: it was shown none" in told
    assert "the peer shows no certificate" in logged


@pytest.mark.parametrize(
    ("begins", "days", "fault", "refusal"),
    [
        (LONG_AGO, 10, "has expired: have a new one issued", "it has expired"),
        (NOW + timedelta(days=2), 9, "is not valid yet: do the clocks agree?", "it is not valid"),
    ],
)
async def test_a_certificate_outside_its_time(
    meet: Meet, authority: Authority, monkeypatch, begins, days, fault, refusal
) -> None:
    files = files_of(authority, "a", at=begins, days=days)
    with monkeypatch.context() as patch:
        patch.setattr(credentials, "now", lambda: begins + timedelta(days=1))
        outside = Tls(files)
    told, logged = (await meet(outside, tls_of(authority, "b"))).errors()
    assert f"refused this node's certificate: {refusal}" in told
    assert f"the peer's certificate {fault}" in logged
    told, logged = (await meet(tls_of(authority, "b"), outside)).errors()
    assert f"the peer's certificate {fault}" in told
    assert f"refused this node's certificate: {refusal}" in logged


async def test_a_revoked_node_is_refused_at_both_ends(meet: Meet, authority: Authority) -> None:
    revoked = tls_of(authority, "a")
    authority.revoke("a")
    told, logged = (await meet(revoked, tls_of(authority, "b"))).errors()
    assert "the peer refused this node's certificate: the certificate 'a' is revoked" in told
    assert "no safe connection: the certificate 'a' is revoked" in logged
    meeting = await meet(tls_of(authority, "b"), revoked)
    assert "the certificate 'a' is revoked" in str(meeting.dialled)


async def test_a_certificate_of_the_ca_that_is_none_of_a_node(
    meet: Meet, authority: Authority, tmp_path: Path
) -> None:
    """One with the role of a web server alone, say."""
    other, path = trustme.CA(), tmp_path / "trustme"
    path.mkdir()
    other.cert_pem.write_to_path(path / "ca.crt")
    leaf = other.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(path / "a.crt")
    leaf.private_key_pem.write_to_path(path / "a.key")
    (path / "a.key").chmod(0o600)
    node = Tls(TlsFiles(path / "ca.crt", path / "a.crt", path / "a.key"))
    assert (await meet(node, node)).streams()
    judge = node._current.judge
    with pytest.raises(PeerError, match="was not made for a node"):
        judge(server_only(other))
    with pytest.raises(PeerError, match="is not of this cluster's CA"):
        tls_of(authority, "b")._current.judge(server_only(other))
    with pytest.raises(PeerError, match="cannot be read"):
        judge(b"garbage")
    with pytest.raises(PeerError, match="shows no certificate"):
        judge(None)


def server_only(other: trustme.CA) -> bytes:
    """A certificate of the CA for a server, that is for no client."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(other.cert_pem.bytes())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(LONG_AGO)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(other._private_key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


# With and without TLS


async def test_a_plain_dialler_is_told_to_speak_tls(meet: Meet, authority: Authority) -> None:
    listener = (await open_listeners("127.0.0.1", 0))[0]
    async with trio.open_nursery() as nursery:
        logged: list[PeerError] = []

        async def accept() -> None:
            stream = await listener.accept()
            with pytest.raises(PeerError) as caught:
                await welcome(stream, timeout=10, patience=5, tls=tls_of(authority, "a"))
            logged.append(caught.value)
            await stream.aclose()

        nursery.start_soon(accept)
        plain = await dial(listening_on(listener), timeout=10, patience=5)
        await plain.send([encode(Ping())])
        received = []
        while (payloads := await plain.receive()) is not None:
            received += payloads
        await plain.aclose()
    assert [decode(payload) for payload in received] == [Bye(TLS_ONLY, "refused")]
    assert "the peer speaks without TLS, or another protocol: give it" in str(logged[0])
    await listener.aclose()


async def test_a_plain_listener_tells_what_a_tls_dialler_is(
    listener: trio.SocketListener, authority: Authority
) -> None:
    """The listener greets at once, as nodes do."""

    async def accept() -> None:
        stream = await welcome(await listener.accept(), timeout=10, patience=5)
        await stream.send([encode(Ping())])
        with pytest.raises(PeerError, match="the peer speaks TLS and this node does not"):
            await stream.receive()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        with pytest.raises(PeerError, match="the peer speaks without TLS: give it certificates"):
            await dial(listening_on(listener), timeout=10, patience=5, tls=tls_of(authority, "a"))


async def test_who_is_turned_away_before_the_handshake_reads_why(
    listener: trio.SocketListener, authority: Authority
) -> None:
    async def accept() -> None:
        await turn_away(await listener.accept(), "no room")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        with pytest.raises(PeerError, match="the peer turns this node away: no room"):
            await dial(listening_on(listener), timeout=10, patience=5, tls=tls_of(authority, "a"))


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", b"\x16rubbish" * 100, b"\x16\x03"])
async def test_rubbish_is_refused(
    listener: trio.SocketListener, authority: Authority, rubbish: bytes
) -> None:
    client = await trio.open_tcp_stream(*listening_on(listener))
    await client.send_all(rubbish)
    await client.send_eof()
    accepted = await listener.accept()
    with trio.fail_after(SECONDS_MAX), pytest.raises(PeerError, match="no safe connection"):
        await welcome(accepted, timeout=10, patience=5, tls=tls_of(authority, "a"))
    await accepted.aclose()
    await client.aclose()


async def test_who_leaves_at_once_is_no_harm(
    listener: trio.SocketListener, authority: Authority
) -> None:
    client = await trio.open_tcp_stream(*listening_on(listener))
    accepted = await listener.accept()
    await client.aclose()
    with pytest.raises(PeerError, match="the peer has gone before the handshake"):
        await welcome(accepted, timeout=10, patience=5, tls=tls_of(authority, "a"))
    await accepted.aclose()


@pytest.mark.parametrize("beginning", [b"", b"\x16", b"\x16\x03\x01\x02\x00"])
async def test_a_silent_dialler_has_a_time_limit(
    listener: trio.SocketListener, authority: Authority, beginning: bytes
) -> None:
    silent = await trio.open_tcp_stream(*listening_on(listener))
    if beginning:
        await silent.send_all(beginning)
    accepted = await listener.accept()
    with trio.fail_after(SECONDS_MAX), pytest.raises(PeerError, match="no TLS handshake within"):
        await welcome(accepted, timeout=0.05, patience=5, tls=tls_of(authority, "a"))
    await accepted.aclose()
    await silent.aclose()


async def test_a_silent_listener_has_a_time_limit(
    listener: trio.SocketListener, authority: Authority
) -> None:
    with trio.fail_after(SECONDS_MAX), pytest.raises(PeerError, match="does not answer within"):
        await dial(listening_on(listener), timeout=0.05, patience=5, tls=tls_of(authority, "a"))


async def test_a_listener_that_never_accepts_a_certificate_has_one_too(
    listener: trio.SocketListener, authority: Authority
) -> None:
    """It shakes hands and then says nothing: the dialler sends nothing of its own."""
    a, b = tls_of(authority, "a"), tls_of(authority, "b")
    came: list[bytes] = []

    async def accept() -> None:
        safe = trio.SSLStream(
            await listener.accept(), b.server, server_side=True, https_compatible=True
        )
        came.append(await safe.receive_some())
        await trio.aclose_forcefully(safe)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        with pytest.raises(PeerError, match="does not answer within"):
            await dial(listening_on(listener), timeout=0.5, patience=5, tls=a)
    assert came == [b""]


async def test_the_last_words_arrive_although_the_other_side_still_sends(
    meet: Meet, authority: Authority
) -> None:
    meeting = await meet(tls_of(authority, "a"), tls_of(authority, "b"))
    dialled, welcomed = meeting.streams()
    await dialled.send([b"unread" * 1000] * 10)
    await welcomed.send([b"farewell"])
    received: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(welcomed.aclose)
        while (payloads := await dialled.receive()) is not None:
            received += payloads
        await dialled.aclose()
    assert received == [b"farewell"]


# Where to listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.8.8.8", "localhost"])
async def test_loopback_needs_no_tls(host: str) -> None:
    await refuse_strangers(host, None, False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_strangers_are_refused_without_tls(host: str, authority: Authority) -> None:
    with pytest.raises(UsageError, match=f"refuses to listen on {host} without TLS") as caught:
        await refuse_strangers(host, None, False)
    for advice in ("[tls]", "replicator certs init", "--insecure", "insecure=True"):
        assert advice in str(caught.value)
    await refuse_strangers(host, None, True)
    await refuse_strangers(host, tls_of(authority, "a"), False)


async def test_one_open_address_of_a_name_is_enough() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 0, "", (numeric, 0))
                for numeric in ("127.0.0.1", "192.0.2.1")
            ]

        async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    with pytest.raises(UsageError, match=r"refuses to listen on 192\.0\.2\.1 without"):
        await refuse_strangers("several.example", None, False)
