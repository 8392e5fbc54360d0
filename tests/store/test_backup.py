"""Taking a backup: what is in it, when it appears, what it refuses."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from replicator.core.known import KnownSet
from replicator.core.members import Member
from replicator.core.record import Record, Version
from replicator.errors import ClosedError, CorruptionError, FormatError, StorageError, UsageError
from replicator.store import backup as backup_module
from replicator.store.backup import back_up, read_basis
from replicator.store.backupchain import check_backup, opened
from replicator.store.backupfile import ASIDE, INDEX_ROWS, PRESENT, USER
from replicator.store.keyspace import (
    RESERVED,
    SEQ,
    closed_key,
    expiry_key,
    known_key,
    meta_key,
    pack_known,
    pack_meta,
)
from replicator.store.store import Store

from .chains import backed_up, restored
from .checker import check_shown, check_store
from .chunks import A, chunk_of, version
from .places import Place, contents, patient, records
from .rounds import collect, exchange, pull


def kinds(path: Path) -> dict[int, int]:
    """How many rows of each kind a backup holds."""
    found: dict[int, int] = {}
    with opened(path) as reader:
        for kind, pieces in reader.blocks():
            found[kind] = found.get(kind, 0) + sum(len(piece) for piece in pieces)
    return found


def same(store: Store, other: Store) -> None:
    """Both hold the same."""
    assert records(store) == records(other)
    assert contents(store) == contents(other)
    assert store.known() == other.known()
    assert store.floor == other.floor
    assert store.digest(0) == other.digest(0)


def test_a_backup_holds_the_moment_at_which_it_was_begun(store: Store, directory: Path) -> None:
    store.put(b"k", b"then")
    store.delete(b"gone")
    steps = back_up(store, directory / "b", node="n")
    backup_module.BACKUP_STEP_BYTES, before = 1, backup_module.BACKUP_STEP_BYTES
    try:
        first = next(steps)
    finally:
        backup_module.BACKUP_STEP_BYTES = before
    assert not first.is_done and not (directory / "b").exists()
    then = store.known()
    store.put(b"k", b"later")
    store.put(b"new", b"later")
    *_, last = steps
    assert (last.records, last.is_done) == (2, True)
    with restored(directory / "r", directory / "b") as found:
        assert contents(found) == {b"k": b"then"}
        assert found.known() == then
        check_store(found)


def test_siblings_contexts_and_values_aside_are_in_it(
    store: Store, peer: Store, directory: Path
) -> None:
    for one, value in ((store, b"ours"), (peer, b"theirs")):
        one.put(b"k", value)
        one.put(b"only " + value, value)
    exchange(store, peer)
    store.put(b"only theirs", b"rewritten")
    backed_up(store, directory / "b", compress=True)
    with restored(directory / "r", directory / "b") as found:
        same(store, found)
        assert found.cluster_id == store.cluster_id
        assert len(found.versions(b"k")) == 2
        check_store(found)
        pull(found, peer)
        pull(peer, found)
        same(peer, found)


def test_a_restored_store_is_a_new_node(place: Place, directory: Path) -> None:
    store = place.open()
    store.put(b"k", b"v")
    store.sync_point()
    backed_up(store, directory / "b")
    with restored(directory / "r", directory / "b") as found:
        assert found.origin != store.origin and found.seq == 0
        assert found.known() == store.known()
        assert found.durable_known() == KnownSet()
        found.put(b"k", b"after")
        (version,) = found.versions(b"k")
        assert version.dot == (found.origin, 1)
        assert found.clock.last >= version.timestamp
        exchange(store, found)
        assert contents(store) == {b"k": b"after"}


def test_what_is_in_a_backup_counts_as_shown(place: Place, directory: Path) -> None:
    """Else whoever restores it tells of own seqs that this store never told: a fork (R13)."""
    store = place.open()
    store.put(b"k", b"v")
    assert store.shown == 0
    backed_up(store, directory / "b")
    assert store.shown == 1
    assert place.reopen().shown == 1


def state_rows(place: Place) -> dict[bytes, bytes]:
    """What a store knows beside its records and its own life."""
    own = [meta_key(name) for name in ("identity", "shown", "durable", "format", "revisit")]
    return {
        key: row
        for key, row in place.rows().items()
        if key[:4] == RESERVED and key[4:5] not in b"ilvR" and key not in own
    }


def test_members_closed_dots_and_all_else_that_is_known(place: Place, directory: Path) -> None:
    store = place.open()
    store.put(b"k", b"v")
    other = Member(7, 3, "other", 1, 2, "9", ("192.0.2.1:9000",), KnownSet({7: [1, 5]}))
    store.save_members([(other, 4)])
    store.origins.intern(7)
    closed = closed_key(store.origins.number(7), 3)
    unexplained = pack_known(KnownSet({7: [1, 9]}))
    for key, row in (
        (closed, SEQ.pack(9)),
        (meta_key("want_full"), pack_meta(1)),
        (meta_key("full"), unexplained),
    ):
        store.db.put(key, row)
    backed_up(store, directory / "full")
    place.close()
    made = restored(directory / "r", directory / "full")
    told = state_rows(place)
    assert {chr(row_key[4]) for row_key in told} == set("ocnm")
    told[known_key(1, 1)] = SEQ.pack(2)  # the own seqs, which the log told
    assert state_rows(made) == told
    with made as found:
        assert found.members() == [(other, 4)]

    store = place.open()
    gone = {closed, meta_key("want_full"), meta_key("full")}
    for key in gone:
        store.db.delete(key)
    backed_up(store, directory / "one", since=directory / "full")
    made = restored(directory / "rr", directory / "full", directory / "one")
    assert not gone & set(state_rows(made))


def test_keys_that_expire_are_looked_at(store: Store, directory: Path) -> None:
    """The rows that say when are made anew (R17)."""
    expiring = replace(version(b"v", A, 1), expiry_ms=2**42)
    store.apply(chunk_of((b"k", Record((expiring,), {A: 1}))), KnownSet({A: [1, 2]}))
    backed_up(store, directory / "b")
    made = restored(directory / "r", directory / "b")
    assert made.rows()[expiry_key(2**42, b"k")] == b""
    with made as found:
        assert found.record(b"k").versions[0].expiry_ms == 2**42


def test_a_prefix_is_backed_up_alone(directory: Path) -> None:
    place = Place(directory / "a", prefix=b"p:", settings=patient())
    store = place.open()
    assert place.db is not None
    place.db.put(b"outside", b"1")
    store.put(b"k", b"v")
    backed_up(store, directory / "b")
    place.close()
    with restored(directory / "r", directory / "b", prefix=b"p:") as found:
        assert contents(found) == {b"k": b"v"}
        check_store(found)
    assert b"outside" not in Place(directory / "r").rows()


def test_an_empty_store(store: Store, directory: Path) -> None:
    assert backed_up(store, directory / "b").records == 0
    with restored(directory / "r", directory / "b") as found:
        assert contents(found) == {} and found.known() == KnownSet()
        check_store(found)


def test_a_backup_is_checked_without_restoring_it(store: Store, directory: Path) -> None:
    store.put(b"k", b"v")
    backed_up(store, directory / "b", node="n", version="9")
    seen: list[tuple[int, int]] = []
    checked = check_backup([directory / "b"], lambda *step: seen.append(step))
    assert (checked.records, checked.head.node, checked.head.version) == (1, "n", "9")
    assert checked.head.origin == store.origin
    assert seen[-1][0] < seen[-1][1] == (directory / "b").stat().st_size


# Increments


def test_an_increment_holds_what_has_changed(store: Store, directory: Path) -> None:
    store.write([(b"key %d" % number, b"v") for number in range(100)])
    backed_up(store, directory / "full")
    store.put(b"key 7", b"new")
    store.delete(b"key 8")
    store.put(b"more", b"m")
    backed_up(store, directory / "one", since=directory / "full")
    found = kinds(directory / "one")
    assert (found[USER], found[INDEX_ROWS], found.get(PRESENT, 0)) == (2, 3, 0)
    store.delete(b"more")
    backed_up(store, directory / "two", since=directory / "one")
    with restored(directory / "r", *(directory / name for name in ("full", "one", "two"))) as made:
        same(store, made)
        check_store(made)


def test_an_increment_without_changes(store: Store, directory: Path) -> None:
    store.put(b"k", b"v")
    backed_up(store, directory / "full")
    assert backed_up(store, directory / "one", since=directory / "full").records == 0
    with restored(directory / "r", directory / "full", directory / "one") as made:
        same(store, made)


def test_what_was_deleted_and_collected_in_between_does_not_come_back(
    store: Store, directory: Path
) -> None:
    """The delete left no trace but the purge floor: absence counts (R9)."""
    store.write([(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"d", b"4")])
    backed_up(store, directory / "full")
    for key in (b"a", b"d"):
        store.delete(key)
        collect(store, key)
    backed_up(store, directory / "one", since=directory / "full")
    assert kinds(directory / "one")[PRESENT] == 2
    with restored(directory / "r", directory / "full", directory / "one") as made:
        assert contents(made) == {b"b": b"2", b"c": b"3"}
        same(store, made)
        check_store(made)


def test_everything_deleted_and_collected(store: Store, directory: Path) -> None:
    store.put(b"k", b"v")
    backed_up(store, directory / "full")
    store.delete(b"k")
    collect(store, b"k")
    backed_up(store, directory / "one", since=directory / "full")
    with restored(directory / "r", directory / "full", directory / "one") as made:
        assert contents(made) == {} and records(made) == {}
        check_store(made)


def test_a_tombstone_that_the_base_knew_may_stay_for_a_while(store: Store, directory: Path) -> None:
    """It was collected, and nothing newer: no reason to name every key. Whoever has collected it
    tells the restored store so, or it collects it itself."""
    store.put(b"k", b"v")
    store.delete(b"k")
    store.put(b"kept", b"v")
    backed_up(store, directory / "full")
    collect(store, b"k")
    backed_up(store, directory / "one", since=directory / "full")
    assert PRESENT not in kinds(directory / "one")
    with restored(directory / "r", directory / "full", directory / "one") as made:
        assert contents(made) == {b"kept": b"v"}
        assert (made.known(), made.floor) == (store.known(), store.floor)
        check_store(made)
        assert made.digest(0) == store.digest(0)
        exchange(store, made)
        assert made.digest(0) == store.digest(0)


def test_conflicts_that_were_settled_in_between_leave_no_values_aside(
    store: Store, peer: Store, directory: Path
) -> None:
    store.put(b"k", b"ours")
    store.put(b"gone", b"ours")
    peer.put(b"k", b"theirs")
    peer.put(b"gone", b"theirs")
    exchange(store, peer)
    assert len(store.versions(b"k")) == 2
    backed_up(store, directory / "full")
    assert kinds(directory / "full")[ASIDE] == 4
    store.put(b"k", b"settled")
    store.delete(b"gone")
    collect(store, b"gone")
    backed_up(store, directory / "one", since=directory / "full")
    with restored(directory / "r", directory / "full", directory / "one") as made:
        same(store, made)
        check_store(made)


@pytest.mark.parametrize("walk", [True, False], ids=["by the log", "by the index"])
@pytest.mark.parametrize("seed", range(12))
def test_any_chain_is_the_last_store(
    directory: Path, seed: int, walk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes that write, delete, meet and collect; a backup of one now and then."""
    if not walk:
        monkeypatch.setattr(backup_module, "BACKUP_WALK_DOTS_MAX", -1)
    random = Random(f"chains {seed}")
    with (
        Place(directory / "a", settings=patient()) as one,
        Place(directory / "b", settings=patient()) as two,
    ):
        files: list[Path] = []
        for number in range(5):
            for _ in range(random.randint(0, 12)):
                _act(random, one, two)
            files.append(directory / f"file {number}")
            backed_up(one, files[-1], since=files[-2] if number else None)
            with restored(directory / f"r{number}", *files) as made:
                one.sweep()
                made.sweep()
                assert contents(made) == contents(one)
                assert made.digest(0) == one.digest(0)
                assert (made.known(), made.floor) == (one.known(), one.floor)
                check_store(made)
                exchange(one, two)
                exchange(made, two)
                assert made.digest(0) == one.digest(0) == two.digest(0)


