"""`forget_after`: who is silent for long is forgotten, and nobody by mistake (R10)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from replicator.config import FORGET_AFTER_LEAST
from replicator.core.members import Member
from replicator.errors import ConfigError
from replicator.faces.keywords import make_settings
from replicator.net.address import Address
from replicator.peers import membership as membership_module
from replicator.peers.contacts import Contacts
from replicator.peers.forgetting import Forgetting
from replicator.peers.journal import Journal
from replicator.peers.membership import Membership
from replicator.store.store import Store

from .peers import open_store

START_MS = 1_790_000_000_000
DAY = 86_400.0
LIMIT = 180.0
"""Seconds after which a member does not live."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    db, store = open_store(tmp_path / "a")
    yield store
    store.close()
    db.close()


class Bench:
    """A membership whose wall clock and whose own time tests set apart."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.wall_ms = START_MS
        self.now = 1000.0
        monkeypatch.setattr(membership_module, "_wall_ms", lambda: self.wall_ms)
        monkeypatch.setattr(trio, "current_time", lambda: self.now)
        self.membership = Membership(store, Contacts(store.origin, b"instance"), Journal("a"))
        self.membership.begin("a", Address("127.0.0.1", 1))

    def look(self, after: float | None = 10 * DAY) -> set[str]:
        """Who is a member after a look."""
        Forgetting(self.membership, Journal("a"), after).look(self.store.origin)
        return {member.name for member in self.membership.roster.members()}

    def passes(self, seconds: float, *, runs: bool = True) -> None:
        self.wall_ms += int(seconds * 1000)
        self.now += seconds if runs else 0

    def hears(self, *names: str) -> None:
        for name in names:
            said = Member(ord(name), self.wall_ms, name, said_ms=self.wall_ms)
            self.membership.learn("peer", (said,))


@pytest.fixture
def bench(store: Store, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(store, monkeypatch)
    bench.hears("b", "c")
    return bench


def test_who_is_silent_for_so_long_is_forgotten(bench: Bench) -> None:
    bench.passes(9 * DAY)
    bench.hears("b")
    assert bench.look() == {"a", "b", "c"}
    bench.passes(DAY)
    bench.hears("b")
    assert bench.look() == {"a", "b"}
    assert bench.membership.roster.is_forgotten(ord("c"))


def test_nobody_is_where_the_settings_do_not_say_so(bench: Bench) -> None:
    bench.passes(1000 * DAY)
    bench.hears("b")
    assert bench.look(None) == {"a", "b", "c"}


def test_a_clock_that_jumps_forgets_nobody(bench: Bench) -> None:
    bench.passes(400 * DAY, runs=False)
    bench.hears("b")
    assert bench.look() == {"a", "b", "c"}
    bench.passes(LIMIT)
    assert bench.look() == {"a", "b"}, "and who is silent all the same is, a little later"


def test_who_was_away_itself_forgets_nobody(bench: Bench) -> None:
    bench.passes(400 * DAY)
    assert bench.look() == {"a", "b", "c"}, "two that are silent, and only this node is here"
    bench.hears("b")
    assert bench.look() == {"a", "b"}


def test_of_two_the_one_that_is_left_forgets_the_other(bench: Bench) -> None:
    bench.membership.forget_member(bench.membership.roster.members()[0])
    names = {member.name for member in bench.membership.roster.members()}
    bench.passes(11 * DAY)
    assert len(names) == 2
    assert bench.look() == {"a"}


def test_whom_nobody_knows_to_have_been_heard_of_stays(bench: Bench) -> None:
    bench.membership.learn("peer", (Member(ord("d"), 0, "d"),))
    bench.passes(11 * DAY)
    bench.hears("b", "c")
    assert "d" in bench.look()


@pytest.mark.parametrize("value", [0, 60, FORGET_AFTER_LEAST - 1, "a day", True, float("nan")])
def test_what_is_no_such_time_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"forget_after=.*30 days are 2592000"):
        make_settings(forget_after=value)


def test_what_is_one() -> None:
    assert make_settings(forget_after=30 * DAY).forget_after == 30 * DAY
    assert make_settings(forget_after=None).forget_after is None
