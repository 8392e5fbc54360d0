"""Messages to every page that is open."""

import json

import pytest
import trio
from starlette.types import Message

from replicator.faces.http import broadcast as module
from replicator.faces.http.broadcast import HEARTBEAT, Broadcast, EventStream, message, next_message


def test_a_message_is_one_event_whatever_is_in_it() -> None:
    text = message("kind", {"text": "a\nb\r\n\nevent: other\u2028"})
    assert text.count(b"\n") == 3 and text.endswith(b"\n\n")
    kind, data, *_ = text.split(b"\n")
    assert kind == b"event: kind"
    assert json.loads(data.removeprefix(b"data: ")) == {"text": "a\nb\r\n\nevent: other\u2028"}


async def test_all_get_what_they_may_see() -> None:
    broadcast = Broadcast()
    with broadcast.page(True) as seeing, broadcast.page(False) as blind:
        assert len(broadcast) == 2 and broadcast.sees_data
        broadcast.send(b"all")
        broadcast.send(b"data", to_data=True)
        broadcast.send(b"no data", to_data=False)
        assert [await seeing.receive(), await seeing.receive()] == [b"all", b"data"]
        assert [await blind.receive(), await blind.receive()] == [b"all", b"no data"]
    assert len(broadcast) == 0 and not broadcast.sees_data


async def test_who_does_not_keep_up_is_let_go() -> None:
    broadcast = Broadcast()
    with broadcast.page(False) as slow, broadcast.page(False) as quick:
        for number in range(module.WATCHER_MESSAGES_MAX + 1):
            broadcast.send(b"%d" % number)
            assert await quick.receive() == b"%d" % number
        assert (broadcast.dropped, len(broadcast)) == (1, 1)
        read = [text async for text in slow]
        assert len(read) == module.WATCHER_MESSAGES_MAX


async def test_there_is_a_heartbeat_where_nothing_happens(autojump_clock: object) -> None:
    broadcast = Broadcast()
    with broadcast.page(False) as page:
        before = trio.current_time()
        assert await next_message(page) == HEARTBEAT
        assert trio.current_time() - before == pytest.approx(module.WATCHER_HEARTBEAT_SECONDS)
        broadcast.send(b"news")
        assert await next_message(page) == b"news"


async def test_those_who_see_data_can_be_let_go() -> None:
    broadcast = Broadcast()
    with broadcast.page(True) as seeing, broadcast.page(False) as blind:
        broadcast.let_go()
        broadcast.send(b"news")
        assert await next_message(seeing) is None
        assert await next_message(blind) == b"news"
        assert (len(broadcast), broadcast.dropped) == (1, 0)


async def test_a_page_begins_with_nothing_older_than_its_first_message() -> None:
    broadcast = Broadcast()
    sent: list[bytes] = []

    async def first() -> bytes:
        broadcast.send(b"older")
        return b"first"

    async def receive() -> Message:
        await trio.sleep_forever()
        raise AssertionError

    async def send(part: Message) -> None:
        sent.append(part.get("body", b""))
        if part.get("body") == b"first":
            broadcast.send(b"newer")
            broadcast.end()

    await EventStream(broadcast, first, True)({"method": "GET"}, receive, send)
    assert sent == [b"", b"first", b"newer", b""]


async def test_the_end_ends_all() -> None:
    broadcast = Broadcast()
    with broadcast.page(False) as page:
        broadcast.end()
        assert await next_message(page) is None
    with broadcast.page(False) as late:
        assert await next_message(late) is None
