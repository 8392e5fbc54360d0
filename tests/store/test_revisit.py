"""Another resolver: what conflicts show is found anew, in the background, resumably (R6)."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from replicator.core.record import Record, Version
from replicator.core.resolve import Resolution
from replicator.core.resolvers import json_merge, maximum
from replicator.errors import CommitError
from replicator.store import revisit
from replicator.store.keyspace import meta_key, unpack_meta
from replicator.store.level import Level
from replicator.store.store import Store

from .checker import check_shown, check_store
from .places import Place, contents, patient
from .rounds import Round, exchange

KEYS = [b"%03d" % number for number in range(60)]


def smaller(a: Version, b: Version) -> bool:
    return (a.value or b"") < (b.value or b"")


def greater(a: Version, b: Version) -> bool:
    return (a.value or b"") > (b.value or b"")


def done(store: Store) -> Store:
    """The store, when nothing is left to look at."""
    assert store.revisit.wait(30)
    return store


def remembered(store: Store) -> tuple[Any, bool]:
    """The resolver that shown values stand for, and whether a cursor is there."""
    row = store.db.get(meta_key("resolver"))
    assert row is not None
    return unpack_meta("resolver", row), store.db.get(meta_key("revisit")) is not None


@pytest.fixture
def conflicted(place: Place, peer: Store) -> Place:
    """A closed store of `KEYS`, each in conflict: 1 against 2, shown by `smaller`."""
    place.options["resolver"] = smaller
    store = place.open()
    for key in KEYS:
        store.put(key, b"1")
        peer.put(key, b"2")
    store.put(b"alone", b"v")
    exchange(store, peer)
    assert {contents(store)[key] for key in KEYS} == {b"1"}
    place.close()
    return place


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisit, "REVISIT_ROWS_MAX", 7)
    monkeypatch.setattr(revisit, "REVISIT_KEYS_MAX", 3)
    monkeypatch.setattr(revisit, "PAUSE_SECONDS_MAX", 0.0)


@pytest.mark.parametrize("resolver", [greater, maximum, None])
def test_every_conflict_shows_what_the_new_one_makes_of_it(
    conflicted: Place, small_steps: None, resolver: Any
) -> None:
    conflicted.options["resolver"] = resolver
    store = done(conflicted.open())
    before = dict(store.db.iterator(start=b"\xff\xff\xff\xffl", stop=b"\xff\xff\xff\xffm"))
    check_store(store)
    check_shown(store)
    assert contents(store)[b"alone"] == b"v"
    assert remembered(store)[1] is False and store.revisiting() is None
    assert before == dict(store.db.iterator(start=b"\xff\xff\xff\xffl", stop=b"\xff\xff\xff\xffm"))


def test_no_dot_is_issued_and_digests_stay(
    conflicted: Place, peer: Store, small_steps: None
) -> None:
    digest = peer.digest()
    known = peer.known()
    conflicted.options["resolver"] = greater
    store = done(conflicted.open())
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    assert store.known() == known and store.digest() == digest
    assert store.counters().writes == 0
    assert remembered(store) == ([f"{__name__}.greater", "concurrent"], False)


def test_merged_values_come_and_go(place: Place, peer: Store) -> None:
    place.options["resolver"] = json_merge
    store = place.open()
    store.put(b"k", b'{"a":1}')
    peer.put(b"k", b'{"b":2}')
    Round(store, peer).whole()
    assert contents(store)[b"k"] == b'{"a":1,"b":2}'
    for resolver, shown in ((greater, b'{"b":2}'), (json_merge, b'{"a":1,"b":2}')):
        place.options["resolver"] = resolver
        store = done(place.reopen())
        assert contents(store)[b"k"] == shown
        check_store(store)
        check_shown(store)


@pytest.mark.parametrize("expiry_ms", [1, 4_000_000_000_000])
def test_a_winner_that_expires(place: Place, peer: Store, expiry_ms: int) -> None:
    """The key shows it while it lasts, then nothing (R17), whichever resolver chose it."""
    place.options["resolver"] = greater
    store = place.open()
    store.put_with(b"k", b"1", expiry_ms=expiry_ms)
    peer.put(b"k", b"2")
    Round(store, peer).whole()
    assert contents(store) == {b"k": b"2"}
    for resolver, shown in ((smaller, b"1" if expiry_ms > 1 else None), (greater, b"2")):
        place.options["resolver"] = resolver
        store = done(place.reopen())
        assert store.db.get(b"k") == shown
        assert len(store.versions(b"k")) == 2
        check_store(store)


def test_the_mode_counts_too(conflicted: Place) -> None:
    conflicted.options["resolver_mode"] = "equal-clock"
    store = done(conflicted.open())
    assert remembered(store)[0] == [f"{__name__}.smaller", "equal-clock"]


def test_the_same_resolver_looks_at_nothing(
    conflicted: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisit.Revisit, "_step", lambda self: pytest.fail("looked"))
    store = conflicted.open()
    assert store.revisiting() is None
    assert remembered(store) == ([f"{__name__}.smaller", "concurrent"], False)


def test_a_store_of_before_this_row_is_looked_at_once(conflicted: Place) -> None:
    db = conflicted.open_leveldb()
    db.delete(meta_key("resolver"))
    db.close()
    conflicted.options["resolver"] = greater
    store = done(conflicted.open())
    assert {contents(store)[key] for key in KEYS} == {b"2"}


class Killed(BaseException):
    pass


def stop_after(commits: int, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let the thread die at one of its commits, as with the process."""
    stopped = threading.Event()
    show, left = revisit.Revisit._show, [commits]

    def dying(self: Any, found: Any, cursor: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            stopped.set()
            raise Killed
        show(self, found, cursor)

    monkeypatch.setattr(revisit.Revisit, "_show", dying)
    return stopped


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_one_goes_on_where_it_was(
    conflicted: Place, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    conflicted.options["resolver"] = greater
    with monkeypatch.context() as patch:
        stopped = stop_after(5, patch)
        store = conflicted.open()
        assert stopped.wait(30)
        store.revisit.wait(30)
        check_store(store)
        values = [contents(store)[key] for key in KEYS]
        assert values == [b"2"] * 15 + [b"1"] * 45
        assert remembered(store) == ([f"{__name__}.greater", "concurrent"], True)
        conflicted.kill()
    looked = []
    look = revisit.Revisit._look

    def noting(self: Any, key: bytes, row: bytes, get: Any) -> Any:
        looked.append(key)
        return look(self, key, row, get)

    monkeypatch.setattr(revisit.Revisit, "_look", noting)
    store = done(conflicted.open())
    assert looked == KEYS[15:]
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    check_store(store)
    check_shown(store)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("back", [smaller, maximum])
def test_yet_another_resolver_in_between_begins_again(
    conflicted: Place, small_steps: None, monkeypatch: pytest.MonkeyPatch, back: Any
) -> None:
    """Also the one from before: some keys show what the one in between has made of them."""
    conflicted.options["resolver"] = greater
    with monkeypatch.context() as patch:
        stopped = stop_after(5, patch)
        conflicted.open()
        assert stopped.wait(30)
        conflicted.kill()
    conflicted.options["resolver"] = back
    store = done(conflicted.open())
    assert len({contents(store)[key] for key in KEYS}) == 1
    check_shown(store)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_a_machine_crash_it_begins_again(
    conflicted: Place, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may keep the cursor and lose what was done before it (R11)."""
    conflicted.options["resolver"] = greater
    with monkeypatch.context() as patch:
        stopped = stop_after(5, patch)
        store = conflicted.open()
        assert stopped.wait(30)
        kept = store.db.get(meta_key("revisit"))
        conflicted.kill()
    db = conflicted.open_leveldb()  # the commits that the cursor speaks of are lost
    conflicted.options["resolver"] = smaller
    db.put(meta_key("resolver"), b"\x92\xa1x\xaaconcurrent")
    db.close()
    done(conflicted.open())
    conflicted.close()
    db = conflicted.open_leveldb()
    db.put(meta_key("revisit"), kept)
    row = db.get(meta_key("resolver"))
    assert row is not None
    conflicted.options["resolver"] = greater
    db.put(meta_key("resolver"), row.replace(b"smaller", b"greater"))
    identity = unpack_meta("identity", db.get(meta_key("identity")))
    identity[4:] = ["another boot", False]
    db.put(meta_key("identity"), revisit.pack_meta(identity))
    db.close()
    store = done(conflicted.open())
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    check_shown(store)


def test_what_is_merged_or_written_meanwhile_stays(
    conflicted: Place, peer: Store, third: Store, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a key and the commit: a local write settles it, a merge adds to it."""
    show = revisit.Revisit._show
    third.put(KEYS[1], b"0")
    third.put(KEYS[1], b"3")

    def late(self: Any, found: Any, cursor: Any) -> None:
        if any(one.key == KEYS[0] for one in found):
            store = conflicted.store
            store.put(KEYS[0], b"written meanwhile")
            Round(store, third).whole()
        show(self, found, cursor)

    monkeypatch.setattr(revisit.Revisit, "_show", late)
    conflicted.options["resolver"] = greater
    started = threading.Event()
    monkeypatch.setattr(revisit.Revisit, "begin", lambda self: started.set())
    store = conflicted.open()
    store.revisit._start()
    done(store)
    assert contents(store)[KEYS[0]] == b"written meanwhile"
    assert contents(store)[KEYS[1]] == b"3"
    assert len(store.versions(KEYS[1])) == 3
    assert {contents(store)[key] for key in KEYS[2:]} == {b"2"}
    check_store(store)
    check_shown(store)


def test_a_context_that_shrinks_meanwhile_hides_nothing(
    conflicted: Place, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is another one, the versions are the same: nobody asked the new resolver (R8)."""
    show = revisit.Revisit._show

    def late(self: Any, found: Any, cursor: Any) -> None:
        for one in found:
            context = {**one.record.context, 5: 5}
            old = Record(one.record.versions, context)
            self._state.origins.intern(5)
            resolution = Resolution(old.versions[one.visible], False, True)
            batch = self._state.db.write_batch()
            self._state.install(batch, one.key, one.record, old, resolution)
            batch.write()
        show(self, found, cursor)

    monkeypatch.setattr(revisit.Revisit, "_show", late)
    conflicted.options["resolver"] = greater
    store = done(conflicted.open())
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    assert store.record(KEYS[0]).context[5] == 5


def test_among_writers_and_rounds(conflicted: Place, peer: Store, small_steps: None) -> None:
    """Writes and applies of the same keys all the time: each key is whole, and shows what its
    versions come to."""
    conflicted.options["resolver"] = greater
    store = conflicted.open()
    for number in range(3):
        for place, key in enumerate(KEYS):
            (store if place % 3 else peer).put(key, b"%d" % number)
        exchange(store, peer)
        store.reevaluate(0)
    done(store)
    exchange(store, peer)
    check_store(store)
    check_shown(store)


def test_reevaluate_when_the_code_has_changed(conflicted: Place, small_steps: None) -> None:
    """The name says nothing of the code."""
    answers = {"smaller": True}

    def resolver(a: Version, b: Version) -> bool:
        return ((a.value or b"") < (b.value or b"")) == answers["smaller"]

    conflicted.options["resolver"] = resolver
    store = done(conflicted.open())
    assert {contents(store)[key] for key in KEYS} == {b"1"}
    answers["smaller"] = False
    assert store.reevaluate()
    assert store.revisit.counts() == (len(KEYS) + 1, len(KEYS))
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    assert store.reevaluate()
    assert store.revisit.counts() == (len(KEYS) + 1, 0)
    check_store(store)


def test_asked_for_again_while_it_runs(
    conflicted: Place, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins again: what it has passed was seen with the code of before."""
    answers = {"smaller": True}
    half_way = threading.Event()
    go_on = threading.Event()

    def resolver(a: Version, b: Version) -> bool:
        if a.key == KEYS[30] and not go_on.is_set():
            half_way.set()
            go_on.wait(30)
        return ((a.value or b"") < (b.value or b"")) == answers["smaller"]

    conflicted.options |= {"resolver": resolver, "settings": patient(resolver_timeout=60.0)}
    store = conflicted.open()
    assert half_way.wait(30)
    assert store.reevaluate(0) is False
    answers["smaller"] = False
    go_on.set()
    done(store)
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    assert remembered(store)[1] is False


def test_a_visit_changes_nothing(conflicted: Place) -> None:
    """A command opens the store of a program that has a resolver of its own."""
    conflicted.options |= {"resolver": None, "visiting": True}
    store = conflicted.open()
    assert {contents(store)[key] for key in KEYS} == {b"1"}
    assert store.versions(KEYS[0])[0].value == b"1"
    assert remembered(store) == ([f"{__name__}.smaller", "concurrent"], False)
    assert store.revisit.is_foreign and store.reevaluate() is False
    assert remembered(store) == ([f"{__name__}.smaller", "concurrent"], True)
    conflicted.options |= {"resolver": smaller, "visiting": False}
    done(conflicted.reopen())


def test_a_visit_that_leaves_a_conflict_lets_it_be_looked_at(
    conflicted: Place, peer: Store
) -> None:
    """What a version beside the new one shows there, the visitor cannot know."""
    conflicted.options |= {"resolver": None, "visiting": True}
    store = conflicted.open()
    seen = [one.dot for one in store.versions(KEYS[0]) if one.value == b"2"]
    store.resolve(KEYS[0], b"9", seen=seen)
    assert contents(store)[KEYS[0]] == b"9", "by the default order"
    conflicted.options |= {"resolver": smaller, "visiting": False}
    store = done(conflicted.reopen())
    assert contents(store)[KEYS[0]] == b"1"


def test_a_visit_takes_a_ready_made_resolver_that_is_remembered(place: Place, peer: Store) -> None:
    place.options["resolver"] = maximum
    place.open()
    place.options |= {"resolver": None, "visiting": True}
    store = place.reopen()
    assert store.settler.resolver is maximum and not store.revisit.is_foreign
    assert store.reevaluate()


@pytest.mark.parametrize("row", [b"", b"\xc1", b"\x07", b"\x92\x07\x07", b"\x93\x01\x01\x01"])
@pytest.mark.parametrize("name", ["resolver", "revisit"])
def test_malformed_rows_let_everything_be_looked_at(
    conflicted: Place, name: str, row: bytes
) -> None:
    db = conflicted.open_leveldb()
    db.put(meta_key(name), row)
    db.close()
    conflicted.options |= {"resolver": greater, "visiting": True}
    conflicted.open()
    conflicted.options["visiting"] = False
    store = done(conflicted.reopen())
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    assert remembered(store) == ([f"{__name__}.greater", "concurrent"], False)


def test_a_full_disk_holds_it_up(
    conflicted: Place,
    small_steps: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(revisit, "REVISIT_RETRY_SECONDS", 0.01)
    commit, calls = Level.commit, [0]

    def failing(self: Level, batch: Any) -> None:
        if threading.current_thread().name == "replicator revisit":
            calls[0] += 1
            if calls[0] in (2, 3):
                raise CommitError("no space left")
        commit(self, batch)

    monkeypatch.setattr(Level, "commit", failing)
    conflicted.options["resolver"] = greater
    with caplog.at_level(logging.WARNING):
        store = done(conflicted.open())
    assert {contents(store)[key] for key in KEYS} == {b"2"}
    assert caplog.text.count("held up") == 2


def test_closing_does_not_wait_for_the_end(conflicted: Place, small_steps: None) -> None:
    conflicted.options |= {
        "resolver": lambda a, b: bool(time.sleep(0.02)),
        "settings": patient(resolver_timeout=5.0),
    }
    store = conflicted.open()
    status = store.revisiting()
    assert status is not None and 0 <= status.share <= 1
    conflicted.close()
    assert not any(thread.name == "replicator revisit" for thread in threading.enumerate())
    conflicted.options |= {"resolver": greater}
    done(conflicted.open())


def test_in_a_prefix(directory: Path, peer: Store) -> None:
    place = Place(directory / "x", prefix=b"p/", settings=patient(), resolver=smaller)
    store = place.open()
    store.put(b"k", b"1")
    peer.put(b"k", b"2")
    Round(store, peer).whole()
    place.options["resolver"] = greater
    store = done(place.reopen())
    assert contents(store) == {b"k": b"2"}
    place.close()
