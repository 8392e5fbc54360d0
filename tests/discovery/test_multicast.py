"""Multicast on the loopback interface: nodes that appear, vanish, are of another cluster, or talk
nonsense. Every test takes a cluster name of its own: the network is shared."""

import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio
from zeroconf import ServiceInfo, Zeroconf

from replicator.errors import ConfigError
from replicator.net.address import Address
from replicator.net.discovery import mdns
from replicator.net.discovery.announcement import SERVICE_TYPE
from replicator.net.discovery.interfaces import make_plan
from replicator.net.discovery.multicast import Multicast
from replicator.net.discovery.provider import Advert
from tests.discovery.told import running

LOOPBACK = "127.0.0.1"


@pytest.fixture
def advert() -> Callable[..., Advert]:
    """Makes adverts of one cluster."""
    cluster = secrets.token_hex(8)

    def make(port: int, host: str = LOOPBACK, cluster: str = cluster) -> Advert:
        return Advert(cluster, f"node {port}", secrets.randbits(64), Address(host, port))

    return make


@contextmanager
def announced(
    name: str,
    properties: dict[str, str | bytes | None],
    *,
    port: int = 9000,
    addresses: tuple[str, ...] = (LOOPBACK,),
) -> Iterator[None]:
    """A stranger that announces what it likes."""
    stranger = Zeroconf(interfaces=[LOOPBACK])
    try:
        info = ServiceInfo(
            SERVICE_TYPE,
            f"{name}.{SERVICE_TYPE}",
            port=port,
            properties=properties,
            server=f"{name}.local.",
            parsed_addresses=list(addresses),
        )
        stranger.register_service(info, cooperating_responders=True, strict=False)
        yield
    finally:
        stranger.close()


@contextmanager
def like(advert: Advert, *, port: int = 9000, hosts: int = 1, **changed: str) -> Iterator[None]:
    """A stranger that announces nearly what a node of the same cluster would."""
    txt = {
        "cluster": advert.cluster,
        "node": "stranger",
        "origin": f"{secrets.randbits(64):016x}",
        "version": "1",
    } | changed
    addresses = tuple(f"127.0.{number >> 8}.{number & 255}" for number in range(1, hosts + 1))
    name = secrets.token_hex(8)
    properties: dict[str, str | bytes | None] = {key: txt[key] for key in txt if txt[key] != "-"}
    with announced(name, properties, port=port, addresses=addresses):
        yield


async def in_thread(stack: ExitStack, manager: object) -> None:
    await trio.to_thread.run_sync(stack.enter_context, manager)


@pytest.fixture
async def stack() -> AsyncIterator[ExitStack]:
    stack = ExitStack()
    yield stack
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(stack.close)


async def test_nodes_of_one_machine_find_each_other(advert: Callable[..., Advert]) -> None:
    async with (
        running(Multicast(), advert(9001)) as one,
        running(Multicast(), advert(9002)) as two,
        running(Multicast(), advert(9003, "::1")) as three,
    ):
        await one.until_found("127.0.0.1:9002", "[::1]:9003")
        await two.until_found("127.0.0.1:9001", "[::1]:9003")
        await three.until_found("127.0.0.1:9001", "127.0.0.1:9002")
        assert one.troubles == two.troubles == three.troubles == []


async def test_who_says_goodbye_is_no_longer_found(advert: Callable[..., Advert]) -> None:
    async with running(Multicast(), advert(9001)) as one:
        async with running(Multicast(), advert(9002)):
            await one.until_found("127.0.0.1:9002")
        await one.until_found()
        async with running(Multicast(), advert(9003)):
            await one.until_found("127.0.0.1:9003")


async def test_one_that_only_looks_finds_and_is_not_found(advert: Callable[..., Advert]) -> None:
    async with running(Multicast(), advert(9001)) as one:
        async with running(Multicast()) as looker:
            await looker.until(lambda: "127.0.0.1:9001" in (looker.addresses or ()))
        await one.until(lambda: one.addresses is not None)
        assert one.found_lists == [set()]


async def test_one_that_does_not_listen_looks_for_its_cluster(
    advert: Callable[..., Advert], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "SILENT_LOOKS", 1)
    async with (
        running(Multicast(), advert(9001)) as one,
        running(Multicast(), advert(9002, cluster="another")),
        running(Multicast(), advert(0)) as looker,
    ):
        await looker.until_found("127.0.0.1:9001")
        await looker.until(lambda: looker.works_count >= 2)
        await one.until(lambda: one.addresses is not None)
        assert looker.found_lists == [{"127.0.0.1:9001"}]
        assert one.found_lists == [set()]
        assert looker.troubles == []


async def test_nobody_there_is_said(advert: Callable[..., Advert]) -> None:
    async with running(Multicast(), advert(9001)) as alone:
        await alone.until_found()
        await alone.until_fine()


async def test_another_cluster_is_left_alone(
    advert: Callable[..., Advert], stack: ExitStack
) -> None:
    await in_thread(stack, like(advert(9000, cluster="another"), version="99", origin="rubbish"))
    async with (
        running(Multicast(), advert(9001)) as one,
        running(Multicast(), advert(9002, cluster="another one")),
        running(Multicast(), advert(9003)),
    ):
        await one.until_found("127.0.0.1:9003")
        await one.until(lambda: one.works_count >= 2)  # also when everybody had time to answer
        assert one.found_lists[-1] == {"127.0.0.1:9003"}
        assert one.troubles == []


