"""Repairs: each kind of damage is mended, what is lost comes back from peers, and no peer loses
anything by it; raw writes become writes like any other."""

from pathlib import Path

import pytest

from replicator.store.verify.faults import Kind
from replicator.store.verify.repair import BEHIND_OUR_BACK
from tests.store.checker import check_store
from tests.store.places import Place, contents, live, patient
from tests.store.rounds import exchange
from tests.store.verify.damage import DAMAGES, Rows, furnish, repaired, scanned

REPAIRS = [
    (name, undo)
    for name, damage in DAMAGES.items()
    for undo in (False, True)
    if not undo or BEHIND_OUR_BACK & set(damage.kinds)
]


@pytest.fixture
def place(directory: Path) -> Place:
    place = Place(directory / "a", settings=patient())
    furnish(place)
    return place


@pytest.fixture
def peers(directory: Path, place: Place) -> tuple[Place, Place]:
    """Two more nodes that hold the same."""
    others = Place(directory / "b", settings=patient()), Place(directory / "c", settings=patient())
    with place as first, others[0] as second, others[1] as third:
        exchange(first, second, third)
    return others


@pytest.mark.parametrize(("name", "undo"), REPAIRS)
def test_damage_is_mended(place: Place, name: str, undo: bool) -> None:
    damage = DAMAGES[name]
    with Rows(place) as found:
        damage.do(found)
    done = repaired(place, undo=undo)
    assert scanned(place)[0] == []
    with place as store:
        check_store(store)
        store.put(b"afterwards", b"it goes on")
    assert scanned(place)[0] == []
    told = {key for key, outcomes in done.items() if any(one.lost for _, one in outcomes)}
    behind = {Kind.CHANGED, Kind.REMOVED} if undo else set()
    if "several" not in name and behind & set(damage.kinds):
        assert told
    else:
        assert told >= set(damage.loses)


@pytest.mark.parametrize(("name", "undo"), REPAIRS)
def test_no_peer_loses_anything_and_what_was_lost_comes_back(
    place: Place, peers: tuple[Place, Place], name: str, undo: bool
) -> None:
    if name == "expiry missing":
        return  # planted as another write of the same dot, which no peer has
    before = place.rows()
    damage = DAMAGES[name]
    with Rows(place) as found:
        damage.do(found)
    repaired(place, undo=undo)
    with place as first, peers[0] as second, peers[1] as third:
        untouched = contents(second)
        lived = {key: live(second, key) for key in untouched}
        exchange(first, second, third)
        assert contents(first) == contents(second) == contents(third)
        for store in (first, second, third):
            check_store(store)
        assert first.digest() == second.digest() == third.digest()
        adopted = not undo and BEHIND_OUR_BACK & set(damage.kinds)
        if not adopted:
            user = {key: value for key, value in before.items() if key < b"\xff\xff\xff\xff"}
            assert contents(first) == untouched == user
            assert all(lived[key] <= live(second, key) for key in lived)
