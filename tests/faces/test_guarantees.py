"""Guarantees on the handle: writes that peers hold, writes that saw some, tokens, feeds."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import plyvel
import pytest
import trio

from replicator import Change, Dot, NotReplicated, Replica, UsageError, open_replica
from replicator.core.known import KnownSet
from replicator.core.token import write_token
from replicator.errors import ClosedError, ReplicatorError
from replicator.faces.seen import seen_by
from tests.faces.waiting import until

Wrap = Callable[..., Replica]
OFFLINE = {"discovery": [], "join_timeout": 5.0}


@pytest.fixture
def level(tmp_path: Path) -> Callable[[str], plyvel.DB]:
    return lambda name: plyvel.DB(str(tmp_path / name), create_if_missing=True)


@pytest.fixture
def trio_of(level: Callable[[str], plyvel.DB], wrap: Wrap) -> tuple[Replica, Replica, Replica]:
    """Three nodes; the first is dialled by the others."""
    first = wrap(level("first"), port=0, name="first", sync_interval=600.0, **OFFLINE)
    others = [
        wrap(
            level(name),
            port=0,
            name=name,
            peers=[str(first.address)],
            sync_interval=600.0,
            **OFFLINE,
        )
        for name in ("second", "third")
    ]
    return first, others[0], others[1]


class TestReplicas:
    def test_every_kind_of_write_is_on_the_disks_when_it_returns(
        self, trio_of: tuple[Replica, Replica, Replica]
    ) -> None:
        """Nobody makes a sync point by itself here, and gossip acknowledges none."""
        first, *others = trio_of

        def durable() -> list[KnownSet]:
            return [one._engine.store.durable_known() for one in others]

        first.put(b"a", b"v", replicas=2, timeout=30)
        assert all(known.issuperset(first.known()) for known in durable())
        first.delete(b"a", replicas=2, timeout=30)
        with first.write_batch(replicas=2, timeout=30) as batch:
            batch.put(b"b", b"v")
            batch.put(b"c", b"v")
        assert first.update(b"b", lambda _: b"w", replicas=2, timeout=30) == b"w"
        first.prefixed_db(b"p:").put(b"d", b"v", replicas=2, timeout=30)
        first.put(b"e", b"v", seen=[], replicas=2, timeout=30)
        assert all(known.issuperset(first.known()) for known in durable())
        assert others[0].get(b"p:d") == b"v"
        assert [one.status().counters.sync_points > 0 for one in others] == [True, True]

    def test_too_few_in_time(self, trio_of: tuple[Replica, Replica, Replica]) -> None:
        first, second, third = trio_of
        first.put(b"a", b"v", replicas=2, timeout=30)
        third.close()
        with pytest.raises(NotReplicated, match="durable at second, known at none") as caught:
            first.put(b"b", b"v", replicas=2, timeout=0.5)
        error = caught.value
        assert isinstance(error, TimeoutError) and isinstance(error, ReplicatorError)
        assert error.dots == (f"{first.origin}:2",)
        assert (error.wanted, error.durable_at, error.held_at) == (2, ("second",), ())
        assert error.members == 3
        assert first.get(b"b") == second.get(b"b") == b"v", "it stays"

    def test_who_has_it_and_not_on_disk(self, trio_of: tuple[Replica, Replica, Replica]) -> None:
        first, second, _ = trio_of
        first.put(b"a", b"v", replicas=2, timeout=30)
        resume = threading.Event()
        store = second._engine.store
        store.sync_point = resume.wait  # type: ignore[assignment,method-assign]
        with pytest.raises(NotReplicated) as caught:
            first.put(b"b", b"v", replicas=2, timeout=1.0)
        resume.set()
        assert caught.value.durable_at == ("third",)
        assert caught.value.held_at == ("second",)

    def test_alone(self, wrap: Wrap, level: Callable[[str], plyvel.DB]) -> None:
        alone = wrap(level("alone"), **OFFLINE)
        with pytest.raises(NotReplicated, match="there is no other member"):
            alone.put(b"k", b"v", replicas=1, timeout=0)
        assert alone.get(b"k") == b"v"

    def test_a_peer_that_comes_later_counts(
        self, wrap: Wrap, level: Callable[[str], plyvel.DB]
    ) -> None:
        first = wrap(level("first"), port=0, **OFFLINE)
        results: list[str] = []

        def write() -> None:
            first.put(b"k", b"v", replicas=1)
            results.append("returned")

        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: first.get(b"k") == b"v")
        wrap(level("second"), port=0, peers=[str(first.address)], **OFFLINE)
        thread.join(30)
        assert results == ["returned"]

    def test_closing_does_not_wait_for_peers(
        self, wrap: Wrap, level: Callable[[str], plyvel.DB]
    ) -> None:
        alone = wrap(level("alone"), **OFFLINE)
        raised: list[Exception] = []

        def write() -> None:
            try:
                alone.put(b"k", b"v", replicas=1)
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: alone.get(b"k") == b"v")
        alone.close()
        thread.join(30)
        assert isinstance(raised[0], NotReplicated)
        assert "when this node stopped" in str(raised[0])

    @pytest.mark.parametrize(
        ("keywords", "words"),
        [
            ({"replicas": 0}, "from 1 on"),
            ({"replicas": True}, "from 1 on"),
            ({"replicas": "2"}, "from 1 on"),
            ({"replicas": 1, "timeout": -1}, "0 or more"),
            ({"replicas": 1, "timeout": float("nan")}, "0 or more"),
            ({"timeout": 1.0}, "give both"),
            ({"seen": b"k"}, "takes a list"),
            ({"seen": [b"k"]}, "not bytes"),
        ],
    )
    def test_nonsense_writes_nothing(
        self, replica: Replica, keywords: dict[str, object], words: str
    ) -> None:
        for write in (
            lambda: replica.put(b"k", b"v", **keywords),  # type: ignore[arg-type]
            lambda: replica.delete(b"k", **keywords),  # type: ignore[arg-type]
        ):
            with pytest.raises(UsageError, match=words):
                write()
        assert replica.known() == KnownSet()

    def test_a_value_is_checked_as_ever(self, replica: Replica) -> None:
        for value in (None, "text", 7):
            with pytest.raises(TypeError):
                replica.put(b"k", value, seen=[])
        assert replica.known() == KnownSet()


class TestSeen:
    def test_what_arrived_since_the_read_stays(
        self, trio_of: tuple[Replica, Replica, Replica]
    ) -> None:
        first, second, third = trio_of
        first.put(b"k", b"v0", replicas=2, timeout=30)
        read = first.versions(b"k")
        second.put(b"k", b"theirs", replicas=2, timeout=30)
        first.put(b"k", b"mine", seen=read, replicas=2, timeout=30)
        for one in trio_of:
            assert {version.value for version in one.versions(b"k")} == {b"mine", b"theirs"}
        second.put(b"k", b"both", seen=second.versions(b"k"), replicas=2, timeout=30)
        for one in trio_of:
            (version,) = one.versions(b"k")
            assert (version.value, version.clock) == (b"both", 2)
        third.delete(b"k", seen=[], replicas=2, timeout=30)
        assert [version.is_delete for version in first.versions(b"k")] == [False, True]

    def test_the_clock_is_above_what_was_read(self, replica: Replica) -> None:
        replica.put(b"k", b"0")
        read = replica.versions(b"k")
        replica.put(b"k", b"1")
        replica.put(b"k", b"2", seen=read)
        assert sorted(version.clock for version in replica.versions(b"k")) == [1, 1]

    def test_dots_do_as_well_and_a_version_of_another_key_does_not(self, replica: Replica) -> None:
        replica.put(b"k", b"0")
        (read,) = replica.versions(b"k")
        replica.put(b"k", b"1", seen=[read.dot])
        assert [version.value for version in replica.versions(b"k")] == [b"1"]
        with pytest.raises(UsageError, match="of key b'k'"):
            replica.put(b"l", b"1", seen=[read])
        with pytest.raises(UsageError, match="not str"):
            replica.put(b"l", b"1", seen=["dot"])  # type: ignore[list-item]
        assert seen_by(b"l", [replace(read, key=b"l"), Dot(1, 2)]) == (
            {read.dot, Dot(1, 2)},
            read.clock,
        )

    def test_what_is_not_known_here_stays_when_it_comes(
        self, trio_of: tuple[Replica, Replica, Replica]
    ) -> None:
        first, second, _ = trio_of
        first.put(b"k", b"v", seen=[Dot(7, 1)])
        assert first.sync(30)
        assert second.get(b"k") == b"v"


class TestTokens:
    def test_a_client_that_moves_reads_what_it_wrote(
        self, trio_of: tuple[Replica, Replica, Replica]
    ) -> None:
        first, second, third = trio_of
        for number in range(50):
            writer = (first, second)[number % 2]
            writer.put(b"%d" % number, b"v")
            for token in (writer.token(), writer.token(own=True)):
                assert third.wait_for(token, 30)
                assert third.get(b"%d" % number) == b"v"

    def test_in_vain(self, replica: Replica, wrap: Wrap, level: Callable[[str], plyvel.DB]) -> None:
        other = wrap(level("other"))
        replica.put(b"k", b"v")
        assert not other.wait_for(replica.token(), 0.01)
        assert replica.wait_for(replica.token(), 0)
        assert replica.wait_for(other.token(own=True), 0)
        for wrong in ("", "nonsense", replica.token()[:-2]):
            with pytest.raises(UsageError, match="is no token"):
                replica.wait_for(wrong)
            with pytest.raises(UsageError, match="is no token"):
                replica.changes(wrong)
        with pytest.raises(UsageError, match="0 or more"):
            replica.wait_for(replica.token(), -1)

    def test_closing_ends_the_wait(self, wrap: Wrap, level: Callable[[str], plyvel.DB]) -> None:
        one, other = wrap(level("one")), wrap(level("other"))
        other.put(b"k", b"v")
        token, raised = other.token(), list[Exception]()

        def wait() -> None:
            try:
                one.wait_for(token)
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: one._engine.store.armed)
        one.close()
        thread.join(30)
        assert isinstance(raised[0], ClosedError)


class TestChanges:
    def test_it_waits_for_more_and_ends_where_it_is_told_to(self, replica: Replica) -> None:
        replica.put(b"a", b"1")
        feed = replica.changes()
        assert next(feed).key == b"a"
        timer = threading.Timer(0.05, replica.put, (b"b", b"2"))
        timer.start()
        item = next(feed)
        assert (item.key, item.value, item.is_local) == (b"b", b"2", True)
        assert list(replica.changes(item.token, follow=False)) == []
        assert list(replica.changes(item.token, timeout=0.01)) == []
        assert [one.key for one in replica.changes(timeout=0)] == [b"a", b"b"]
        timer.join()

    def test_its_token_is_where_it_stands(self, replica: Replica) -> None:
        for number in range(5):
            replica.put(b"%d" % number, b"v")
        feed = replica.changes(follow=False)
        assert len(list(replica.changes(feed.token, follow=False))) == 5
        items = [next(feed), next(feed)]
        assert feed.token == items[-1].token
        assert [one.key for one in replica.changes(feed.token, follow=False)] == [b"2", b"3", b"4"]
        assert len(list(feed)) == 3
        assert feed.token == replica.token()
        replica.delete(b"0")
        replica.delete(b"0")
        (item,) = replica.changes(feed.token, follow=False)
        assert (item.is_delete, item.dot) == (True, Dot(int(replica.origin, 16), 7))

    def test_replicated_writes_come_and_can_be_told_apart(
        self, trio_of: tuple[Replica, Replica, Replica]
    ) -> None:
        first, second, third = trio_of
        feed = first.changes(first.token(), timeout=30)
        second.put(b"second", b"v")
        assert next(feed).key == b"second"
        third.put(b"third", b"v")
        assert next(feed).key == b"third"
        first.put(b"first", b"v")
        assert next(feed).key == b"first"

        def keys(origins: object) -> set[bytes]:
            return {one.key for one in first.changes(origins=origins, follow=False)}  # type: ignore[arg-type]

        assert keys("local") == {b"first"}
        assert keys("remote") == {b"second", b"third"}
        assert keys(second.origin) == keys([second.origin]) == {b"second"}
        with pytest.raises(UsageError, match="is no origin"):
            keys("nobody")

    def test_nonsense(self, replica: Replica) -> None:
        with pytest.raises(UsageError, match="follow=False does not"):
            replica.changes(follow=False, timeout=1)
        with pytest.raises(UsageError, match="0 or more"):
            replica.changes(timeout=-1)

    def test_closing_ends_it(self, wrap: Wrap, level: Callable[[str], plyvel.DB]) -> None:
        one = wrap(level("one"))
        raised: list[Exception] = []

        def read() -> None:
            try:
                next(one.changes())
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        until(lambda: one._engine.store.armed)
        one.close()
        thread.join(30)
        assert isinstance(raised[0], ClosedError)

    def test_no_snapshot_is_held_between_two_items(self, replica: Replica) -> None:
        """LevelDB could be closed under it, and old data dropped."""
        replica.put(b"a", b"1")
        feed = replica.changes()
        next(feed)
        replica.close()
        with pytest.raises(ClosedError):
            next(feed)


async def test_within_trio(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with open_replica(tmp_path / "here", port=0, name="here", discovery=[]) as here:
            address = str(here.address)
            with pytest.raises(UsageError, match="await db"):
                here.put(b"k", b"v", replicas=1)
            assert here.known() == KnownSet()
            async with open_replica(
                tmp_path / "there", port=0, name="there", peers=[address], discovery=[]
            ) as there:
                await here.replicated(1, timeout=0)  # nothing was written
                here.put(b"k", b"v")
                await here.replicated(1, timeout=30)
                assert there._engine.store.durable_known().issuperset(here.known())
                assert await there.reached(here.token(), timeout=30)
                with pytest.raises(NotReplicated):
                    await here.replicated(2, timeout=0.05)
                await trio.to_thread.run_sync(partial(here.put, b"l", b"v", replicas=1, timeout=30))
                await follow(here, there)
            assert not await here.reached(write_token(KnownSet.of((7, 1))), timeout=0.01)


async def follow(here: Replica, there: Replica) -> None:
    """A feed within trio: waits, goes on, and loses nothing to a cancellation."""
    seen: list[Change] = []
    feed = there.follow()  # type: ignore[attr-defined]
    async for item in feed:
        seen.append(item)
        if len(seen) == 2:
            break
    assert [item.key for item in seen] == [b"k", b"l"]
    with trio.move_on_after(0.02) as scope:
        await anext(feed)
    assert scope.cancelled_caught
    here.put(b"m", b"v")
    assert (await anext(feed)).key == b"m"
    assert [item async for item in there.follow(feed.token, follow=False)] == []  # type: ignore[attr-defined]
    assert [item async for item in there.follow(feed.token, timeout=0)] == []  # type: ignore[attr-defined]
    assert len([item async for item in there.follow(timeout=0)]) == 3  # type: ignore[attr-defined]
