"""The feed: at least once, each origin in its order, the latest of each key, from any token on; and
all keys again where the log cannot tell."""

from collections.abc import Iterator
from random import Random

import pytest

from replicator.core.feeding import Position
from replicator.core.known import KnownSet
from replicator.core.token import read_position, write_token
from replicator.errors import ClosedError, UsageError
from replicator.store import feed as feed_module
from replicator.store.feed import Change, Feed, chosen
from replicator.store.store import Store

from .clocks import START_MS, Clocks
from .places import Place, contents
from .rounds import FullRound, Round, collect, exchange


def drain(feed: Feed) -> Iterator[Change]:
    while items := feed.read():
        yield from items


def feed_of(store: Store, token: str | None = None, origins: object = None) -> Feed:
    position = Position() if token is None else read_position(token)
    return Feed(store, position, chosen(store, origins))  # type: ignore[arg-type]


def told(store: Store, token: str | None = None, origins: object = None) -> list[Change]:
    return list(drain(feed_of(store, token, origins)))


def test_when_a_value_expires_is_told_with_it(store: Store, peer: Store, clocks: Clocks) -> None:
    store.put(b"before anything expires", b"v")
    assert [item.expiry_ms for item in told(store)] == [None]
    store.put_with(b"k", b"v", expiry_ms=START_MS + 5)
    store.put(b"l", b"v")
    peer.put(b"l", b"expires and loses")
    peer.put_with(b"m", b"expires", expiry_ms=START_MS + 9)
    exchange(store, peer)
    for token in (None, write_token(Position(KnownSet({7: [1, 2]}), KnownSet({7: [1, 2]})))):
        found = {item.key: item.expiry_ms for item in told(store, token) if item.key}
        assert found[b"k"] == START_MS + 5 and found[b"m"] == START_MS + 9
        assert found[b"l"] is None is found[b"before anything expires"]
    clocks.set(5, store)
    (gone,) = [item for item in told(store) if item.key == b"k"]
    assert (gone.value, gone.expiry_ms) == (None, None)


class Mirror:
    """A reader that keeps a copy, cut and resumed at any item."""

    def __init__(self) -> None:
        self.copy: dict[bytes, bytes] = {}
        self.token: str | None = None
        self.resets = 0

    def take(self, item: Change) -> None:
        if item.kind == "reset":
            self.copy.clear()
            self.resets += 1
        elif item.kind in ("change", "key"):
            if item.value is None:
                self.copy.pop(item.key, None)
            else:
                self.copy[item.key] = item.value
        self.token = item.token

    def read(self, store: Store, most: int = 10**9) -> None:
        for count, item in enumerate(drain(feed_of(store, self.token))):
            if count == most:
                return
            self.take(item)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "FEED_BATCH_ITEMS", 3)
    monkeypatch.setattr(feed_module, "FEED_LOOKED_AT_MAX", 5)


