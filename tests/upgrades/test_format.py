"""A directory that the version before has written is this version's, with everything in it."""

from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator.core.known import KnownSet
from replicator.errors import CommitError
from replicator.store import keyspace
from replicator.store.keyspace import CLOSED, EXPIRY, FORMAT_VERSION, NEVER_MS, SEQ, after
from replicator.store.store import Store
from tests.cli.daemons import replicator
from tests.store.checker import check_store
from tests.store.places import Place, contents, failing, patient
from tests.upgrades.earlier import Earlier
from tests.upgrades.golden import FORMAT_1, read_golden, write_rows
from tests.upgrades.making import FAR_MS, PEER, PREFIXES, describe

pytestmark = pytest.mark.processes

Made = tuple[Path, dict[str, Any]]

EXPIRIES = {
    (1000 | NEVER_MS, b"x past"),  # swept at once
    (FAR_MS, b"x far"),
    (FAR_MS + 2, b"x two"),
    (FAR_MS + 4, b"x winner"),
}
"""When the store of `tests.upgrades.making.fill` has to look at which key."""


def expiries(db: Any) -> set[tuple[int, bytes]]:
    with db.iterator(start=EXPIRY, stop=after(EXPIRY), include_value=False) as found:
        return {(SEQ.unpack(key[5:13])[0], key[13:]) for key in found}


def format_of(db: Any) -> int:
    version = keyspace.unpack_meta("format", db.get(keyspace.meta_key("format")))
    assert isinstance(version, int)
    return version


def swept(held: dict[str, Any]) -> dict[str, Any]:
    """What the version before held, without the value that it showed after its expiry."""
    gone = b"x past".hex()
    shown = {key: value for key, value in held["shown"].items() if key != gone}
    return {**held, "shown": shown}


def check_brought_up(store: Store) -> None:
    """The store has this version's format, and every row that it asks for."""
    check_store(store)
    assert format_of(store.db) == FORMAT_VERSION
    with store.db.iterator(start=CLOSED, stop=after(CLOSED)) as found:
        assert list(found) == []


@pytest.mark.parametrize("kind", ["mixed", "empty", "killed", "adopted"])
def test_everything_is_there(made: Made, kind: str) -> None:
    directory, held = made
    with plyvel.DB(str(directory / kind)) as db:
        assert format_of(db) == 1
    with Place(directory / kind, settings=patient()) as store:
        assert describe(store) == swept(held[kind])
        check_brought_up(store)
        assert expiries(store.db) == (EXPIRIES if kind in ("mixed", "killed") else set())
        store.put(b"k", b"v")
        check_store(store)
        before = describe(store)
    with Place(directory / kind, settings=patient()) as store:
        assert describe(store) == before


def test_an_adoption_that_was_cut_goes_on(made: Made) -> None:
    directory, held = made
    with Place(directory / "cut-adoption", settings=patient()) as store:
        data = {
            bytes.fromhex(key): bytes.fromhex(value) for key, value in held["cut-adoption"].items()
        }
        assert contents(store) == data
        assert store.known().count() == len(data)
        check_brought_up(store)


def test_a_fork_that_was_cut_goes_on(made: Made) -> None:
    """Its marker asks for a new origin; what no peer was shown is issued again under that."""
    directory, held = made
    before = held["cut-fork"]
    with Place(directory / "cut-fork", settings=patient()) as store:
        after_fork = describe(store)
        assert after_fork["shown"] == swept(before)["shown"]
        assert after_fork["origin"] != before["origin"]
        check_brought_up(store)
        assert expiries(store.db) == EXPIRIES


def test_wraps_side_by_side_are_brought_up_one_by_one(made: Made) -> None:
    """Each has its own format row: 0.1.0 may go on with one while the other is this version's."""
    directory, held = made
    with plyvel.DB(str(directory / "wraps")) as db:
        for prefix in PREFIXES:
            wrapped = db.prefixed_db(prefix)
            assert format_of(wrapped) == 1
            store = Store.open(wrapped, settings=patient())
            assert describe(store) == swept(held[prefix.decode()])
            check_brought_up(store)
            assert expiries(wrapped) == EXPIRIES
            store.close()
        assert db.get(b"outside") == b"plain"


def test_the_bytes_of_format_1(tmp_path: Path) -> None:
    """A directory written once by 0.1.0 and kept row by row: format 1 cannot change any more."""
    rows, held = read_golden(FORMAT_1)
    write_rows(tmp_path / "a", rows)
    with Place(tmp_path / "a", settings=patient()) as store:
        found = describe(store)
        assert found.pop("origin") != held.pop("origin"), "rows put elsewhere are a copy (R13)"
        found.pop("own"), held.pop("own"), held.pop("digest")  # each version has digests of its own
        found["durable"] = held["durable"] = {}
        assert found == swept(held)
        check_brought_up(store)
        assert expiries(store.db) == EXPIRIES


def test_the_version_before_refuses_this_format(earlier: Earlier, tmp_path: Path) -> None:
    """There is no way back, and nothing is touched in trying."""
    place = Place(tmp_path / "a", settings=patient())
    with place as store:
        store.put(b"k", b"v")
    before = place.rows()
    for arguments in (("get", "k"), ("status",), ("serve", "--listen", "127.0.0.1:0")):
        done = earlier.replicator(*arguments, "--data", str(place.path))
        assert done.returncode == 3, done
        assert f"was written by a newer replicator (format {FORMAT_VERSION}" in done.stderr
        assert "knows 1): install the newer version" in done.stderr
        assert "Traceback" not in done.stderr
    assert place.rows() == before
    assert replicator("get", "k", "--data", str(place.path)).stdout == "v\n"


WRITES = """
import sys, plyvel
from replicator.config import Settings
from replicator.store.store import Store
db = plyvel.DB(sys.argv[1])
store = Store.open(db, settings=Settings(join_timeout=0.0))
store.put(b"x far", b"does not expire any more")
store.put(b"by 0.1.0", b"in between")
store.close()
db.close()
"""


def test_a_step_that_was_cut_may_be_gone_back_on(earlier: Earlier, tmp_path: Path) -> None:
    """Until the row of the new format is written the version before opens the directory, whatever
    of the step is done; what it changes then counts when the step is taken again."""
    earlier.make(tmp_path)
    place = Place(tmp_path / "mixed", settings=patient())
    with failing(2), pytest.raises(CommitError):
        place.open()
    with plyvel.DB(str(place.path)) as db:
        assert format_of(db) == 1 and expiries(db)
    done = earlier.python("-c", WRITES, str(place.path))
    assert done.returncode == 0, done.stderr
    with place as store:
        assert contents(store)[b"by 0.1.0"] == b"in between"
        check_brought_up(store)
        assert expiries(store.db) == {row for row in EXPIRIES if row[1] != b"x far"}
        assert KnownSet({PEER: [1, 6]}).difference(store.known()) == KnownSet()
