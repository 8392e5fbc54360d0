"""Membership: what a node says of itself, learns, stores, and whom it forgets."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from replicator.config import ADDRESS_BYTES_MAX, ADDRESSES_PER_MEMBER_MAX, Settings
from replicator.core import members as members_module
from replicator.core.dots import format_origin
from replicator.core.members import FORGOTTEN, Member
from replicator.errors import StorageError, UsageError
from replicator.net.address import Address, parse_address
from replicator.peers import membership as membership_module
from replicator.peers.contacts import Contact, Contacts
from replicator.peers.journal import Journal
from replicator.peers.membership import (
    ACK_SECONDS,
    FEW_MEMBERS,
    GOSSIP_SECONDS,
    HEARTBEAT_SECONDS,
    SILENCES_MAX,
    Membership,
)
from replicator.status import MemberStatus
from replicator.store import opening
from replicator.store.store import Store
from tests.store.places import Place

from .peers import Peer, converged, open_store, running, until

OTHER, THIRD = 0xB, 0xC
START_MS = 1_700_000_000_000
LISTENING = Address("0.0.0.0", 9000)
SILENCE_SECONDS = SILENCES_MAX * HEARTBEAT_SECONDS
PLAIN = Settings(join_timeout=0.0)


class Clock:
    """A wall clock that tests set."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