def _act(random: Random, one: Store, two: Store) -> None:
    store = random.choice((one, two))
    key = b"key %d" % random.randint(0, 5)
    match random.choice(("put", "put", "delete", "delete", "expire", "meet", "collect", "collect")):
        case "put":
            store.put(key, random.randbytes(3))
        case "delete":
            store.delete(key)
        case "expire":
            moment = time.time_ns() // 1_000_000 + random.choice((1, 3_600_000))
            store.write([(key, b"expires")], expiries={key: moment})
            time.sleep(0.002)
            store.sweep()
        case "meet":
            pull(one, two)
            pull(two, one)
        case "collect":
            exchange(one, two)
            found = store.record(key)
            if found.versions and all(version.is_delete for version in found.versions):
                collect(store, key)


def test_another_resolver_is_asked_again(directory: Path) -> None:
    """It changes what keys show and issues nothing: no increment tells of that, the restored store
    finds it out."""

    def least(a: Version, b: Version) -> bool:
        return (a.value or b"") < (b.value or b"")

    def greatest(a: Version, b: Version) -> bool:
        return (a.value or b"") > (b.value or b"")

    with Place(directory / "peer", settings=patient()) as peer:
        peer.put(b"k", b"b")
        place = Place(directory / "a", settings=patient(), resolver=greatest)
        store = place.open()
        store.put(b"k", b"a")
        exchange(store, peer)
    assert contents(store) == {b"k": b"b"}
    backed_up(store, directory / "full")
    place.options["resolver"] = least
    store = place.reopen()
    until(lambda: contents(store) == {b"k": b"a"})
    backed_up(store, directory / "one", since=directory / "full")
    place.close()
    files = directory / "full", directory / "one"
    for number, (count, resolver) in enumerate(((1, least), (2, least), (2, greatest))):
        made = restored(directory / f"r{number}", *files[:count])
        made.options["resolver"] = resolver
        with made as found:
            right = {b"k": b"a" if resolver is least else b"b"}
            until(lambda found=found, right=right: contents(found) == right)
            until(lambda found=found: found.db.get(meta_key("revisit")) is None)
            check_shown(found)
            check_store(found)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_increment_needs_a_base_of_this_store(
    store: Store, peer: Store, directory: Path
) -> None:
    store.put(b"k", b"v")
    peer.put(b"k", b"v")
    backed_up(peer, directory / "theirs")
    with pytest.raises(UsageError, match="make a full backup"):
        backed_up(store, directory / "b", since=directory / "theirs")
    assert not (directory / "b").exists()


