"""Each kind of damage is found, by name and key; what is sound, or only unfinished, is no fault."""

from pathlib import Path

import pytest

from replicator.store.verify.faults import ABOUT, MENDED, Kind
from tests.store.places import Place, patient
from tests.store.verify.damage import DAMAGES, Rows, furnish, kinds_of, scanned


@pytest.fixture(params=[None, b"wrap:"], ids=["whole", "prefixed"])
def place(directory: Path, request: pytest.FixtureRequest) -> Place:
    place = Place(directory / "a", prefix=request.param, settings=patient())
    furnish(place)
    return place


def test_a_store_in_good_order_has_no_fault(place: Place) -> None:
    faults, scan = scanned(place)
    assert faults == []
    assert scan.notes == []
    assert scan.keys == 46


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_named(place: Place, name: str) -> None:
    damage = DAMAGES[name]
    with Rows(place) as found:
        damage.do(found)
    assert kinds_of(place) == set(damage.kinds)


def test_every_kind_is_told_of_and_planted() -> None:
    assert set(ABOUT) == set(MENDED) == set(Kind)
    planted = {kind for damage in DAMAGES.values() for kind in damage.kinds}
    assert set(Kind) - planted == {Kind.UNREADABLE, Kind.REGISTRY}
