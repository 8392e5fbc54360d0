"""Sessions: two stores over a stream, and everything that can go wrong on the way."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

from replicator.config import OUTBOX_MESSAGES_MAX, QUEUE_CHUNKS_MAX, Settings
from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.core.members import Member, Roster
from replicator.core.resolvers import resolver_name
from replicator.errors import CommitError, ForkedContentsError, StoreFailedError
from replicator.net import transport
from replicator.net.address import Address
from replicator.net.transport import FramedStream
from replicator.peers.session import Session, Workers
from replicator.protocol.conversation import Conversation
from replicator.protocol.effects import Close, Report
from replicator.protocol.frames import frame
from replicator.protocol.me import Me
from replicator.protocol.messages import Bye, Known, Ping, Want
from replicator.protocol.pulls import Pulls
from replicator.store.apply import Applied
from replicator.store.source import Source
from replicator.store.store import Store

from .peers import ByHand, gathered, open_store, until

SETTINGS = Settings(linger=0.05, atomic_round_bytes=4096)


@dataclass
class Notes:
    """A host that writes down what it is told."""

    reports: list[Report] = field(default_factory=list)
    pieces: list[Applied] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    pokes: int = 0
    forks: int = 0
    closings: int = 0
    members: tuple[Member, ...] = ()

    def reported(self, session: Session, report: Report) -> None:
        self.reports.append(report)

    def applied(self, session: Session, applied: Applied) -> None:
        self.pieces.append(applied)

    def failed(self, session: Session, error: Exception) -> None:
        self.failures.append(error)

    def poke_others(self, session: Session) -> None:
        self.pokes += 1

    def learned(self, session: Session, members: tuple[Member, ...]) -> None:
        self.members += members

    def closed(self) -> None:
        self.closings += 1

    async def fork(self, session: Session, was_forgotten: bool) -> None:
        self.forks += 1

    def kinds(self) -> list[str]:
        return [report.kind for report in self.reports]


@dataclass
class End:
    """One end of a conversation."""

    store: Store
    session: Session
    notes: Notes


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    opened = [open_store(tmp_path / name, SETTINGS) for name in ("a", "b")]
    yield opened[0][1], opened[1][1]
    for db, store in opened:
        store.close()
        db.close()


def end(
    store: Store,
    stream: trio.abc.Stream,
    *,
    dialled: bool = False,
    settings: Settings = SETTINGS,
    patience: float = 10.0,
) -> End:
    notes = Notes()
    me = Me(
        cluster=settings.cluster,
        node="dialler" if dialled else "dialled",
        origin=store.origin,
        instance=b"dialler." if dialled else b"dialled.",
        resolver=resolver_name(None),
        known=store.known,
        shown=lambda: store.shown,
        cluster_id=lambda: store.cluster_id,
        has_data=store.has_data,
        wall_ms=lambda: 0,
        roster=Roster(),
        port=0,
    )
    conversation = Conversation(
        1,
        me,
        Pulls(settings.reask_timeout),
        settings,
        address="peer:1" if dialled else "",
        explicit=True,
        now=trio.current_time(),
    )
    framed = FramedStream(stream, Address("192.0.2.1", 9000), patience=patience)
    session = Session(framed, store, conversation, notes, Workers.make(), dialled)
    return End(store, session, notes)


def ends(stores: tuple[Store, Store], settings: Settings = SETTINGS) -> tuple[End, End]:
    one, other = memory_stream_pair()
    return (
        end(stores[0], one, dialled=True, settings=settings),
        end(stores[1], other, settings=settings),
    )


async def converse(stores: tuple[Store, Store]) -> tuple[End, End]:
    """One conversation from the greeting to the farewell."""
    a, b = ends(stores)
    closes = await gathered(a.session.run, b.session.run)
    assert [close.code for close in closes] == ["idle", "idle"]
    return a, b


def fill(store: Store, prefix: bytes, count: int, value: bytes = b"v" * 100) -> None:
    for start in range(0, count, 500):
        store.write([(b"%s%06d" % (prefix, n), value) for n in range(start, start + 500)])


async def test_both_sides_catch_up_in_one_conversation(stores: tuple[Store, Store]) -> None:
    a, b = stores
    fill(a, b"a", 5000)
    fill(b, b"b", 1500)
    first, second = await converse(stores)
    assert a.known() == b.known()
    assert a.digest() == b.digest()
    assert a.known().count() == 6500
    assert [report.records for report in first.notes.reports if report.kind == "round"] == [1500]
    assert [report.records for report in second.notes.reports if report.kind == "round"] == [5000]
    assert len(second.notes.pieces) > 5, "a large round is applied in pieces"
    assert first.notes.failures == second.notes.failures == []


async def test_a_small_round_is_one_piece(stores: tuple[Store, Store]) -> None:
    stores[0].put(b"key", b"value")
    _, b = await converse(stores)
    assert [(piece.records, piece.changed) for piece in b.notes.pieces] == [(1, 1)]


async def test_a_peer_below_the_purge_floor_gets_a_full_state_round(
    stores: tuple[Store, Store],
) -> None:
    """R9: nothing tells what was collected, so all keys of both sides are compared."""
    a, b = stores
    fill(a, b"a", 2000)
    fill(b, b"b", 1000)
    a.floor = {a.origin: 1500}
    first, second = await converse(stores)
    assert a.known() == b.known()
    assert a.digest() == b.digest()
    (report,) = [report for report in second.notes.reports if report.kind == "round"]
    assert report.full
    assert report.records >= 2000
    assert sum(piece.changed for piece in second.notes.pieces) == 2000
    assert b.floor == a.floor
    assert [one.full for one in first.notes.reports if one.kind == "round"] == [False]


async def test_conflicts_reach_the_host(stores: tuple[Store, Store]) -> None:
    stores[0].put(b"key", b"one")
    stores[1].put(b"key", b"two")
    a, b = await converse(stores)
    for notes in (a.notes, b.notes):
        (conflict,) = [one for piece in notes.pieces for one in piece.conflicts]
        assert conflict.key == b"key"
        assert {version.value for version in conflict.versions} == {b"one", b"two"}


async def test_what_is_shown_is_stored_before_it_is_sent(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stores[0], b"a", 500)
    a, b = ends(stores)
    calls: list[tuple[str, int]] = []
    show, send = stores[0].show, a.session._send_message

    def showing(seq: int) -> None:
        show(seq)
        calls.append(("shown", seq))

    def sending(message: Any) -> None:
        if isinstance(message, Known) and message.known:
            calls.append(("sent", message.known.highest(stores[0].origin)))
        send(message)

    monkeypatch.setattr(stores[0], "show", showing)
    monkeypatch.setattr(a.session, "_send_message", sending)
    await gathered(a.session.run, b.session.run)
    assert calls == [("shown", 500), ("sent", 500)]
    assert stores[0].shown == 500


async def test_changes_are_announced_while_a_conversation_is_open(
    stores: tuple[Store, Store],
) -> None:
    a, b = ends(stores, replace(SETTINGS, linger=60.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.session.run)
        nursery.start_soon(b.session.run)
        assert await a.session.caught_up()
        stores[0].put(b"key", b"value")
        a.session.known_changed()
        await until(lambda: stores[1].known() == stores[0].known())
        a.session.stop("closing", "that is all")
    assert b.session.over == Close("closing", "that is all", by_peer=True)


async def test_in_step_waits_for_both_directions(stores: tuple[Store, Store]) -> None:
    fill(stores[0], b"a", 2000)
    fill(stores[1], b"b", 2000)
    a, b = ends(stores, replace(SETTINGS, linger=60.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.session.run)
        nursery.start_soon(b.session.run)
        assert await a.session.in_step(fresh=False)
        assert stores[0].known() == stores[1].known()
        # Nobody has told the other session of this: the question brings it out.
        stores[1].put(b"late", b"value")
        assert await a.session.in_step(fresh=False)
        assert (b"late", stores[0].db.get(b"late") == b"value") == (b"late", 1)
        a.session.stop("closing", "that is all")
    assert not await a.session.in_step(fresh=False)


async def test_in_step_hears_out_what_the_peer_never_showed(stores: tuple[Store, Store]) -> None:
    """It is announced behind the greeting (R13), when this side has nothing more to say as yet."""
    for _ in range(5):
        stores[1].put(b"key", b"value")
        a, b = ends(stores, replace(SETTINGS, linger=0.0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.session.run)
            nursery.start_soon(b.session.run)
            assert await a.session.in_step(fresh=True)
            assert stores[0].known() == stores[1].known()


async def test_wrong_bytes_end_this_conversation_with_a_reason(
    stores: tuple[Store, Store],
) -> None:
    ours, theirs = memory_stream_pair()
    a = end(stores[0], ours)
    peer = ByHand(theirs)

    async def speak() -> None:
        await peer.greet()
        await theirs.send_all(frame(b"\x93\x63rubbish"))

    close, _ = await gathered(a.session.run, speak)
    assert close.code == "protocol"
    answer = await peer.receive()
    assert isinstance(answer, Bye)
    assert (answer.code, answer.reason) == ("protocol", close.reason)
    assert not stores[0].has_data()


async def test_a_farewell_is_heard_although_sending_fails(stores: tuple[Store, Store]) -> None:
    """The peer refuses us and is gone before we have said a word."""
    ours, theirs = memory_stream_pair()
    a = end(stores[0], ours)
    await ByHand(theirs).send(Bye("no room", "busy"))
    await theirs.aclose()
    assert await a.session.run() == Close("busy", "no room", by_peer=True)


async def test_a_peer_that_stops_reading_costs_no_memory_and_is_dropped(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores[0]
    fill(store, b"k", 50_000)
    chunks_read = 0
    read = Source.read

    def counted(source: Source, lack: KnownSet) -> Iterator[Chunk]:
        nonlocal chunks_read
        for chunk in read(source, lack):
            chunks_read += 1
            yield chunk

    monkeypatch.setattr(Source, "read", counted)
    ours, theirs = lockstep_stream_pair()
    a = end(store, ours, patience=0.3)
    peer = ByHand(theirs)

    async def ask_and_fall_silent() -> None:
        await peer.greet()
        await peer.send(Want(1, KnownSet()))

    close, _ = await gathered(a.session.run, ask_and_fall_silent)
    assert close == Close("lost", "the peer has read nothing for 0.3 s")
    assert chunks_read <= QUEUE_CHUNKS_MAX + 1, "of a hundred"
    assert store.open_source().close() is None, "no lock was left behind"


async def test_a_peer_that_asks_without_reading_is_held_up(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FAREWELL_SECONDS", 0)
    ours, theirs = lockstep_stream_pair()
    a = end(stores[0], ours, patience=0.5)
    peer = ByHand(theirs)
    asked = 0

    async def ask_and_ask() -> None:
        nonlocal asked
        await peer.greet()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(Ping())
                asked += 1

    close, _ = await gathered(a.session.run, ask_and_ask)
    assert close == Close("lost", "the peer has read nothing for 0.5 s")
    assert OUTBOX_MESSAGES_MAX < asked < 5 * OUTBOX_MESSAGES_MAX


@pytest.mark.parametrize("error", [CommitError("disk full"), StoreFailedError("reopen it")])
async def test_a_store_that_fails_ends_the_conversation_and_is_told(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stores[0].put(b"key", b"value")
    a, b = ends(stores)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(stores[1], "finish", fail)
    close_a, close_b = await gathered(a.session.run, b.session.run)
    assert b.notes.failures == [error]
    assert close_b.code == "failed"
    assert str(error) in close_b.reason
    assert close_a.by_peer
    assert str(error) not in close_a.reason, "what fails here is nobody else's business"


async def test_forked_contents_are_told_to_the_peer(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores[0].put(b"key", b"value")
    a, b = ends(stores)

    def fail(*_: object) -> None:
        raise ForkedContentsError("dot 1:1 has other contents")

    monkeypatch.setattr(stores[1], "finish", fail)
    close_a, _ = await gathered(a.session.run, b.session.run)
    assert [type(error) for error in b.notes.failures] == [ForkedContentsError]
    assert "dot 1:1" in close_a.reason


async def test_nothing_is_announced_that_could_not_be_stored_as_shown(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores[0].put(b"key", b"value")
    a, b = ends(stores)

    def fail(seq: int) -> None:
        raise CommitError("disk full")

    monkeypatch.setattr(stores[0], "show", fail)
    close_a, _ = await gathered(a.session.run, b.session.run)
    assert close_a.code == "failed"
    assert not b.session.conversation.peer_known
    assert not stores[1].known()


async def test_a_failed_show_comes_before_what_was_already_waiting(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot is open and about to be announced when storing what it shows fails: nothing of
    it may be told, for the conversation believes that this is stored."""
    store = stores[0]
    ours, theirs = memory_stream_pair()
    a = end(store, ours)
    peer = ByHand(theirs)
    showing = threading.Event()
    open_source = store.open_source

    def open_late() -> Source:
        showing.wait()
        return open_source()

    def fail(seq: int) -> None:
        showing.set()
        while not a.session._events:
            time.sleep(0.001)
        raise CommitError("disk full")

    monkeypatch.setattr(store, "open_source", open_late)
    monkeypatch.setattr(store, "show", fail)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.session.run)
        await peer.greet()
        await peer.send(Want(1, KnownSet()))
        await until(lambda: a.session.conversation.states[2] == "opening")
        store.put(b"key", b"value")
        a.session.known_changed()
        assert isinstance(await peer.receive(), Bye)


