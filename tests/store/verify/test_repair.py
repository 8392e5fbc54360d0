"""Repairs: each kind of damage is mended, what is lost comes back from peers, and no peer loses
anything by it; raw writes become writes like any other."""

import json
import signal
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from replicator.core.members import Member
from replicator.errors import StorageError
from replicator.store.keyspace import index_key
from replicator.store.store import Store
from replicator.store.verify.faults import Kind
from replicator.store.verify.repair import BEHIND_OUR_BACK, Repair
from replicator.store.verify.sidefile import SideFile
from tests.store.checker import check_store
from tests.store.chunks import B
from tests.store.places import Place, contents, live, patient
from tests.store.rounds import FullRound, exchange, pull
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


def in_full(target: Store, source: Store) -> None:
    """A full-state round, whatever the floors say."""
    for _ in FullRound(target, source).steps():
        pass


def damaged(place: Place) -> None:
    """Several kinds of damage at once."""
    with Rows(place) as found:
        for name in ("index", "aside of a loser", "log missing", "log without record", "changed"):
            if name != "log missing":
                DAMAGES[name].do(found)
        found.delete(found.first(b"own020"))


def child(place: Place, copy: str, *how: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.store.verify.repair_child"]
    return subprocess.run(
        [*command, str(place.path), str(place.path.parent / copy), *how],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )


def check_with_peers(place: Place, peers: tuple[Place, Place]) -> None:
    """All end equal, with everything that there ever was."""
    with place as first, peers[0] as second, peers[1] as third:
        before = {key: live(second, key) for key in contents(second)}
        exchange(first, second, third)
        assert contents(first) == contents(second) == contents(third)
        assert contents(first)[b"own010"] == b"by somebody else"
        for store in (first, second, third):
            check_store(store)
        kept = {key: dots for key, dots in before.items() if key != b"own010"}
        assert all(dots <= live(second, key) for key, dots in kept.items())
        assert len(contents(second)) == len(before)


@pytest.mark.processes
@pytest.mark.parametrize("nth", [1, 2, 3, 5, 7, 9, 12, 16, 20, 25])
def test_a_killed_repair_is_done_again(place: Place, peers: tuple[Place, Place], nth: int) -> None:
    damaged(place)
    killed = child(place, "killed.jsonl", "kill", str(nth))
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    repaired(place)
    assert scanned(place)[0] == []
    check_with_peers(place, peers)


@pytest.mark.processes
@pytest.mark.parametrize("nth", [2, 4, 5])
def test_a_store_whose_repair_was_killed_may_meet_its_peers(
    place: Place, peers: tuple[Place, Place], nth: int
) -> None:
    with Rows(place) as found:
        DAMAGES["log without record"].do(found)
        found.delete(index_key(b"own008"))
    assert child(place, "killed.jsonl", "kill", str(nth)).returncode == -signal.SIGKILL
    with place as first, peers[0] as second:
        before = {key: live(second, key) for key in contents(second)}
        pull(second, first)
        in_full(second, first)
        assert all(dots <= live(second, key) for key, dots in before.items())


@pytest.mark.processes
@pytest.mark.parametrize("limit", [100, 2_000, 20_000])
def test_a_disk_that_is_full_during_a_repair(
    place: Place, peers: tuple[Place, Place], limit: int
) -> None:
    damaged(place)
    done = child(place, "full.jsonl", "full", str(limit))
    if done.returncode:
        assert "full.jsonl cannot be written" in done.stderr or "commit" in done.stderr
    else:
        assert limit == 20_000
    repaired(place)
    assert scanned(place)[0] == []
    check_with_peers(place, peers)


def test_to_drop_a_record_and_go_on_knowing_it_makes_peers_drop_theirs(
    place: Place, peers: tuple[Place, Place]
) -> None:
    """What a repair must not do."""
    with Rows(place) as found:
        for row_key in (found.first(b"own012"), index_key(b"own012"), b"own012"):
            found.delete(row_key)
    assert scanned(place)[0] == [], "nothing tells of it any more"
    with place as first, peers[0] as second:
        assert second.record(b"own012").versions
        in_full(second, first)
        assert not second.record(b"own012").versions


def test_what_is_lost_is_told_by_key_and_dot(place: Place) -> None:
    with place as store:
        (lost,) = live(store, b"own007")
    with Rows(place) as found:
        DAMAGES["log without record"].do(found)
    ((kind, outcome),) = repaired(place)[b"own007"]
    assert (kind, outcome.lost) == (Kind.LOG_LOST, (lost,))
    with place as store:
        assert lost not in store.known()


def test_every_row_is_copied_before_it_is_changed(place: Place) -> None:
    damaged(place)
    before = place.rows()
    with Rows(place) as found:
        repair = Repair(found.handle, place.path)
        with SideFile(place.path.parent / "copy", {"prefix": ""}) as side_file:
            repair.copy(side_file)
    assert place.rows() == before
    lines = [json.loads(line) for line in side_file.path.read_text().splitlines()]
    copied = {}
    for line in lines[1:]:
        for key, value in line["rows"]:
            copied[b64decode(key)] = None if value is None else b64decode(value)
    assert {key: before.get(key) for key in copied} == copied
    assert side_file.path.stat().st_mode & 0o777 == 0o600
    repaired(place)
    after = place.rows()
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    ours = {key for key in changed if key in before}
    assert ours <= set(copied)


def test_members_do_not_wait_for_the_origin_that_was_left(place: Place) -> None:
    with place as store:
        former = store.origin
        store.save_members([(Member(former, 5, "a"), 1), (Member(B, 5, "b"), 1)])
    damaged(place)
    repaired(place)
    with place as store:
        assert store.origin != former
        accounts = {member.origin: member.is_forgotten for member, _ in store.members()}
    assert accounts == {former: True, B: False}


def test_a_flipped_bit_in_a_file_is_found_and_nothing_is_touched(directory: Path) -> None:
    place = Place(directory / "a", settings=patient())
    with place as store:
        for number in range(0, 20_000, 500):
            store.write([(b"key%06d" % (number + i), b"value %d" % i * 10) for i in range(500)])
        store.level.db.compact_range()
    files = sorted(place.path.glob("*.ldb"), key=lambda path: path.stat().st_size)
    data = bytearray(files[-1].read_bytes())
    data[len(data) // 2] ^= 0x10
    files[-1].write_bytes(data)
    faults, scan = scanned(place)
    damaged = [fault for fault in faults if fault.kind is Kind.UNREADABLE]
    assert damaged and all(fault.key < b"\xff" * 5 for fault in damaged)
    assert scan.keys > 19_000, "the scan goes on behind it"
    with pytest.raises(StorageError, match="own files are damaged behind the row"):
        repaired(place)
    assert not list(directory.glob("copy*"))