def test_a_base_whose_rows_mean_other_origins(
    store: Store, peer: Store, third: Store, directory: Path
) -> None:
    """Both know the same, and number the origins differently: rows of one are no rows of the
    other."""
    peer.put(b"k", b"v")
    third.put(b"k", b"v")
    peer.adopt_cluster(b"c" * 16)
    third.adopt_cluster(b"c" * 16)
    with Place(directory / "other", settings=patient()) as other:
        for target, sources in ((store, (peer, third)), (other, (third, peer))):
            for source in sources:
                pull(target, source)
        assert store.known() == other.known()
        backed_up(store, directory / "full")
        with pytest.raises(UsageError, match="make a full backup"):
            backed_up(other, directory / "one", since=directory / "full")


def test_a_store_that_lost_writes_takes_no_increment(place: Place, directory: Path) -> None:
    """An older copy of the directory went back in place: the base knows more."""
    store = place.open()
    store.put(b"k", b"v")
    place.close()
    copy = place.copy(directory / "copy")
    store = place.open()
    store.put(b"k", b"later")
    backed_up(store, directory / "full")
    with copy as older, pytest.raises(UsageError, match="does not know"):
        backed_up(older, directory / "b", since=directory / "full")


def test_a_machine_that_was_rolled_back_takes_no_increment(place: Place, directory: Path) -> None:
    """Its next writes have the dots of others that the base holds (R13)."""
    store = place.open()
    store.put(b"k", b"before")
    place.close()
    snapshot = {path: path.read_bytes() for path in place.path.iterdir()}
    store = place.open()
    origin = store.origin
    store.put(b"k", b"undone")
    backed_up(store, directory / "full")
    place.close()
    for path in place.path.iterdir():
        if path.name != "LOCK":
            path.unlink()
    for path, content in snapshot.items():
        path.write_bytes(content)
    store = place.open()
    assert store.origin == origin
    store.put(b"k", b"another write of the same dot")
    with pytest.raises(UsageError, match="was rolled back"):
        backed_up(store, directory / "one", since=directory / "full")