class TestTheLog:
    def test_each_origin_in_its_order_the_latest_of_each_key(
        self, store: Store, peer: Store
    ) -> None:
        for number in range(7):
            store.put(b"mine %d" % (number % 4), b"%d" % number)
            peer.put(b"theirs %d" % number, b"%d" % number)
        peer.delete(b"theirs 2")
        exchange(store, peer)
        items = told(store)
        assert {item.kind for item in items} == {"change"}
        by_origin: dict[int, list[Change]] = {store.origin: [], peer.origin: []}
        for item in items:
            assert item.dot is not None
            by_origin[item.dot.origin].append(item)
        mine = [(item.dot.seq, item.key, item.value) for item in by_origin[store.origin]]  # type: ignore[union-attr]
        assert mine == [
            (4, b"mine 3", b"3"),
            (5, b"mine 0", b"4"),
            (6, b"mine 1", b"5"),
            (7, b"mine 2", b"6"),
        ]
        theirs = by_origin[peer.origin]
        assert [item.dot.seq for item in theirs] == [1, 2, 4, 5, 6, 7, 8]  # type: ignore[union-attr]
        assert (theirs[-1].key, theirs[-1].value, theirs[-1].is_delete) == (b"theirs 2", None, True)
        assert all(item.is_local for item in by_origin[store.origin])
        assert not any(item.is_local for item in theirs)

    def test_it_goes_on_behind_every_item(self, store: Store, peer: Store) -> None:
        for number in range(5):
            store.put(b"k%d" % number, b"v")
            peer.put(b"l%d" % number, b"v")
        exchange(store, peer)
        items = told(store)
        for place, item in enumerate(items):
            rest = told(store, item.token)
            assert sorted(one.key for one in rest) == sorted(one.key for one in items[place + 1 :])
        assert told(store, items[-1].token) == []

    def test_one_busy_origin_does_not_hold_up_another(self, store: Store, peer: Store) -> None:
        for number in range(20):
            store.put(b"k%d" % number, b"v")
        peer.put(b"theirs", b"v")
        exchange(store, peer)
        feed = feed_of(store)
        first_two = [*feed.read(), *feed.read()]
        assert {item.is_local for item in first_two} == {True, False}

    def test_a_conflict_comes_once_for_each_write_with_what_is_shown(
        self, store: Store, peer: Store
    ) -> None:
        store.put(b"k", b"mine")
        peer.put(b"k", b"theirs")
        exchange(store, peer)
        items = told(store)
        assert [item.value for item in items] == [store.db.get(b"k")] * 2

    def test_gaps_are_not_skipped(self, store: Store, peer: Store) -> None:
        """A large round that was cut leaves gaps; what fills them comes later."""
        for number in range(3000):
            peer.put(b"%04d" % number, b"v" * 100)
        steps = Round(store, peer).steps()
        next(steps)
        mirror = Mirror()
        mirror.read(store)
        assert store.known_gaps() or store.known().bounds(peer.origin)[0] > 1
        assert mirror.copy == contents(store)
        for _ in steps:
            pass
        mirror.read(store)
        assert mirror.copy == contents(store)
        assert len(mirror.copy) == 3000
        assert mirror.resets == 0

    def test_only_some_origins(self, store: Store, peer: Store, third: Store) -> None:
        for one, key in ((store, b"a"), (peer, b"b"), (third, b"c")):
            one.put(key, b"v")
        exchange(store, peer, third)
        keys = {origins: [] for origins in ("local", "remote")} | {}  # type: ignore[var-annotated]
        for origins in keys:
            keys[origins] = sorted(item.key for item in told(store, None, origins))
        assert keys == {"local": [b"a"], "remote": [b"b", b"c"]}
        (item,) = told(store, None, [peer.origin])
        assert item.key == b"b"
        rest = told(store, item.token)
        assert sorted(one.key for one in rest) == [b"a", b"c"], (
            "what was left out is not dealt with"
        )


