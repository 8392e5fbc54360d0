"""Times to live on the handle: what goes by itself, what is refused, what each call answers."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.config import TTL_SECONDS_MAX
from replicator.core.record import Version
from replicator.errors import ClosedError, ExpiryError, ReservedKeyError
from replicator.faces.handle import Replica
from replicator.faces.ttl import expiry_after

from .waiting import until

FAR = 3600


def test_a_value_goes_by_itself(replica: Replica) -> None:
    replica.put(b"stays", b"v", ttl=FAR)
    replica.put(b"k", b"v", ttl=0.2)
    assert replica.get(b"k") == b"v"
    with replica.snapshot() as snapshot:
        until(lambda: replica.get(b"k") is None)
        assert snapshot.get(b"k") == b"v"
    assert list(replica) == [(b"stays", b"v")]
    assert replica.ttl(b"k") == 0.0
    assert replica.versions(b"k")[0].value == b"v"


def test_an_earlier_one_behind_a_later_one(replica: Replica) -> None:
    """The node sleeps until the next expiry that it knows of: a nearer one wakes it."""
    replica.put(b"later", b"v", ttl=FAR)
    replica.put(b"k", b"v", ttl=0.1)
    until(lambda: replica.get(b"k") is None)
    replica.put(b"k", b"v", ttl=0.1)
    until(lambda: replica.get(b"k") is None)


def test_seconds_left(replica: Replica) -> None:
    assert replica.ttl(b"k") == 0.0
    replica.put(b"k", b"v")
    assert replica.ttl(b"k") is None
    replica.put(b"k", b"v", ttl=FAR)
    left = replica.ttl(b"k")
    assert left is not None and FAR - 600 < left <= FAR
    replica.delete(b"k")
    assert replica.ttl(b"k") == 0.0


def test_expire_and_persist(replica: Replica) -> None:
    assert not replica.expire(b"k", 1) and not replica.persist(b"k")
    replica.put(b"k", b"v")
    assert not replica.persist(b"k")
    assert replica.expire(b"k", FAR) and replica.ttl(b"k") is not None
    assert replica.persist(b"k", sync=True) and replica.ttl(b"k") is None
    assert replica.get(b"k") == b"v"
    assert [one.clock for one in replica.versions(b"k")] == [2]
    assert replica.expire(b"k", 0.05)
    until(lambda: replica.get(b"k") is None)
    assert not replica.expire(b"k", 1) and not replica.persist(b"k")


def test_a_plain_put_takes_the_expiry_away(replica: Replica) -> None:
    replica.put(b"k", b"v", ttl=FAR)
    replica.put(b"k", b"w")
    assert replica.ttl(b"k") is None


def test_update(replica: Replica) -> None:
    def more(versions: list[Version]) -> bytes:
        return b"%d" % (int(versions[0].value or b"0") + 1 if versions else 1)

    assert replica.update(b"k", more, ttl=FAR) == b"1"
    assert replica.ttl(b"k") is not None
    assert replica.update(b"k", more) == b"2" and replica.ttl(b"k") is None
    replica.update(b"k", lambda versions: None, ttl=FAR)
    assert replica.ttl(b"k") == 0.0
    replica.update(b"k", more, ttl=0.05)
    until(lambda: replica.get(b"k") is None)
    assert replica.update(b"k", more) == b"1", "what has expired is not counted on"


class TestBatches:
    def test_the_last_operation_counts(self, replica: Replica) -> None:
        with replica.write_batch() as batch:
            batch.put(b"a", b"v", ttl=FAR)
            batch.put(b"b", b"v", ttl=FAR)
            batch.put(b"b", b"w")
            batch.put(b"c", b"v", ttl=FAR)
            batch.delete(b"c")
            batch.put(b"d", b"v")
            batch.put(b"d", b"v", ttl=FAR)
        assert replica.ttl(b"a") and replica.ttl(b"d")
        assert replica.ttl(b"b") is None and replica.ttl(b"c") == 0.0

    def test_append_and_clear(self, replica: Replica) -> None:
        one, other = replica.write_batch(), replica.write_batch()
        one.put(b"a", b"v", ttl=FAR)
        one.put(b"b", b"v", ttl=FAR)
        other.put(b"b", b"w")
        other.put(b"c", b"v", ttl=FAR)
        one.append(other)
        one.append(one)
        one.write()
        assert replica.ttl(b"a") and replica.ttl(b"c") and replica.ttl(b"b") is None
        one.clear()
        one.put(b"a", b"v")
        one.write()
        assert replica.ttl(b"a") is None

    def test_it_goes_by_itself(self, replica: Replica) -> None:
        with replica.write_batch() as batch:
            for index in range(300):
                batch.put(b"%d" % index, b"v", ttl=0.05 if index % 3 else FAR)
        until(lambda: len(list(replica)) == 100)


def test_behind_a_prefix(wrap: Callable[..., Replica], tmp_path: Path) -> None:
    """Of the wrapped namespace, and of a view: raw readers of the LevelDB see it go."""
    db = plyvel.DB(str(tmp_path / "db"), create_if_missing=True)
    handle = wrap(db.prefixed_db(b"ns/"))
    view = handle.prefixed_db(b"view/")
    view.put(b"k", b"v", ttl=FAR)
    with view.write_batch() as batch:
        batch.put(b"l", b"v", ttl=FAR)
    assert view.ttl(b"k") == pytest.approx(handle.ttl(b"view/k"), abs=60)
    assert view.ttl(b"l") and view.persist(b"l") and handle.ttl(b"view/l") is None
    assert view.expire(b"k", 0.05)
    until(lambda: db.get(b"ns/view/k") is None)
    assert db.get(b"ns/view/l") == b"v"
    handle.close()
    db.close()


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, TTL_SECONDS_MAX * 2, 10**400])
def test_out_of_range(replica: Replica, ttl: float) -> None:
    for call in (
        lambda: replica.put(b"k", b"v", ttl=ttl),
        lambda: replica.write_batch().put(b"k", b"v", ttl=ttl),
        lambda: replica.update(b"k", lambda versions: b"v", ttl=ttl),
        lambda: replica.expire(b"k", ttl),
    ):
        with pytest.raises(ExpiryError, match="must be above 0"):
            call()
        with pytest.raises(ValueError, match="must be above 0"):
            call()
    assert replica.versions(b"k") == []


@pytest.mark.parametrize("ttl", ["1", b"1", True, [1]])
def test_no_number(replica: Replica, ttl: Any) -> None:
    for call in (lambda: replica.put(b"k", b"v", ttl=ttl), lambda: replica.expire(b"k", ttl)):
        with pytest.raises(TypeError, match="ttl must be a number of seconds"):
            call()
    assert replica.versions(b"k") == []


def test_misuse(replica: Replica) -> None:
    for call in (replica.ttl, replica.persist, lambda key: replica.expire(key, 1)):
        with pytest.raises(TypeError, match="a key must be bytes"):
            call("k")  # type: ignore[arg-type]
    with pytest.raises(ReservedKeyError):
        replica.expire(b"\xff\xff\xff\xffi", 1)
    with pytest.raises(TypeError):
        replica.persist(b"k", sync=1)  # type: ignore[arg-type]
    replica.close()
    for call in (replica.ttl, replica.persist, lambda key: replica.expire(key, 1)):
        with pytest.raises(ClosedError):
            call(b"k")


def test_moments() -> None:
    assert expiry_after(1, 1000) == 2000
    assert expiry_after(0.0001, 1000) == 1001, "never sooner than asked for"
    assert expiry_after(TTL_SECONDS_MAX, 0) < 1 << 63