async def test_a_source_that_fails_ends_the_conversation(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stores[0], b"a", 2000)
    read = Source.read

    def broken(source: Source, lack: KnownSet) -> Iterator[Chunk]:
        yield next(iter(read(source, lack)))
        raise OSError("bad sector")

    monkeypatch.setattr(Source, "read", broken)
    a, b = ends(stores)
    close_a, close_b = await gathered(a.session.run, b.session.run)
    assert (close_a.code, close_b.by_peer) == ("failed", True)
    assert [str(error) for error in a.notes.failures] == ["bad sector"]


async def test_a_bug_ends_this_session_alone(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = ends(stores)

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(a.session.conversation, "receive", bug)
    close_a, close_b = await gathered(a.session.run, b.session.run)
    assert close_a.code == "lost"
    assert close_b.code == "lost"
    (error,) = a.notes.failures
    assert isinstance(error, ExceptionGroup)
    assert a.session.conversation.states[0] == "closed"


async def test_cancelling_closes_the_source_and_lets_go_of_everything(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stores[0], b"a", 5000)
    closed: list[Source] = []
    close = Source.close

    def closing(source: Source) -> None:
        close(source)
        closed.append(source)

    monkeypatch.setattr(Source, "close", closing)
    ours, theirs = lockstep_stream_pair()
    a = end(stores[0], ours)
    peer = ByHand(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.session.run)
        await peer.greet()
        await peer.send(Want(1, KnownSet()))
        await until(lambda: a.session.conversation.states[2] == "walking")
        nursery.cancel_scope.cancel()
    assert len(closed) == 1
    assert a.session.conversation.states[0] == "closed"
    assert a.session.over is not None
    assert a.notes.pokes == 1


async def test_what_is_being_applied_when_cancelled_is_applied_to_the_end(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores[0].put(b"key", b"value")
    a, b = ends(stores)
    entered = trio.Event()
    token = trio.lowlevel.current_trio_token()
    finish = stores[1].finish

    def slowly(*arguments: Any) -> Applied:
        token.run_sync_soon(entered.set)
        trio.from_thread.run_sync(lambda: None, trio_token=token)
        return finish(*arguments)

    monkeypatch.setattr(stores[1], "finish", slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.session.run)
        nursery.start_soon(b.session.run)
        await entered.wait()
        b.session.cancel()
    assert stores[1].known() == stores[0].known()
    assert [piece.records for piece in b.notes.pieces] == [1]
    assert b.session.conversation.states[0] == "closed"
