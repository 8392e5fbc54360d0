"""Restoring: what is refused, and that nothing half done is left or opens as a store."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import plyvel
import pytest

from replicator.errors import (
    CorruptionError,
    DoubleWrapError,
    FormatError,
    StorageError,
    UsageError,
)
from replicator.store import keyspace
from replicator.store import restore as restore_module
from replicator.store.backupchain import chain_of, check_backup
from replicator.store.backupfile import PRESENT, STATE, Writer
from replicator.store.keyspace import FORMAT_VERSION, meta_key, pack_meta
from replicator.store.restore import restore
from replicator.store.store import Store
from replicator.store.strip import strip

from .chains import backed_up, restored
from .checker import check_store
from .places import Place, contents, patient
from .rounds import collect
from .test_full_disk import ROOT, small_disk  # noqa: F401 — a fixture


@pytest.fixture
def chain(store: Store, directory: Path) -> list[Path]:
    """A full backup and two increments, in the second of which absence counts."""
    files = [directory / name for name in ("full", "one", "two")]
    store.write([(b"key %d" % number, bytes([number]) * 50) for number in range(100)])
    backed_up(store, files[0])
    store.put(b"key 3", b"new")
    backed_up(store, files[1], since=files[0], compress=True)
    store.delete(b"key 4")
    collect(store, b"key 4")
    backed_up(store, files[2], since=files[1])
    return files


def test_the_bases_of_an_increment_are_found_beside_it(chain: list[Path], directory: Path) -> None:
    assert [path for path, _ in chain_of(chain[2:])] == chain
    with restored(directory / "r", chain[2]) as found:
        assert contents(found)[b"key 3"] == b"new" and b"key 4" not in contents(found)
        check_store(found)


def test_an_increment_without_its_base(chain: list[Path], directory: Path) -> None:
    (directory / "moved").mkdir()
    chain[0].rename(directory / "moved" / "sunday")
    with pytest.raises(UsageError, match="one is an increment to full, which is not beside it"):
        restore(chain[1:], directory / "r")
    assert not (directory / "r").exists()
    with restored(directory / "r", directory / "moved" / "sunday", *chain[1:]) as found:
        check_store(found)


def test_another_backup_under_the_name_of_the_base(
    store: Store, chain: list[Path], directory: Path
) -> None:
    chain[0].unlink()
    backed_up(store, chain[0])
    with pytest.raises(UsageError, match="which is not beside it"):
        restore(chain[1:], directory / "r")


def test_the_wrong_order_and_wrong_files(chain: list[Path], directory: Path) -> None:
    full, one, two = chain
    for files, what in (
        ([full, two], "two is an increment to one, not to .*full"),
        ([two, one], "not to .*two"),
        ([one, full], "full is a full backup: name it first"),
        ([full, full], "name it first, or alone"),
        ([], "which backup"),
    ):
        with pytest.raises(UsageError, match=what):
            restore(files, directory / "r")
        assert not (directory / "r").exists()


def test_a_base_that_names_itself_ends(store: Store, directory: Path) -> None:
    backed_up(store, directory / "b")
    content = (directory / "b").read_bytes()
    assert chain_of([directory / "b"])[0][1].base is None
    (directory / "b").write_bytes(content[:100])
    with pytest.raises(StorageError):
        chain_of([directory / "b"])


# Where to


def test_only_into_a_directory_without_anything(chain: list[Path], directory: Path) -> None:
    target = directory / "r"
    target.mkdir()
    (target / "notes").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        restore(chain, target)
    assert (target / "notes").read_text() == "mine"
    with pytest.raises(UsageError, match="is a file"):
        restore(chain, target / "notes")
    with pytest.raises(UsageError, match="is a file"):
        restore(chain, target / "notes" / "below")
    (target / "notes").unlink()
    (target / "lost+found").mkdir()
    with restored(target, *chain) as found:
        check_store(found)
    assert (target / "lost+found").is_dir()


def test_not_over_a_store_or_another_leveldb(
    chain: list[Path], place: Place, directory: Path
) -> None:
    with plyvel.DB(str(directory / "other"), create_if_missing=True) as db:
        db.put(b"k", b"v")
    for target in (place.path, directory / "other"):
        with pytest.raises(UsageError, match="is not empty"):
            restore(chain, target)
    assert contents(place.store)[b"key 3"] == b"new"
    place.close()
    with pytest.raises(UsageError, match="is not empty"):
        restore(chain, place.path)
    check_store(place.open())


@pytest.mark.parametrize("is_half", [False, True], ids=["an empty LevelDB", "half a restore"])
def test_what_lies_beside_what_is_written_over_stays(
    chain: list[Path], directory: Path, is_half: bool
) -> None:
    """Files of somebody else: the directory is not empty, whatever LevelDB is in it."""
    target = directory / "r"
    with plyvel.DB(str(target), create_if_missing=True) as db:
        if is_half:
            db.put(keyspace.ROOT, keyspace.pack_meta([b""]))
            db.put(meta_key("restoring"), b"")
    (target / "notes").write_text("mine")
    (target / "photos").mkdir()
    with pytest.raises(UsageError, match="is not empty"):
        restore(chain, target)
    assert (target / "notes").read_text() == "mine" and (target / "photos").is_dir()
    (target / "notes").unlink()
    (target / "photos").rmdir()
    with restored(target, *chain) as found:
        check_store(found)


def test_a_failure_leaves_what_came_meanwhile(chain: list[Path], directory: Path) -> None:
    target = directory / "r"
    target.mkdir()

    def progress(*_: int) -> None:
        (target / "notes").write_text("mine")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(chain, target, progress)
    assert [entry.name for entry in target.iterdir()] == ["notes"]


def test_a_new_directory_is_its_owner_s_alone(chain: list[Path], directory: Path) -> None:
    restore(chain, directory / "below" / "r")
    assert (directory / "below" / "r").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made(chain: list[Path]) -> None:
    with pytest.raises(StorageError, match="cannot be made"):
        restore(chain, Path("/proc/nowhere/r"))


def test_a_prefixed_store_is_not_taken_for_a_whole_one(directory: Path) -> None:
    with Place(directory / "a", prefix=b"p:", settings=patient()) as store:
        store.put(b"k", b"v")
        backed_up(store, directory / "b")
    restore([directory / "b"], directory / "r")
    with pytest.raises(DoubleWrapError):
        Place(directory / "r").open()


# Damage


def damaged(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


@pytest.mark.parametrize("number", range(3))
def test_a_flipped_bit_anywhere_leaves_no_directory(
    chain: list[Path], directory: Path, number: int
) -> None:
    random = Random(f"flip {number}")
    good = chain[number].read_bytes()
    for _ in range(12):
        at = random.randrange(len(good))
        damaged(chain[number], lambda data, at=at: data.__setitem__(at, data[at] ^ 4))
        with pytest.raises((CorruptionError, FormatError)) as found:
            restore(chain, directory / "r")
        assert chain[number].name in str(found.value)
        assert not (directory / "r").exists()
        with pytest.raises((CorruptionError, FormatError)):
            check_backup(chain)
        chain[number].write_bytes(good)


def test_a_file_cut_short_leaves_an_empty_directory_empty(
    chain: list[Path], directory: Path
) -> None:
    target = directory / "r"
    target.mkdir()
    good = chain[2].read_bytes()
    for size in (len(good) - 1, len(good) - 60, len(good) // 2, 7, 0):
        chain[2].write_bytes(good[:size])
        with pytest.raises((CorruptionError, FormatError)):
            restore(chain, target)
        assert list(target.iterdir()) == []


def test_a_store_of_a_newer_format(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from replicator.store import backup

    monkeypatch.setattr(backup, "FORMAT_VERSION", FORMAT_VERSION + 1)
    backed_up(store, directory / "b")
    with pytest.raises(FormatError, match="store of a newer replicator"):
        restore([directory / "b"], directory / "r")
    assert not (directory / "r").exists()


def test_an_increment_that_contradicts_its_base(
    store: Store, chain: list[Path], directory: Path
) -> None:
    """Checksums fit, contents do not: it tells of a key that nobody has."""
    base = chain_of(chain)[-1][1]
    head = replace(base, id=bytes(16), base=base.id, base_name="two", absence_counts=True)
    for strange in (b"key 1x", b"z"):
        with (directory / "odd").open("wb") as file:
            writer = Writer(file, head, compress=False)
            list(writer.add(STATE, [(meta_key("format"), pack_meta(FORMAT_VERSION))]))
            list(writer.add(PRESENT, [b"key 1", strange]))
            writer.end()
        with pytest.raises(CorruptionError, match=f"odd tells of key {strange!r}, which neither"):
            restore([*chain, directory / "odd"], directory / "r")
        assert not (directory / "r").exists()


# Cut


class Cut(BaseException):
    """The power went."""


@pytest.mark.parametrize("step", range(1, 8))
def test_a_cut_restore_is_no_store_and_is_simply_repeated(
    chain: list[Path], directory: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any of its steps, nothing tidied up."""
    target = directory / "r"
    seen: list[int] = []

    def progress(done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == step:
            raise Cut

    monkeypatch.setattr(restore_module, "_clear", lambda *_: None)
    with pytest.raises(Cut):
        restore(chain, target, progress)
    with pytest.raises(FormatError, match="half of a restore that was cut"):
        Place(target, settings=patient()).open()
    assert meta_key("format") not in Place(target).rows()  # nor is it one for older versions
    with pytest.raises(FormatError, match="half of a restore that was cut"):
        strip(target)
    monkeypatch.undo()
    restore(chain, target)
    with Place(target, settings=patient()) as found:
        assert len(contents(found)) == 99
        check_store(found)


def test_an_interrupt_leaves_nothing(chain: list[Path], directory: Path) -> None:
    def progress(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(chain, directory / "r", progress)
    assert not (directory / "r").exists()


CHILD = """
import sys
from pathlib import Path
from replicator.store.restore import restore
def progress(done, total):
    print(done, flush=True)
    sys.stdin.readline()
restore([Path(name) for name in sys.argv[2:]], Path(sys.argv[1]), progress)
"""


def test_a_killed_process(chain: list[Path], directory: Path) -> None:
    target = directory / "r"
    command = [sys.executable, "-c", CHILD, str(target), *map(str, chain)]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline()
    with pytest.raises(UsageError, match="is not empty"):
        restore(chain, target)  # another one is under way
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()
    with pytest.raises(FormatError, match="run replicator restore again"):
        Place(target, settings=patient()).open()
    with restored(target, *chain) as found:
        check_store(found)


# Full disks


LIMITED = """
import resource, signal, sys
from pathlib import Path
import plyvel
from replicator.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
if sys.argv[1] == "backup":
    from replicator.store.store import Store
    from tests.store.chains import backed_up
    store = Store.open(plyvel.DB(sys.argv[2]))
    try:
        backed_up(store, Path(sys.argv[3]))
    except StorageError as error:
        store.put(b"after", b"the store goes on")
        store.close()
        sys.exit(str(error))
else:
    from replicator.store.restore import restore
    try:
        restore([Path(sys.argv[3])], Path(sys.argv[2]))
    except StorageError as error:
        sys.exit(str(error))
"""


@pytest.fixture
def large(directory: Path) -> Place:
    """A store of 400 kB that nothing compresses, closed."""
    place = Place(directory / "large", settings=patient())
    random = Random("large")
    store = place.open()
    for number in range(400):
        store.put(b"%d" % number, random.randbytes(1000))
        if number % 100 == 99:
            store.level.db.compact_range()
    place.close()
    return place


def limited(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    return done.stderr


def test_a_limit_on_file_sizes_during_a_backup(large: Place, directory: Path) -> None:
    text = limited("backup", str(large.path), str(directory / "b"))
    assert "b cannot be written: File too large; nothing is left of it" in text
    assert {entry.name for entry in directory.iterdir()} == {"large"}
    with large as store:
        assert store.db.get(b"after") == b"the store goes on"
        check_store(store)


def test_a_limit_on_file_sizes_during_a_restore(large: Place, directory: Path) -> None:
    with large as store:
        backed_up(store, directory / "b")
    text = limited("restore", str(directory / "r"), str(directory / "b"))
    assert "r cannot be written" in text and "nothing is left of the restore" in text
    assert not (directory / "r").exists()


def test_a_small_disk(small_disk: Path, directory: Path) -> None:  # noqa: F811
    with Place(directory / "a", settings=patient()) as store:
        random = Random("small")
        store.write([(b"%d" % number, random.randbytes(5000)) for number in range(1000)])
        with pytest.raises(StorageError, match="No space left on device; nothing is left"):
            backed_up(store, small_disk / "b")
        assert list(small_disk.iterdir()) == []
        backed_up(store, directory / "b")
        for target in (small_disk / "r", small_disk):
            with pytest.raises(StorageError, match="nothing is left of the restore"):
                restore([directory / "b"], target)
            assert list(small_disk.iterdir()) == []
        store.put(b"k", b"v")
        check_store(store)
