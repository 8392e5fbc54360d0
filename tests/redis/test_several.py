"""Commands on many keys: small ones are one commit, large ones go on in slices."""

from collections.abc import Iterator
from pathlib import Path

import plyvel
import pytest

from replicator.faces.control import execute
from replicator.faces.handle import Replica
from replicator.faces.redis import limits, several
from replicator.faces.redis.table import Work
from replicator.faces.stepwise import Session
from tests.redis.beside import Ours

MANY = [b"key%05d" % number for number in range(limits.RESP_KEYS_AT_ONCE + 500)]


def pairs(keys: list[bytes]) -> list[bytes]:
    return [word for key in keys for word in (key, b"of " + key)]


def begun(replica: Replica, *request: bytes) -> Iterator[bytes]:
    work = execute(replica, Session(), list(request))
    assert isinstance(work, Work)
    return work.slices


def test_in_one_turn_up_to_a_thousand_keys(replica: Replica) -> None:
    few = MANY[: limits.RESP_KEYS_AT_ONCE - 1]
    for request in ((b"MSET", *pairs(few)), (b"MGET", *few), (b"EXISTS", *few), (b"DEL", *few)):
        assert not isinstance(execute(replica, Session(), list(request)), Work)


def test_with_more_in_slices(replica: Replica, ours: Ours) -> None:
    assert ours.ask(b"MSET", *pairs(MANY)) == b"OK"
    missing = [b"none", *MANY[:2], b"\xff\xff\xff\xff", *MANY[2:]]
    values = ours.ask(b"MGET", *missing)
    assert values == [
        None,
        *(b"of " + key for key in MANY[:2]),
        None,
        *(b"of " + k for k in MANY[2:]),
    ]
    assert ours.ask(b"EXISTS", *missing, MANY[0]) == len(MANY) + 1
    assert ours.ask(b"TOUCH", *missing) == len(MANY)
    assert ours.ask(b"DEL", *missing, MANY[0]) == len(MANY)
    assert ours.ask(b"EXISTS", *MANY) == 0
    assert replica.versions(b"none") == []  # a delete of nothing is no write
    assert all(replica.versions(key)[0].is_delete for key in MANY)


def test_nulls_in_both_protocols(replica: Replica, ours: Ours) -> None:
    reply = b"".join(begun(replica, b"MGET", *MANY))
    assert reply.startswith(b"*1500\r\n$-1\r\n")
    work = execute(replica, Session(3), [b"MGET", *MANY])
    assert isinstance(work, Work)
    assert b"".join(work.slices).startswith(b"*1500\r\n_\r\n")


def test_a_large_mget_reads_one_moment(replica: Replica, ours: Ours) -> None:
    ours.ask(b"MSET", *pairs(MANY))
    slices = begun(replica, b"MGET", *MANY)
    head = next(slices)
    ours.ask(b"MSET", *[word for key in MANY for word in (key, b"later")])
    assert b"later" not in head + b"".join(slices)


def test_large_values_make_slices_too(
    replica: Replica, ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "RESP_VALUES_AT_ONCE_BYTES", 1000)
    monkeypatch.setattr(several, "RESP_WRITES_BYTES", 500)
    keys = MANY[:8]
    written = [word for key in keys for word in (key, key * 40)]
    work = execute(replica, Session(), [b"MSET", *written])
    assert isinstance(work, Work)
    assert sum(piece == b"" for piece in work.slices) >= 4
    assert ours.ask(b"MGET", *keys) == [key * 40 for key in keys]
    assert isinstance(execute(replica, Session(), [b"MGET", *keys]), Work)


def test_a_large_mset_with_a_key_that_is_refused_writes_nothing(
    replica: Replica, ours: Ours
) -> None:
    error = ours.ask(b"MSET", *pairs(MANY), b"\xff\xff\xff\xffk", b"v")
    assert "reserved" in str(error)
    assert ours.ask(b"DBSIZE") == 0


def test_the_last_of_equal_keys_counts(ours: Ours) -> None:
    ours.ask(b"MSET", *pairs(MANY), MANY[0], b"last", MANY[0], b"really last")
    assert ours.ask(b"GET", MANY[0]) == b"really last"


def test_msetnx_is_one_commit_or_none(ours: Ours) -> None:
    assert "at most 1000 keys" in str(ours.ask(b"MSETNX", *pairs(MANY)))
    assert ours.ask(b"DBSIZE") == 0
    assert ours.ask(b"MSETNX", *pairs(MANY[:1000])) == 1
    assert ours.ask(b"MSETNX", b"new", b"v", MANY[7], b"v") == 0
    assert ours.ask(b"EXISTS", b"new") == 0


def test_an_mset_ends_expiries(ours: Ours) -> None:
    ours.ask(b"SET", b"k", b"v", b"EX", b"1000")
    ours.ask(b"MSET", b"k", b"w")
    assert ours.ask(b"TTL", b"k") == -1


def test_a_failure_in_the_middle_is_the_reply(tmp_path: Path) -> None:
    from replicator.faces.library import replicate

    db = plyvel.DB(str(tmp_path / "store"), create_if_missing=True)
    replica = replicate(db, port=None, name="alone", join_timeout=0)
    slices = begun(replica, b"MSET", *pairs(MANY))
    for _ in range(8):
        next(slices)
    replica.close()
    with pytest.raises(RuntimeError, match="closed"):
        any(slices)