def test_a_restored_store_goes_on_with_increments(place: Place, directory: Path) -> None:
    store = place.open()
    store.put(b"k", b"v")
    backed_up(store, directory / "full")
    with restored(directory / "r", directory / "full") as second:
        second.put(b"more", b"v")
        backed_up(second, directory / "one", since=directory / "full")
        with restored(directory / "rr", directory / "full", directory / "one") as third:
            same(second, third)
            check_store(third)


def test_the_basis_is_what_the_store_knew(store: Store, directory: Path) -> None:
    store.put(b"k", b"v")
    backed_up(store, directory / "b")
    basis = read_basis(directory / "b")
    assert (basis.name, basis.known) == ("b", store.known())
    assert basis.origins == store.origins.by_number
    content = (directory / "b").read_bytes()
    (directory / "cut").write_bytes(content[:-10])
    with pytest.raises(CorruptionError, match="cut short"):
        read_basis(directory / "cut")
    with pytest.raises(StorageError, match="cannot be read: No such file"):
        read_basis(directory / "nowhere")
    with pytest.raises(FormatError, match="no backup"):
        read_basis(directory / "a" / "CURRENT")


# Where it is written


def left(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()} - {"a", "peer"}


def test_nothing_is_replaced(store: Store, directory: Path) -> None:
    (directory / "b").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        backed_up(store, directory / "b")
    (directory / "link").symlink_to("nowhere")
    with pytest.raises(UsageError, match="there already"):
        backed_up(store, directory / "link")
    assert (directory / "b").read_text() == "mine"