class Bench:
    """A membership over a real store, with nobody connected."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.contacts = Contacts(store.origin, b"instance")
        self.membership = Membership(store, self.contacts, Journal("a"))

    @property
    def own(self) -> Member:
        found = self.membership.roster.get(self.store.origin)
        assert found is not None
        return found

    def of(self, name: str) -> MemberStatus:
        rows = self.membership.status(self.store.known(), 0.0)
        (row,) = (row for row in rows if row.name == name)
        return row


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(membership_module, "_wall_ms", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    db, store = open_store(tmp_path / "a", PLAIN)
    yield store
    store.close()
    db.close()


@pytest.fixture
def virtual(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> trio.testing.MockClock:
    """Virtual time, which does not wait for threads: so there are none."""

    async def at_once(call: Callable[..., object], *arguments: object) -> object:
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    return autojump_clock


@pytest.fixture
async def bench(store: Store, clock: Clock) -> Bench:
    bench = Bench(store)
    bench.membership.begin("a", LISTENING)
    return bench


def told(origin: int, revision: int = 1, name: str = "b", **changes: Any) -> Member:
    return replace(Member(origin, revision, name, said_ms=START_MS), **changes)


# Speaking for itself


async def test_a_node_says_who_it_is(bench: Bench) -> None:
    own = bench.own
    assert (own.name, own.since_ms, own.said_ms) == ("a", START_MS, START_MS)
    assert own.revision == START_MS
    assert own.known == bench.store.durable_known()
    assert bench.of("a").is_self


async def test_every_word_has_a_revision_of_its_own_also_when_the_clock_stands_or_goes_back(
    bench: Bench, clock: Clock
) -> None:
    revisions = [bench.own.revision]
    for step in (0, 0, -10_000, 5_000, 30_000):
        clock.ms += step
        bench.membership.speak()
        revisions.append(bench.own.revision)
    assert revisions == sorted(set(revisions))
    assert revisions[-1] == clock.ms
    assert bench.own.since_ms == START_MS


async def test_a_node_acknowledges_what_is_durable_and_no_more(bench: Bench) -> None:
    bench.store.put(b"key", b"value")
    bench.membership.speak()
    assert not bench.own.known
    bench.store.sync_point()
    assert not bench.own.known
    bench.membership.speak()
    assert bench.own.known == bench.store.known()


async def test_an_own_account_of_another_life_is_replaced(bench: Bench, clock: Clock) -> None:
    """A directory that was rolled back hears of what it said since."""
    later = replace(bench.own, revision=START_MS + 99, known=bench.store.known())
    bench.membership.learn("peer b", (later,))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.membership.keep)
        await until(lambda: bench.own.revision > START_MS + 99)
        nursery.cancel_scope.cancel()
    assert bench.own.known == bench.store.durable_known()


# Where it was reached


@pytest.mark.parametrize(
    ("listening", "reached", "is_told"),
    [
        ("0.0.0.0:9000", "192.0.2.1:9000", True),
        ("192.0.2.1:9000", "192.0.2.1:9000", True),
        ("0.0.0.0:9000", "127.0.0.1:9000", False),
        ("192.0.2.1:9000", "[::1]:9000", False),
        ("127.0.0.1:9000", "127.0.0.1:9000", True),
        ("[::1]:9000", "[::1]:9000", True),
        ("0.0.0.0:9000", "no address", False),
        ("0.0.0.0:9000", "host:0", False),
        ("0.0.0.0:9000", "", False),
        (None, "192.0.2.1:9000", False),
    ],
)
async def test_a_node_tells_where_others_can_reach_it(
    store: Store, clock: Clock, listening: str | None, reached: str, is_told: bool
) -> None:
    bench = Bench(store)
    bench.membership.begin("a", None if listening is None else parse_address(listening))
    bench.membership.reached(reached)
    bench.membership.speak()
    assert bench.own.addresses == ((reached,) if is_told else ())


async def test_the_newest_addresses_are_kept(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(ADDRESSES_PER_MEMBER_MAX + 3):
        await trio.sleep(1)
        bench.membership.reached(f"192.0.2.{number}:9000")
    await trio.sleep(1)
    bench.membership.reached("192.0.2.5:9000")
    bench.membership.speak()
    assert bench.own.addresses == tuple(f"192.0.2.{n}:9000" for n in (5, 10, 9, 8, 7, 6, 4, 3))


async def test_addresses_outlive_a_restart_while_the_port_stays(bench: Bench, store: Store) -> None:
    bench.membership.reached("192.0.2.1:9000")
    bench.membership.speak()
    await bench.membership.save()
    for port, kept in ((9000, ("192.0.2.1:9000",)), (9001, ())):
        again = Bench(store)
        again.membership.begin("a", Address("0.0.0.0", port))
        assert again.own.addresses == kept


# Learning


async def test_what_is_learnt_is_stored_and_read_again(bench: Bench, store: Store) -> None:
    account = told(OTHER, addresses=("192.0.2.9:9000",))
    bench.membership.learn("peer b", (account, told(THIRD, FORGOTTEN, "c")))
    await bench.membership.save()
    again = Bench(store)
    assert again.membership.roster.get(OTHER) == account
    assert again.membership.roster.is_forgotten(THIRD)
    assert again.membership.addresses() == {Address("192.0.2.9", 9000): OTHER}


async def test_of_a_thousand_addresses_a_few_are_used_and_one_line_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    many = tuple(f"192.0.{n // 256}.{n % 256}:9000" for n in range(1000))
    with caplog.at_level(logging.WARNING, "replicator"):
        for revision in range(1, 6):
            bench.membership.learn("peer b", (told(OTHER, revision, addresses=many),))
    found = bench.membership.roster.get(OTHER)
    assert found is not None
    assert found.addresses == many[:ADDRESSES_PER_MEMBER_MAX]
    assert len(bench.membership.addresses()) == ADDRESSES_PER_MEMBER_MAX
    (line,) = caplog.messages
    assert "1000 addresses" in line
    assert "peer b" in line


async def test_an_address_that_is_none_is_logged_once_and_the_others_are_used(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    addresses = ("192.0.2.9:9000", "\x1b[31mred", "x" * ADDRESS_BYTES_MAX)
    bench.membership.learn("peer b", (told(OTHER, addresses=addresses[:2]),))
    with caplog.at_level(logging.WARNING, "replicator"):
        for _ in range(3):
            assert bench.membership.addresses() == {Address("192.0.2.9", 9000): OTHER}
    assert len(caplog.messages) == 1
    assert "\x1b" not in caplog.messages[0]


async def test_an_older_account_changes_nothing(bench: Bench) -> None:
    bench.membership.learn("peer b", (told(OTHER, 5, "new"),))
    bench.membership.learn("peer b", (told(OTHER, 4, "old"),))
    assert bench.of("new").origin == format_origin(OTHER)


# When a node was heard of last


@pytest.mark.parametrize("skew_ms", [0, 3_600_000, -3_600_000])
async def test_when_a_node_spoke_is_told_by_the_own_clock(
    bench: Bench, clock: Clock, skew_ms: int
) -> None:
    """However far the other clock is off: by how much later it spoke than before."""
    bench.membership.met(OTHER, "b")
    first = clock.ms + skew_ms
    bench.membership.learn("peer b", (told(OTHER, 1, said_ms=first),))
    clock.ms += 60_000
    bench.membership.learn("peer c", (told(OTHER, 2, said_ms=first + 20_000),))
    assert bench.of("b").last_seen_seconds == 40
    clock.ms += 10_000
    assert bench.of("b").last_seen_seconds == 50


async def test_of_a_node_that_was_only_told_of_its_own_clock_is_believed(
    bench: Bench, clock: Clock
) -> None:
    bench.membership.learn("peer b", (told(OTHER, said_ms=START_MS - 7_000),))
    assert bench.of("b").last_seen_seconds == 7
    bench.membership.learn("peer b", (told(THIRD, name="c", said_ms=START_MS + 10**9),))
    assert bench.of("c").last_seen_seconds == 0


async def test_relayed_accounts_of_a_node_whose_clock_is_behind_let_it_live(
    bench: Bench, clock: Clock
) -> None:
    """Its first account looks old; every later one moves it on as its own clock does."""
    bench.membership.learn("peer b", (told(OTHER, 1, said_ms=START_MS - 3_600_000),))
    seen = bench.of("b").last_seen_seconds
    for revision in range(2, 5):
        clock.ms += 60_000
        said_ms = START_MS - 3_600_000 + 60_000 * (revision - 1)
        bench.membership.learn("peer b", (told(OTHER, revision, said_ms=said_ms),))
        assert bench.of("b").last_seen_seconds == seen
    bench.membership.met(OTHER, "b")
    assert bench.of("b").last_seen_seconds == 0


async def test_a_node_whose_clock_goes_back_is_not_older_for_it(bench: Bench, clock: Clock) -> None:
    bench.membership.learn("peer b", (told(OTHER, 1),))
    clock.ms += 5_000
    bench.membership.learn("peer b", (told(OTHER, 2, said_ms=START_MS - 10**6),))
    assert bench.of("b").last_seen_seconds == 5


async def test_when_it_was_heard_of_outlives_a_restart(
    bench: Bench, store: Store, clock: Clock
) -> None:
    bench.membership.met(OTHER, "b")
    await bench.membership.save()
    clock.ms += 9_000
    assert Bench(store).of("b").last_seen_seconds == 9


async def test_a_node_that_is_silent_for_long_does_not_live(bench: Bench, clock: Clock) -> None:
    bench.membership.met(OTHER, "b")
    clock.ms += int(SILENCE_SECONDS * 1000) - 1
    assert bench.of("b").alive
    clock.ms += 1
    assert not bench.of("b").alive
    assert bench.of("a").alive


# Forgetting


def refusal(bench: Bench, text: str) -> str:
    before = bench.membership.roster.revisions()
    with pytest.raises(UsageError) as caught:
        bench.membership.forget(text)
    assert bench.membership.roster.revisions() == before
    return str(caught.value)


async def test_a_member_that_is_gone_can_be_forgotten(
    bench: Bench, store: Store, clock: Clock
) -> None:
    bench.membership.met(OTHER, "b")
    bench.membership.met(THIRD, "c")
    clock.ms += int(SILENCE_SECONDS * 1000)
    bench.membership.forget("b")
    bench.membership.forget(format_origin(THIRD))
    assert [member.name for member in bench.membership.roster.members()] == ["a"]
    await bench.membership.save()
    assert Bench(store).membership.roster.is_forgotten(OTHER)
    assert "no member" in refusal(bench, "b")


async def test_a_node_does_not_forget_itself(bench: Bench) -> None:
    assert "ask another one" in refusal(bench, "a")
    assert "ask another one" in refusal(bench, format_origin(bench.store.origin))


async def test_a_live_member_is_not_forgotten(bench: Bench, clock: Clock) -> None:
    bench.membership.met(OTHER, "b")
    clock.ms += int(SILENCE_SECONDS * 1000) - 1000
    assert "stop it" in refusal(bench, "b")
    clock.ms += 10**9
    contact = Contact(OTHER, "b", sessions=[cast(Any, object())])
    bench.contacts.by_origin[OTHER] = contact
    assert "stop it" in refusal(bench, "b")
    contact.sessions.clear()
    bench.membership.parted(OTHER)
    assert "0 s ago" in refusal(bench, "b")


async def test_whom_the_roster_has_no_room_for_leaves_no_trace(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_module, "MEMBERS_MAX", 3)
    for origin in range(1, 100):
        bench.membership.met(origin, "stranger")
        bench.membership.parted(origin)
    assert len(bench.membership.roster) == 3
    assert len(bench.membership._heard_ms) == 2, "but for itself"


async def test_what_is_no_member_is_not_forgotten(bench: Bench) -> None:
    assert "`replicator members`" in refusal(bench, "nobody")
    assert "`replicator members`" in refusal(bench, format_origin(OTHER))


async def test_of_members_of_one_name_the_origin_tells_which(bench: Bench, clock: Clock) -> None:
    for origin in (OTHER, THIRD):
        bench.membership.met(origin, "twin")
    clock.ms += int(SILENCE_SECONDS * 1000)
    text = refusal(bench, "twin")
    assert format_origin(OTHER) in text
    assert format_origin(THIRD) in text
    bench.membership.forget(format_origin(OTHER))
    bench.membership.forget("twin")
    assert bench.membership.roster.is_forgotten(THIRD)


async def test_in_a_large_cluster_silence_is_longer(bench: Bench, clock: Clock) -> None:
    for origin in range(1, 2 * FEW_MEMBERS):
        bench.membership.met(origin, f"node {origin}")
    clock.ms += int(SILENCE_SECONDS * 1000)
    assert "stop it" in refusal(bench, "node 1")
    clock.ms += int(SILENCE_SECONDS * 1000)
    bench.membership.forget("node 1")


# When this node is the one that was forgotten


async def test_who_was_forgotten_says_nothing_more_under_that_origin(bench: Bench) -> None:
    forgotten: list[bool] = []
    bench.membership.on_forgotten = lambda: forgotten.append(True)
    bench.membership.learn("peer b", (bench.own.forgotten(),))
    assert forgotten == [True]
    bench.membership.speak()
    assert bench.own.is_forgotten
    with trio.move_on_after(0.05):
        await bench.membership.keep()
    assert bench.own.is_forgotten


async def test_who_was_forgotten_and_died_before_it_forked_does_so_at_the_next_start(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "a"
    db, store = open_store(directory)
    origin = store.origin
    store.save_members([(Member(origin, FORGOTTEN, "a"), 0)])
    store.close()
    db.close()
    async with running(directory) as a:
        await until(lambda: a.store.origin != origin)
        await a.put(b"key", b"value")
        assert [row.origin for row in a.node.members()] == [format_origin(a.store.origin)]


# The task that keeps it


async def test_changes_are_passed_on_together_and_stored(
    bench: Bench, store: Store, virtual: trio.testing.MockClock
) -> None:
    told_at: list[float] = []
    bench.membership.on_change = lambda: told_at.append(trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.membership.keep)
        await trio.sleep(GOSSIP_SECONDS / 10)
        for origin in range(1, 9):
            bench.membership.met(origin, f"node {origin}")
        await trio.sleep(2 * GOSSIP_SECONDS)
        nursery.cancel_scope.cancel()
    assert len(told_at) == 2, "once for itself, once for all the others"
    assert told_at[1] - told_at[0] >= GOSSIP_SECONDS
    assert len(store.members()) == 9


async def test_a_node_that_has_nothing_to_say_shows_now_and_then_that_it_lives(
    bench: Bench, virtual: trio.testing.MockClock
) -> None:
    before = bench.own.revision
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.membership.keep)
        await trio.sleep(HEARTBEAT_SECONDS * 4.5)
        nursery.cancel_scope.cancel()
    assert bench.own.revision == before + 4


async def test_what_has_become_durable_is_acknowledged_soon(
    bench: Bench, virtual: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.membership.keep)
        await trio.sleep(1)
        bench.store.put(b"key", b"value")
        bench.store.sync_point()
        bench.membership.synced()
        await trio.sleep(ACK_SECONDS + GOSSIP_SECONDS)
        nursery.cancel_scope.cancel()
    assert bench.own.known == bench.store.known()


async def test_what_could_not_be_stored_is_stored_the_next_time(
    bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: Store, rows: object) -> None:
        raise StorageError("a simulated failure")

    bench.membership.met(OTHER, "b")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "save_members", fail)
        with pytest.raises(StorageError):
            await bench.membership.save()
    assert store.members() == []
    await bench.membership.save()
    assert {member.name for member, _ in store.members()} == {"a", "b"}


# Real nodes


def names(peer: Peer) -> list[str]:
    return [row.name for row in peer.node.members()]


async def test_in_a_line_everybody_hears_of_everybody(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a") as a,
        running(tmp_path / "b", a.address) as b,
        running(tmp_path / "c", b.address) as c,
        running(tmp_path / "d", c.address) as d,
    ):
        await until(lambda: all(names(peer) == ["a", "b", "c", "d"] for peer in (a, b, c, d)))
        await a.put(b"key", b"value")
        await converged(a, b, c, d)
        await until(lambda: a.node._membership.watermark().covered == {a.store.origin: 1})


async def test_who_was_forgotten_takes_a_new_origin_and_keeps_its_writes(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a:
        async with running(tmp_path / "b", a.address) as b:
            await b.put(b"from b", b"1")
            await converged(a, b)
            origin = b.store.origin
        a.node._membership._heard_ms[origin] = 0
        a.node.forget("b")
        assert names(a) == ["a"]
        db, store = open_store(tmp_path / "b")
        store.put(b"while away", b"2")
        store.close()
        db.close()
        async with running(tmp_path / "b", a.address) as b:
            await until(lambda: b.store.origin != origin)
            await until(lambda: a.db.get(b"while away") == b"2")
            await converged(a, b)
            await until(lambda: names(a) == names(b) == ["a", "b"])
            assert a.node._membership.roster.is_forgotten(origin)
            assert a.db.get(b"from b") == b"1"


async def test_a_node_that_runs_hears_by_relay_that_it_was_forgotten(tmp_path: Path) -> None:
    """A person forgot it where it was not connected; it lives, and joins anew."""
    async with (
        running(tmp_path / "a") as a,
        running(tmp_path / "b", a.address) as b,
        running(tmp_path / "c", b.address) as c,
    ):
        await c.put(b"from c", b"1")
        await until(lambda: names(a) == ["a", "b", "c"])
        origin = c.store.origin
        a.node._membership._heard_ms[origin] = 0
        a.node.forget(format_origin(origin))
        await until(lambda: c.store.origin != origin)
        await c.put(b"later", b"2")
        await converged(a, b, c)
        await until(lambda: names(a) == names(b) == names(c) == ["a", "b", "c"])
        for peer in (a, b, c):
            assert peer.node._membership.roster.is_forgotten(origin)


async def test_the_origin_of_before_a_machine_crash_is_forgotten(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "a", settings=PLAIN)
    before = Bench(place.open())
    before.membership.begin("a", LISTENING)
    await before.membership.save()
    former = before.store.origin
    place.store.sync_point()
    place.kill()
    here = opening.look_around
    monkeypatch.setattr(opening, "look_around", lambda path: replace(here(path), boot="later"))
    after = Bench(place.open())
    after.membership.begin("a", LISTENING)
    assert after.store.origin != former
    assert after.membership.roster.is_forgotten(former)
    assert [member.origin for member in after.membership.roster.members()] == [after.store.origin]
    await after.membership.save()
    place.close()
    again = Bench(place.open())
    again.membership.begin("a", LISTENING)
    assert again.membership.roster.is_forgotten(former)
    place.close()


async def test_a_node_that_fails_to_take_a_new_origin_goes_on_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[bool] = []
    fork = Store.fork

    def fail_first(store: Store, was_forgotten: bool) -> None:
        if not failures:
            failures.append(True)
            raise StorageError("a simulated failure")
        assert was_forgotten
        fork(store, was_forgotten)

    monkeypatch.setattr(Store, "fork", fail_first)
    async with running(tmp_path / "a") as a:
        own = a.node._membership.roster.get(a.store.origin)
        assert own is not None
        a.node._membership.learn("peer b", (own.forgotten(),))
        await until(lambda: a.store.origin != own.origin)
        assert a.errors() == ["a simulated failure"]


async def test_a_node_that_cannot_store_its_members_stops_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: Store, rows: object) -> None:
        raise StorageError("a simulated failure")

    async with running(tmp_path / "a") as a:
        monkeypatch.setattr(Store, "save_members", fail)
        a.node._membership.met(OTHER, "b")
        a.node.stop()
        await until(lambda: not a.node.status().running)
    assert a.errors() == ["a simulated failure"]
