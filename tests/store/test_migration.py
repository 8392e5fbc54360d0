"""A store of an earlier format: brought up step by step, cut anywhere, told of, and never twice."""

import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import msgpack
import pytest

from replicator.core import rows
from replicator.core.dots import Dot
from replicator.core.record import Record, Version
from replicator.errors import CommitError
from replicator.store import migration, rowwise
from replicator.store.keyspace import (
    EXPIRY,
    FORMAT_VERSION,
    INDEX,
    NEVER_MS,
    NUMBER,
    NUMBER_SEQ,
    ORIGIN,
    RESERVED,
    SEQ,
    VALUE,
    known_key,
    log_key,
    meta_key,
)
from replicator.store.migration import STEPS
from tests.upgrades.golden import FORMAT_1, read_golden, write_rows
from tests.upgrades.making import FAR_MS, PEER

from .checker import check_store
from .places import Place, contents, failing, patient
from .power import Power

ROWS, HELD = read_golden(FORMAT_1)
CUTS = range(1, 9)
"""The commits of the step over `ROWS`, one row at a time; the format row's; the first one of what
comes after the steps."""

MANY = 200

OLD = msgpack.packb(1)
NEW = msgpack.packb(FORMAT_VERSION)


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> Power:
    return Power(monkeypatch)


@pytest.fixture
def old(directory: Path, power: Power) -> Iterator[Place]:
    """A store of format 1 on this very machine, cleanly closed."""
    place = Place(directory / "a", settings=patient())
    identity = msgpack.unpackb(ROWS[meta_key("identity")])
    here = power.look_around(place.path)
    moved = [identity[0], here.machine, here.directory_inode, here.lock_inode, here.boot, True]
    write_rows(place.path, {**ROWS, meta_key("identity"): msgpack.packb(moved)})
    yield place
    place.close()


def expiry_rows(place: Place) -> set[bytes]:
    """Expiry rows, as they are before a sweep, and values kept aside because they expire."""
    swept = {
        EXPIRY + SEQ.pack(SEQ.unpack(key[5:13])[0] & ~NEVER_MS) + key[13:]
        for key in place.rows()
        if key.startswith(EXPIRY)
    }
    return swept | {key for key in place.rows() if key.startswith(VALUE) and key not in ROWS}


def test_there_is_a_step_from_every_format() -> None:
    assert list(STEPS) == list(range(1, FORMAT_VERSION))


def test_a_store_is_brought_up_and_told_of(
    old: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "ROWS_PER_REPORT", 10)
    with caplog.at_level(logging.INFO, "replicator"):
        store = old.open()
    check_store(store)
    assert store.origin == int(HELD["origin"], 16)
    assert contents(store) == contents_of(HELD)
    first, *progress, last = told(caplog)
    assert first.startswith(f"{old.path}: bringing the store up from format 1 to 2")
    assert first.endswith("an earlier version cannot open it any more")
    assert progress[0] == f"{old.path}: 10 keys looked at so far"
    assert len(progress) == len(HELD["records"]) // 10
    assert last == f"{old.path}: the store is of format 2 now"
    caplog.clear()
    with caplog.at_level(logging.INFO, "replicator"):
        old.reopen()
    assert told(caplog) == []


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the migration has said."""
    return [one.getMessage() for one in caplog.records if one.module == "migration"]


@pytest.mark.parametrize("nth", CUTS)
def test_a_step_that_is_cut_begins_again(
    old: Place, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setattr(rowwise, "ROWS_PER_COMMIT", 1)
    with failing(nth), pytest.raises(CommitError):
        old.open()
    expected = expiry_rows_of_a_whole_step(old)
    found = old.rows()
    is_done = nth > len(expected) + 1
    assert found[meta_key("format")] == (NEW if is_done else OLD)
    assert len(expiry_rows(old)) == min(nth - 1, len(expected))
    made = expiry_rows(old)
    assert {key: row for key, row in found.items() if key not in made} == {
        **ROWS,
        meta_key("identity"): found[meta_key("identity")],
        meta_key("format"): found[meta_key("format")],
    }
    store = old.open()
    check_store(store)
    old.close()
    assert expiry_rows(old) == expected
    assert old.rows()[meta_key("format")] == NEW


def expiry_rows_of_a_whole_step(place: Place) -> set[bytes]:
    """What the step makes of the rows, seen at a copy."""
    copy = place.copy(place.path.with_name("whole"))
    copy.open()
    copy.close()
    return expiry_rows(copy)


def test_rows_of_a_step_that_was_cut_and_gone_back_on_go(old: Place) -> None:
    """The version before went on meanwhile: what the step wrote then is not believed."""
    expected = expiry_rows_of_a_whole_step(old)
    stale = [EXPIRY + bytes(8) + b"no such key", VALUE + NUMBER_SEQ.pack(1, 1 << 40)]
    write_rows(old.path, dict.fromkeys(stale, b""))
    store = old.open()
    check_store(store)
    old.close()
    assert expiry_rows(old).isdisjoint(stale)
    assert len(expiry_rows(old)) == len(expected)


def many() -> dict[bytes, bytes]:
    """Rows of further keys with expiries, whose expiry rows fill more than one memtable."""
    number = next(
        NUMBER.unpack(key[len(ORIGIN) :])[0]
        for key, row in ROWS.items()
        if key.startswith(ORIGIN) and row == SEQ.pack(PEER)
    )
    found = {known_key(number, 1): SEQ.pack(6 + MANY)}
    for seq in range(6, 6 + MANY):
        key = b"x many %03d" % seq + b"." * 1000
        version = Version(key, Dot(PEER, seq), 0, 7, False, None, FAR_MS + seq, crc32(b"v"))
        found[INDEX + key] = rows.pack(Record((version,), {PEER: seq}), lambda _: number)
        found[log_key(number, seq)] = key
        found[key] = b"v"
    return found


@pytest.mark.parametrize("seed", range(30))
def test_power_cuts(seed: int, old: Place, power: Power, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power goes at any commit of the step or at a sync, or soon after: the format row is never
    there without everything that it stands for."""
    chance = random.Random(seed)
    monkeypatch.setattr(rowwise, "ROWS_PER_COMMIT", chance.choice([20, 50]))
    old.leveldb = {"write_buffer_size": 1 << 16, "compression": None}
    write_rows(old.path, many())
    expected = expiry_rows_of_a_whole_step(old)
    assert len(expected) == 6 + 2 * MANY
    for _ in range(3):
        cut_at = chance.choice(
            [failing(chance.randint(1, 12)), failing(chance.randint(1, 3), "sync")]
        )
        with cut_at, suppress(CommitError):
            old.open()
        power.cut(old, chance)
        if old.rows()[meta_key("format")] == NEW:
            assert expiry_rows(old) == expected
    store = old.open()
    check_store(store)
    assert contents(store) == contents_of(HELD) | {
        key: row for key, row in many().items() if key < RESERVED
    }
    old.close()
    assert expiry_rows(old) == expected


def contents_of(held: Mapping[str, Any]) -> dict[bytes, bytes]:
    """What plain readers saw."""
    shown = {bytes.fromhex(key): bytes.fromhex(value) for key, value in held["shown"].items()}
    del shown[b"x past"]  # this version sweeps
    return shown