def test_a_name_that_is_taken_meanwhile_stays(store: Store, directory: Path) -> None:
    steps = back_up(store, directory / "b")
    store.put(b"k", bytes(1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup_module, "BACKUP_STEP_BYTES", 1)
        next(steps)
    (directory / "b").write_text("mine")
    with pytest.raises(UsageError, match="appeared meanwhile"):
        list(steps)
    assert (directory / "b").read_text() == "mine"
    assert left(directory) == {"b"}


def test_a_backup_that_is_given_up_leaves_nothing(store: Store, directory: Path) -> None:
    store.put(b"k", b"v")
    steps = back_up(store, directory / "b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup_module, "BACKUP_STEP_BYTES", 1)
        next(steps)
    assert len(left(directory)) == 1
    steps.close()  # type: ignore[attr-defined]
    assert left(directory) == set()
    store.put(b"k", b"the snapshot is closed, the store goes on")


def test_without_links_the_file_is_renamed(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    backed_up(store, directory / "b")
    assert left(directory) == {"b"}
    check_backup([directory / "b"])


def test_a_file_is_on_the_disk_before_it_has_its_name(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append((name, (directory / "b").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    backed_up(store, directory / "b")
    (first, named), (second, then_named) = synced[-2:]
    assert first.startswith(".b.") and not named
    assert (second, then_named) == (directory.name, True)


def test_a_file_of_its_owner_alone(store: Store, directory: Path) -> None:
    backed_up(store, directory / "b")
    assert (directory / "b").stat().st_mode & 0o777 == 0o600


def test_not_into_the_store_s_own_directory(store: Store, directory: Path) -> None:
    with pytest.raises(UsageError, match="would be lost with it"):
        backed_up(store, directory / "a" / "b")
    (directory / "elsewhere").symlink_to(directory / "a")
    with pytest.raises(UsageError, match="would be lost with it"):
        backed_up(store, directory / "elsewhere" / "b")


def test_a_place_that_cannot_be_written(store: Store, directory: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        backed_up(store, directory / "nowhere" / "b")


def test_a_closed_store(place: Place, directory: Path) -> None:
    store = place.open()
    place.close()
    with pytest.raises(ClosedError):
        backed_up(store, directory / "b")
    assert left(directory) == set()
