"""``db.verify()`` on an open handle."""

from collections.abc import Callable
from pathlib import Path

import plyvel
import pytest

from replicator import Replica
from replicator.errors import CorruptionError
from replicator.store.verify.faults import Fault, Kind

Wrap = Callable[..., Replica]


@pytest.fixture
def db(tmp_path: Path) -> plyvel.DB:
    return plyvel.DB(str(tmp_path / "a"), create_if_missing=True)


def test_faults_come_as_they_are_found(db: plyvel.DB, wrap: Wrap) -> None:
    handle = wrap(db, port=None)
    for number in range(3000):
        handle.put(b"k%04d" % number, b"v")
    assert list(handle.verify()) == []
    db.put(b"k1500", b"behind its back")
    with handle.verify() as found:
        assert list(found) == [Fault(Kind.CHANGED, b"k1500")]
        assert (found.keys, dict(found.counts), found.notes) == (3000, {Kind.CHANGED: 1}, [])


def test_it_is_of_one_moment_and_in_steps(db: plyvel.DB, wrap: Wrap) -> None:
    handle = wrap(db, port=None)
    for number in range(2500):
        handle.put(b"k%04d" % number, b"v")
    verification = handle.verify()
    db.put(b"k0001", b"later")
    steps = list(verification.steps())
    assert len(steps) > 4 and set(steps) == {None}


def test_the_handle_is_closed_meanwhile(db: plyvel.DB, wrap: Wrap) -> None:
    handle = wrap(db, port=None)
    handle.put(b"k", b"v")
    verification = handle.verify()
    handle.close()
    with pytest.raises(RuntimeError):
        list(verification)
    verification.close()


def test_who_meets_a_changed_value_is_told_what_to_do(db: plyvel.DB, wrap: Wrap) -> None:
    handle = wrap(db, port=None)
    handle.put(b"k", b"v")
    db.put(b"k", b"behind its back")
    with pytest.raises(CorruptionError, match=r"replicator verify .*/a --repair"):
        handle.versions(b"k")