async def test_the_own_origin_is_not_found(advert: Callable[..., Advert]) -> None:
    same = advert(9001)
    async with running(Multicast(), same) as one, running(Multicast(), same):
        await one.until_found()


async def test_a_long_name_of_a_cluster(advert: Callable[..., Advert]) -> None:
    name = "ü" * 120
    async with (
        running(Multicast(), advert(9001, cluster=name)) as one,
        running(Multicast(), advert(9002, cluster=name)),
    ):
        await one.until_found("127.0.0.1:9002")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"origin": "-"}, "no origin"),
        ({"origin": "xyz"}, "no origin but 'xyz'"),
        ({"origin": "0" * 17}, "no origin"),
        ({"origin": "ÿ" * 8}, "no origin"),
        ({"version": "-"}, "update the older"),
        ({"version": "7"}, "speaks protocol version '7'"),
        ({"versions": "7-9"}, "speaks protocol version '7-9'"),
        ({"cluster": "-"}, "names no cluster"),
        ({"hosts": 500}, "names more than 16 addresses"),
        ({"port": 0}, "names port 0"),
    ],
)
async def test_nonsense_is_told_and_the_rest_is_found(
    changed: dict[str, str | int], says: str, advert: Callable[..., Advert], stack: ExitStack
) -> None:
    await in_thread(stack, like(advert(9000), **changed))
    async with (
        running(Multicast(), advert(9001)) as one,
        running(Multicast(), advert(9002)),
    ):
        await one.until_trouble("make no sense", says)
        await one.until_found("127.0.0.1:9002")
        assert len(one.troubles) == 1


async def test_a_nonsense_txt_record(advert: Callable[..., Advert], stack: ExitStack) -> None:
    await in_thread(stack, announced("strange \u202e name", {"\x00": b"\xff" * 200, "=": None}))
    async with running(Multicast(), advert(9001)) as one, running(Multicast(), advert(9002)):
        await one.until_trouble("strange", "names no cluster")
        await one.until_found("127.0.0.1:9002")


async def test_addresses_that_nobody_can_dial_are_left_out(
    advert: Callable[..., Advert], stack: ExitStack
) -> None:
    of = advert(9001)
    txt: dict[str, str | bytes | None] = {
        "cluster": of.cluster,
        "origin": "00000000000000aa",
        "version": "1",
        "versions": "1-2",
    }
    hosts = ("0.0.0.0", "224.0.0.1", "fe80::1", "203.0.113.9", LOOPBACK)
    await in_thread(stack, announced("00000000000000aa", txt, addresses=hosts))
    async with running(Multicast(), of) as one:
        await one.until_found("127.0.0.1:9000")


async def test_an_interface_that_this_machine_has_not(advert: Callable[..., Advert]) -> None:
    async with running(Multicast(("203.0.113.9",)), advert(9001)) as one:
        text = await one.until_trouble("multicast does not work here", "203.0.113.9", "peers=")
        assert "lo" in text
        assert one.addresses is None


async def test_an_address_without_a_network(advert: Callable[..., Advert]) -> None:
    async with running(Multicast(), advert(9001, "203.0.113.9")) as one:
        await one.until_trouble("multicast does not work here", "203.0.113.9", "peers=")


async def test_multicast_that_begins_to_work(
    advert: Callable[..., Advert], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(interfaces: object) -> tuple[list[str], list[str]]:
        return [], ["127.0.0.1: No such device"]

    with monkeypatch.context() as broken:
        broken.setattr(mdns, "usable", down)
        one_runs = running(Multicast(), advert(9001))
        one = await one_runs.__aenter__()
        await one.until_trouble("No such device", "name peers")
    async with running(Multicast(), advert(9002)):
        await one.until_found("127.0.0.1:9002")
        await one.until_fine()
    await one_runs.__aexit__(None, None, None)


async def test_own_announcements_that_do_not_come_back(
    advert: Callable[..., Advert], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(Zeroconf, "async_send", lambda *_, **__: None)
    async with running(Multicast(), advert(9001)) as one:
        await one.until_trouble("does not come back", "UDP port 5353")


async def test_new_addresses_of_the_machine_begin_a_new_session(
    advert: Callable[..., Advert], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "LOOK_SECONDS", 1.0)
    async with (
        running(Multicast(), advert(9001)) as one,
        running(Multicast(), advert(9002)) as two,
    ):
        await one.until_found("127.0.0.1:9002")
        await two.until_found("127.0.0.1:9001")
        sessions: list[object] = []
        before = one.works_count

        def changed(*arguments: object) -> object:
            sessions.append(arguments)
            plan = make_plan(None, LOOPBACK)
            return plan if len(sessions) > 1 else None

        monkeypatch.setattr(mdns, "make_plan", changed)
        with trio.fail_after(10):
            while len(sessions) < 10:
                await trio.sleep(0.05)
        await one.until(lambda: one.works_count > before)
        assert one.found_lists == [{"127.0.0.1:9002"}]
        assert two.found_lists == [{"127.0.0.1:9001"}]


async def test_no_thread_of_a_session_is_left(advert: Callable[..., Advert]) -> None:
    async with running(Multicast(), advert(9001)) as one:
        await one.until_found()
        assert any("serve" in thread.name for thread in threading.enumerate())
    assert not any("serve" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("interfaces", ["eth0", (), [], ("eth0", 7), 7])
def test_interfaces_that_are_none(interfaces: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="list addresses or names"):
        Multicast(interfaces)
