"""What a page is told, live."""

import json
from functools import partial
from pathlib import Path

import pytest

from replicator.faces.http import broadcast, pulse
from replicator.faces.http.history import FIELDS

from .serving import ADMIN, Events, Resp, alone, conflicting, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "SAMPLE_SECONDS", 0.1)


async def test_a_page_begins_with_everything_and_goes_on_with_what_is_new(tmp_path: Path) -> None:
    reads = iter(range(0, 10**6, 10))
    async with alone(tmp_path, resp=lambda: Resp(clients=5, reads=next(reads))) as served:
        for _ in range(3):
            early = await Events.open(served)
            assert await early.next("tick") is not None
        page = await Events.open(served)
        state = await page.next("state")
        assert state["node"]["name"] == "a" and state["node"]["clients"] == 5
        assert state["history"]["fields"] == list(FIELDS)
        assert len(state["history"]["points"]) >= 3
        assert state["peers"] == [] and state["happenings"] == []
        for number in range(50):
            served.replica.put(b"%d" % number, b"v")

        async def has_written() -> bool:
            tick = await page.next("tick")
            return dict(zip(FIELDS, tick["point"], strict=True))["writes"] > 0

        await until(has_written)


async def test_a_new_page_has_the_events_of_before(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"k") as (served, theirs):

        async def has_all() -> bool:
            page = await Events.open(served, ADMIN)
            state = await page.next("state")
            kinds = {one["kind"] for one in state["happenings"]}
            return {"connect", "round", "conflict"} <= kinds

        await until(has_all)
        page = await Events.open(served)
        await page.next("state")
        theirs.put(b"l", b"v")
        assert await served.replica.synchronize(30)

        async def has_a_round() -> bool:
            told = await page.next("happenings")
            return any(one["kind"] == "round" and "from" not in one["text"] for one in told)

        await until(has_a_round)


async def test_keys_and_values_are_for_those_who_have_the_token(tmp_path: Path) -> None:
    values = (b"value-of-ours", b"value-of-theirs")
    async with conflicting(tmp_path, b"secret-key", values=values) as (served, theirs):
        blind, seeing = await Events.open(served), await Events.open(served, ADMIN)
        closed, opened = await blind.next("state"), await seeing.next("state")
        assert closed["conflicts"]["locked"] and not opened["conflicts"]["locked"]

        async def is_listed(page: Events) -> bool:
            told = await page.next("conflicts")
            return bool(told["listed"])

        if not opened["conflicts"]["listed"]:
            await until(partial(is_listed, seeing))

        async def is_counted() -> bool:
            told = (await (await Events.open(served)).next("state"))["conflicts"]
            assert told["locked"] and told["listed"] == []
            return bool(told["open"] == 1)

        await until(is_counted)
        theirs.put(b"other", b"v")
        for page in (blind, seeing):
            assert await page.next("tick") is not None
        assert "secret-key" not in blind._held + json.dumps(closed)
        assert "value-of" not in blind._held + json.dumps([closed, opened["happenings"]])
        wrong = await served.ask("/events", headers={"Authorization": "Bearer wrong"})
        assert (wrong.status, wrong.json["error"]) == (401, "this is not the token")


async def test_what_one_page_begins_with_is_still_told_to_the_others(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"k") as (served, theirs):
        page = await Events.open(served, ADMIN)
        told = (await page.next("state"))["conflicts"]
        while not told["listed"]:
            told = await page.next("conflicts")
        served.replica.put(b"l", b"ours")
        theirs.put(b"l", b"theirs")
        await served.replica.synchronize(30)

        async def is_told() -> bool:
            other = await Events.open(served, ADMIN)  # which looks at the conflicts, too
            await other.next("state")
            await other.close()
            return len((await page.next("conflicts"))["listed"]) == 2

        await until(is_told)


async def test_settling_is_told_to_all(tmp_path: Path) -> None:
    async with conflicting(tmp_path, b"k") as (served, _):
        page = await Events.open(served, ADMIN)
        await page.next("state")

        async def is_open(count: int) -> bool:
            told = await page.next("conflicts")
            return bool(told["open"] == count and len(told["listed"]) == count)

        await until(partial(is_open, 1))
        winner, *_ = served.replica.versions(b"k")
        assert (await served.settle(key="k", dot=str(winner.dot))).json["settled"]
        told = await page.next("happenings")
        assert [(one["kind"], one["key"]["text"]) for one in told] == [("settled", "k")]
        await until(partial(is_open, 0))


async def test_pages_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "WATCHERS_MAX", 3)
    async with alone(tmp_path) as served:
        pages = [await Events.open(served) for _ in range(3)]
        for page in pages:
            assert await page.next("tick") is not None
        answer = await served.ask("/events")
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        await pages[0].close()

        async def has_room() -> bool:
            return not served.server._pulse.broadcast.is_full

        await until(has_room)
        assert await (await Events.open(served)).next("state") is not None


async def test_a_page_that_does_not_read_is_let_go_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with alone(tmp_path) as served:
        slow, quick = await Events.open(served), await Events.open(served)
        assert await slow.next("tick") is not None
        shared = served.server._pulse.broadcast

        async def is_dropped() -> bool:
            for _ in range(100):
                shared.send(broadcast.message("filler", "x" * 100_000))
                await quick.next("filler")
            return shared.dropped > 0

        await until(is_dropped)
        assert len(shared) == 1
        assert await quick.next("tick") is not None


async def test_the_end_of_the_server_ends_pages(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        page = await Events.open(served)
        assert await page.next("tick") is not None
        served.scope.cancel()
        assert await page.next("never") is None
        assert page.is_over


async def test_it_is_an_event_stream(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        stream = await served.raw()
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = bytes(await stream.receive_some(1 << 16)).lower()
        assert b"content-type: text/event-stream" in head
        assert b"cache-control: no-store" in head
        answer = await served.ask("/events", "HEAD")
        assert (answer.status, answer.body) == (200, b"")


async def test_a_page_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with alone(tmp_path) as served:
        page = await Events.open(served)
        assert await page.next("tick") is not None
        assert len(served.server._pulse.broadcast) == 1
        await page.close()

        async def is_forgotten() -> bool:
            return len(served.server._pulse.broadcast) == 0

        await until(is_forgotten)
