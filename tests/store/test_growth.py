"""Who waits for the known set to grow, and what that costs whoever writes."""

import threading
import time
from collections.abc import Callable

import pytest

from replicator.core.known import KnownSet
from replicator.errors import ClosedError, UsageError
from replicator.store.growth import knows, ringing, wait_until_known
from replicator.store.store import Store

from .places import Place
from .rounds import Round


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def until_armed(store: Store) -> None:
    deadline = time.monotonic() + 20
    while not store.armed:
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestWaiting:
    def test_what_is_known_is_not_waited_for(self, store: Store, peer: Store) -> None:
        store.put(b"k", b"v")
        peer.put(b"l", b"v")
        Round(store, peer).whole()
        assert wait_until_known(store, KnownSet(), 0)
        assert wait_until_known(store, store.known(), 0)
        assert not wait_until_known(store, KnownSet.of((store.origin, 2)), 0)
        assert not wait_until_known(store, KnownSet.of((peer.origin, 2)), 0)
        assert not wait_until_known(store, KnownSet.of((7, 1)), 0.01)

    def test_a_round_wakes_who_waits(self, store: Store, peer: Store) -> None:
        for number in range(3):
            peer.put(b"%d" % number, b"v")
        wanted = peer.known()
        thread, results = in_thread(lambda: wait_until_known(store, wanted, 30))
        until_armed(store)
        store.put(b"mine", b"v")  # wakes it in vain
        until_armed(store)
        Round(store, peer).whole()
        thread.join(30)
        assert results == [True]

    def test_closing_wakes_who_waits(self, place: Place) -> None:
        store = place.open()
        thread, results = in_thread(lambda: wait_until_known(store, KnownSet.of((7, 1)), None))
        until_armed(store)
        place.close()
        thread.join(30)
        assert isinstance(results[0], ClosedError)

    def test_not_within_update(self, store: Store) -> None:
        with pytest.raises(UsageError, match="inside update"):
            store.update(b"k", lambda _: str(knows(store, KnownSet())).encode())

    def test_nobody_is_left_behind(self, store: Store) -> None:
        assert not wait_until_known(store, KnownSet.of((7, 1)), 0.01)
        assert not store._bells


class TestBells:
    def test_one_ring_for_each_arming(self, store: Store) -> None:
        rings: list[int] = []
        with ringing(store, lambda: rings.append(store.seq)) as arm:
            store.put(b"a", b"v")
            arm()
            arm()
            store.put(b"b", b"v")
            store.put(b"c", b"v")
            assert rings == [2]
            arm()
        store.put(b"d", b"v")
        assert rings == [2]

    def test_the_node_is_told_as_before(self, store: Store) -> None:
        told: list[str] = []
        store.on_change = lambda: told.append("node")
        with ringing(store, lambda: told.append("bell")) as arm:
            arm()
            store.put(b"a", b"v")
            assert told == ["bell"], "the node is not armed"
            store.rearm()
            arm()
            store.put(b"b", b"v")
            assert sorted(told) == ["bell", "bell", "node"]
            store.rearm()
            store.put(b"c", b"v")
            assert told.count("node") == 2

    def test_a_bell_that_raises_is_nobody_elses_business(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        rings: list[str] = []

        def fail() -> None:
            raise RuntimeError("no bell")

        with ringing(store, fail) as arm_first, ringing(store, lambda: rings.append("b")) as arm:
            arm_first()
            arm()
            store.put(b"a", b"v")
        assert rings == ["b"]
        assert "no bell" in caplog.text
        assert store.db.get(b"a") == b"v"