class TestAllKeys:
    def test_below_the_floor(self, store: Store) -> None:
        for key in (b"a", b"b", b"c", b"d", b"e"):
            store.put(key, b"v")
        mirror = Mirror()
        mirror.read(store)
        store.delete(b"b")
        collect(store, b"b")
        kinds = [item.kind for item in told(store, mirror.token)]
        assert kinds == ["reset", "key", "key", "key", "key", "complete"]
        mirror.read(store)
        assert (mirror.copy, mirror.resets) == (contents(store), 1)
        store.put(b"f", b"v")
        mirror.read(store)
        assert (mirror.copy, mirror.resets) == (contents(store), 1)

    def test_who_saw_the_delete_goes_on(self, store: Store) -> None:
        store.put(b"a", b"v")
        store.delete(b"a")
        mirror = Mirror()
        mirror.read(store)
        collect(store, b"a")
        store.put(b"b", b"v")
        mirror.read(store)
        assert (mirror.copy, mirror.resets) == ({b"b": b"v"}, 0)

    def test_a_token_of_what_is_lost_here(self, store: Store, peer: Store) -> None:
        store.put(b"a", b"v")
        peer.put(b"b", b"v")
        exchange(store, peer)
        mirror = Mirror()
        mirror.read(peer)
        peer.put(b"a", b"newer")
        mirror.read(peer)
        mirror.read(store)  # which has not got that
        assert (mirror.copy, mirror.resets) == (contents(store), 1)
        exchange(store, peer)
        mirror.read(store)
        assert (mirror.copy, mirror.resets) == (contents(store), 1)

    def test_a_key_that_a_full_state_round_has_taken_away(self, store: Store, peer: Store) -> None:
        store.put(b"a", b"v")
        store.put(b"b", b"v")
        exchange(store, peer)
        mirror = Mirror()
        mirror.read(store)
        peer.delete(b"a")
        collect(peer, b"a")
        for _ in FullRound(store, peer).steps():
            pass
        assert contents(store) == {b"b": b"v"}
        mirror.read(store)
        assert (mirror.copy, mirror.resets) == ({b"b": b"v"}, 1)

    def test_a_list_that_is_cut_goes_on(self, store: Store) -> None:
        for number in range(12):
            store.put(b"%02d" % number, b"v")
        store.delete(b"00")
        collect(store, b"00")
        mirror = Mirror()
        while mirror.token is None or told(store, mirror.token):
            mirror.read(store, 2)
        assert (mirror.copy, mirror.resets) == (contents(store), 1)

    def test_a_list_sees_what_is_written_meanwhile(self, store: Store) -> None:
        for number in range(12):
            store.put(b"%02d" % number, b"v")
        store.delete(b"00")
        collect(store, b"00")
        mirror = Mirror()
        feed = feed_of(store)
        for item in feed.read() + feed.read():
            mirror.take(item)
        assert mirror.copy, "some were listed"
        for key in list(mirror.copy):
            store.delete(key)
            store.put(b"x" + key, b"v")
        for item in drain(feed):
            mirror.take(item)
        assert (mirror.copy, mirror.resets) == (contents(store), 1)

    def test_a_list_begins_anew_where_something_was_lost_meanwhile(self, store: Store) -> None:
        store.put(b"a", b"v")
        shown = store.known().union(KnownSet.of((7, 1)))
        listing = Position(KnownSet(), shown, store.known(), b"a")
        kinds = [item.kind for item in told(store, write_token(listing))]
        assert kinds == ["reset", "key", "complete"]

    def test_only_keys_of_some_origins(self, store: Store, peer: Store) -> None:
        for number in range(12):
            (store if number % 3 else peer).put(b"%02d" % number, b"v")
        peer.delete(b"03")
        exchange(store, peer)
        collect(store, b"03")
        items = told(store, None, "remote")
        assert [item.kind for item in items] == ["reset", "key", "key", "key", "complete"]
        assert [item.key for item in items[1:-1]] == [b"00", b"06", b"09"]
        assert read_position(items[-1].token).known == KnownSet(
            {peer.origin: store.known().bounds(peer.origin)}
        )


class TestLives:
    def test_a_fork_is_told_of_again(self, store: Store) -> None:
        store.put(b"a", b"v")
        store.show(1)
        store.put(b"b", b"v")
        mirror = Mirror()
        mirror.read(store)
        store.fork()
        store.put(b"b", b"w")
        mirror.read(store)
        assert mirror.copy == contents(store)

    def test_restarts_of_the_node(self, place: Place) -> None:
        mirror = Mirror()
        random = Random(5)
        for _ in range(6):
            store = place.reopen() if place._store else place.open()
            for _ in range(20):
                key = b"%d" % random.randrange(10)
                if random.random() < 0.3:
                    store.delete(key)
                else:
                    store.put(key, b"%d" % random.randrange(1000))
                mirror.read(store, random.randrange(3))
            place.kill()
        mirror.read(place.open())
        assert (mirror.copy, mirror.resets) == (contents(place.store), 0)

    def test_a_closed_store_and_update(self, place: Place) -> None:
        store = place.open()
        feed = feed_of(store)
        with pytest.raises(UsageError, match="inside update"):
            store.update(b"k", lambda _: bytes(len(feed.read())))
        place.close()
        with pytest.raises(ClosedError):
            feed.read()


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_is_what_the_store_shows_whatever_happens(
    store: Store, peer: Store, seed: int
) -> None:
    random = Random(seed)
    mirror = Mirror()
    keys = [b"%d" % number for number in range(8)]
    for _ in range(120):
        match random.choice(("write", "write", "round", "read", "collect", "stale")):
            case "write":
                one = random.choice((store, peer))
                value = None if random.random() < 0.4 else b"%d" % random.randrange(1000)
                one.write([(random.choice(keys), value)])
            case "stale":
                random.choice((store, peer)).put_with(random.choice(keys), b"s", seen=[])
            case "round":
                exchange(store, peer)
            case "collect":
                exchange(store, peer)
                for key in keys:
                    versions = store.versions(key)
                    if versions and all(version.is_delete for version in versions):
                        collect(store, key)
                        collect(peer, key)
            case "read":
                mirror.read(store, random.randrange(6))
    mirror.read(store)
    assert mirror.copy == contents(store)
