"""Peers that a function of the program gives, in all its forms."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
import trio

from replicator.config import DISCOVERED_ADDRESSES_MAX
from replicator.errors import ConfigError
from replicator.net.discovery.function import Function
from tests.discovery.told import running

INTERVAL_SECONDS = 0.02


def asking(function: object) -> Function:
    return Function(function, interval=INTERVAL_SECONDS)  # type: ignore[arg-type]


class Registry:
    """What a program asks."""

    def __init__(self) -> None:
        self.peers: object = ["10.0.0.1:9000"]
        self.threads: set[str] = set()

    def plain(self) -> object:
        self.threads.add(threading.current_thread().name)
        if isinstance(self.peers, Exception):
            raise self.peers
        return self.peers

    async def asynchronous(self) -> object:
        await trio.lowlevel.checkpoint()
        return self.plain()

    async def generator(self) -> AsyncIterator[object]:
        while True:
            yield await self.asynchronous()

    def iterable(self) -> object:
        return self.generator()

    def coroutine(self) -> object:
        return self.asynchronous()

    @property
    def object(self) -> object:
        class Iterable:
            def __aiter__(_) -> AsyncIterator[object]:
                return self.generator()

        return Iterable()


FORMS = ["plain", "asynchronous", "generator", "iterable", "coroutine", "object"]


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_gives_full_lists(form: str) -> None:
    registry = Registry()
    async with running(asking(getattr(registry, form))) as told:
        await told.until_found("10.0.0.1:9000")
        registry.peers = ("10.0.0.2:9000", "10.0.0.3:9000")
        await told.until_found("10.0.0.2:9000", "10.0.0.3:9000")
        registry.peers = []
        await told.until_found()
        assert told.troubles == []


@pytest.mark.parametrize("form", FORMS)
async def test_what_it_raises_is_told_and_the_last_list_stays(form: str) -> None:
    registry = Registry()
    async with running(asking(getattr(registry, form))) as told:
        await told.until_found("10.0.0.1:9000")
        registry.peers = KeyError("db")
        await told.until_trouble("KeyError: 'db'")
        assert told.addresses == {"10.0.0.1:9000"}
        registry.peers = ["10.0.0.2:9000"]
        await told.until_found("10.0.0.2:9000")
        await told.until_fine()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("nonsense", "says"),
    [
        (None, "None, which is no list"),
        ("10.0.0.9:9000", "which is no list"),
        (b"10.0.0.9:9000", "which is no list"),
        (7, "7, which is no list"),
        (["rubbish"], "item 1: 'rubbish' is no address"),
        ([("10.0.0.9", 9000)], "item 1: ('10.0.0.9', 9000) is no text"),
    ],
)
async def test_nonsense_is_told_and_the_last_list_stays(
    form: str, nonsense: object, says: str
) -> None:
    registry = Registry()
    async with running(asking(getattr(registry, form))) as told:
        await told.until_found("10.0.0.1:9000")
        registry.peers = nonsense
        await told.until_trouble(says)
        assert told.addresses == {"10.0.0.1:9000"}
        registry.peers = ["10.0.0.2:9000"]
        await told.until_found("10.0.0.2:9000")


async def test_nonsense_among_addresses() -> None:
    async with running(asking(lambda: ["10.0.0.1:9000", None])) as told:
        await told.until_found("10.0.0.1:9000")
        await told.until_trouble("item 2")


async def test_a_list_without_end() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"h{number}:9000"

    async with running(asking(endless)) as told:
        await told.until(lambda: len(told.addresses or ()) == DISCOVERED_ADDRESSES_MAX)
        await told.until_trouble("more than")


async def test_an_iterator_that_ends_is_begun_anew() -> None:
    begun = []

    async def once() -> AsyncIterator[list[str]]:
        begun.append(None)
        yield [f"h{len(begun)}:9000"]

    async with running(asking(once)) as told:
        await told.until_found("h1:9000")
        await told.until_found("h2:9000")


async def test_an_iterator_cleans_up_when_cancelled() -> None:
    ended = []

    async def waiting() -> AsyncIterator[list[str]]:
        try:
            yield ["10.0.0.1:9000"]
            await trio.sleep_forever()
        finally:
            ended.append(None)

    async with running(asking(waiting)) as told:
        await told.until_found("10.0.0.1:9000")
    assert ended == [None]


async def test_a_plain_function_runs_in_another_thread() -> None:
    registry = Registry()
    async with running(asking(registry.plain)) as told:
        await told.until_found("10.0.0.1:9000")
    assert threading.current_thread().name not in registry.threads


async def test_one_that_never_returns_does_not_hold_up_the_end() -> None:
    release = threading.Event()
    called = threading.Event()

    def hanging() -> list[str]:
        called.set()
        release.wait()
        return []

    try:
        with trio.fail_after(20):
            async with running(asking(hanging)):
                await trio.to_thread.run_sync(called.wait)
    finally:
        release.set()


class Callable_:
    async def __call__(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return ["10.0.0.1:9000"]


@pytest.mark.parametrize("function", [Callable_(), partial(lambda host: [host], "10.0.0.1:9000")])
async def test_other_callables(function: Callable[[], list[str]]) -> None:
    async with running(asking(function)) as told:
        await told.until_found("10.0.0.1:9000")


def test_its_name() -> None:
    assert Function(Registry().plain).name == "function Registry.plain"  # type: ignore[arg-type]
    assert Function(partial(sorted, [])).name == "function sorted"
    assert Function(Callable_()).name == "function Callable_"


@pytest.mark.parametrize("function", [None, ["10.0.0.1:9000"], "10.0.0.1:9000"])
def test_what_is_no_function(function: object) -> None:
    with pytest.raises(ConfigError, match="finds no peers"):
        asking(function)
