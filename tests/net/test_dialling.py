"""Dialling and listening: who gets through, and what one is told who does not."""

from collections.abc import Iterator

import pytest
import trio

from replicator.errors import ConfigError, PeerError, UsageError
from replicator.net.address import Address
from replicator.net.dial import dial
from replicator.net.listen import Admission, listening_on, open_listeners, turn_away, welcome
from replicator.protocol.codec import decode
from replicator.protocol.frames import FrameReader
from replicator.protocol.messages import Bye


@pytest.fixture
async def listener() -> trio.SocketListener:
    return (await open_listeners("127.0.0.1", 0))[0]


@pytest.fixture
def address(listener: trio.SocketListener) -> Iterator[Address]:
    yield listening_on(listener)
    listener.socket.close()


async def test_both_ends_speak_frames(listener: trio.SocketListener, address: Address) -> None:
    ours = await dial(address, timeout=5, patience=5)
    theirs = await welcome(await listener.accept(), timeout=5, patience=5)
    assert ours.remote == address
    assert theirs.remote.host == "127.0.0.1"
    await ours.send([b"hello"])
    assert await theirs.receive() == [b"hello"]
    for stream in (ours, theirs):
        await stream.aclose_forcefully()


async def test_nobody_there_is_told_with_the_address() -> None:
    listener = (await open_listeners("127.0.0.1", 0))[0]
    address = listening_on(listener)
    await listener.aclose()
    with pytest.raises(PeerError, match=f"cannot connect to {address}: Connection refused"):
        await dial(address, timeout=5, patience=5)


async def test_a_name_that_does_not_resolve_is_told() -> None:
    for host in ("no-such-host.invalid", "a" * 64 + ".invalid"):
        with pytest.raises(PeerError, match=f"the name '{host}' does not resolve"):
            await dial(Address(host, 9000), timeout=30, patience=5)


async def test_names_are_resolved_again_on_every_attempt(
    listener: trio.SocketListener, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to = "127.0.0.2"

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
            return await trio.socket.getaddrinfo(resolves_to, port, family, type, proto, flags)

        async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    with pytest.raises(PeerError, match="cannot connect"):
        await dial(Address("moving.example", address.port), timeout=5, patience=5)
    resolves_to = "127.0.0.1"
    stream = await dial(Address("moving.example", address.port), timeout=5, patience=5)
    await stream.aclose_forcefully()


async def test_an_address_that_does_not_answer_is_given_up(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(host: str, port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", silence)
    with pytest.raises(PeerError, match=r"192\.0\.2\.1:9000 does not answer within 5 s"):
        await dial(Address("192.0.2.1", 9000), timeout=5, patience=5)


async def test_a_port_in_use_is_named_with_what_to_do(
    listener: trio.SocketListener, address: Address
) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on {address}: the port is in use") as info:
        await open_listeners("127.0.0.1", address.port)
    assert "port 0" in str(info.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_a_foreign_host_cannot_be_listened_on(host: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on '{host}'"):
        await open_listeners(host, 0)


async def test_all_addresses_of_a_host_get_one_port() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
            return [
                (trio.socket.AF_INET, trio.socket.SOCK_STREAM, 0, "", (numeric, 0))
                for numeric in ("127.0.0.1", "127.0.0.2", "192.0.2.1")
            ]

        async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    listeners = await open_listeners("several.example", 0)
    addresses = [listening_on(listener) for listener in listeners]
    assert [address.host for address in addresses] == ["127.0.0.1", "127.0.0.2"]
    assert addresses[0].port == addresses[1].port
    for listener in listeners:
        await listener.aclose()


def test_connections_are_capped_in_total_and_per_host() -> None:
    admission = Admission(3, per_host_max=2)
    with admission.admit("a") as first, admission.admit("a") as second:
        assert first is None
        assert second is None
        with admission.admit("a") as third:
            assert third is not None
            assert "2 connections of a" in third
        with admission.admit("b") as other, admission.admit("c") as one_more:
            assert other is None
            assert one_more is not None
            assert "3 connections are open" in one_more
    with admission.admit("a") as again:
        assert again is None
    assert admission.refused == 2


async def test_who_finds_no_room_is_told_so(
    listener: trio.SocketListener, address: Address
) -> None:
    client = await trio.open_tcp_stream(*address)
    await turn_away(await listener.accept(), "no room")
    data = b""
    while more := await client.receive_some():
        data += more
    assert [decode(payload) for payload in FrameReader().feed(data)] == [Bye("no room", "busy")]
    await client.aclose()
