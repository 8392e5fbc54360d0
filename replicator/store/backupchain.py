"""The files of one backup: a full one and the increments that follow it, in order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from replicator.errors import UsageError
from replicator.store.backupfile import INDEX_ROWS, Head, Reader, unreadable

Progress = Callable[[int, int], object]
"""Called with the octets of the files read so far, and how many there are."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a backup holds.

    Attributes:
        files: the full backup first.
        head: of the last of them.
        records: how many there are in all files; of a restore, in the store that was made.
    """

    files: tuple[Path, ...]
    head: Head
    records: int


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """A backup file, for reading.

    Raises:
        StorageError: it cannot be opened or read; it is no backup, or damaged.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        yield Reader(path, file)


def check_backup(files: Sequence[Path], progress: Progress | None = None) -> Checked:
    """Read a whole backup and write nothing.

    Args:
        files: see `chain_of`.

    Raises:
        What `chain_of` and `Reader.blocks` raise.
    """
    chain = chain_of(files)
    meter = Meter(chain, progress)
    records = 0
    for path, _ in chain:
        with opened(path) as reader:
            for kind, pieces in reader.blocks():
                count = sum(len(piece) for piece in pieces)
                records += count if kind == INDEX_ROWS else 0
                meter.at(reader)
    return Checked(tuple(path for path, _ in chain), chain[-1][1], records)


def chain_of(files: Sequence[Path]) -> list[tuple[Path, Head]]:
    """The files of a backup with their heads, the full backup first.

    Args:
        files: where the first is an increment, those before it are looked for beside it.

    Raises:
        UsageError: they do not follow each other, or a base is missing.
        StorageError: a file cannot be read, or is no backup.
    """
    if not files:
        raise UsageError("which backup? name at least one file")
    chain = [(path, _head(path)) for path in files]
    bases: set[Path] = set()
    while chain[0][1].base is not None:
        path, head = chain[0]
        base = path.with_name(head.base_name)
        if base in bases or not base.exists() or _head(base).id != head.base:
            raise UsageError(
                f"{path} is an increment to {head.base_name}, which is not beside it: name that "
                "file before it"
            )
        bases.add(base)
        chain.insert(0, (base, _head(base)))
    for (before, before_head), (after, head) in pairwise(chain):
        if head.base is None:
            raise UsageError(f"{after} is a full backup: name it first, or alone")
        if head.base != before_head.id:
            raise UsageError(
                f"{after} is an increment to {head.base_name}, not to {before}: name the full "
                "backup first, then each increment behind its base"
            )
    return chain


def _head(path: Path) -> Head:
    with opened(path) as reader:
        return reader.head


class Meter:
    """Tells how much of all files was read."""

    def __init__(self, chain: list[tuple[Path, Head]], progress: Progress | None) -> None:
        self._sizes = [path.stat().st_size for path, _ in chain]
        self._paths = [path for path, _ in chain]
        self._progress = progress

    def at(self, reader: Reader) -> None:
        """So far has one of them been read."""
        if self._progress is not None:
            before = sum(self._sizes[: self._paths.index(reader.path)])
            self._progress(before + reader.position, sum(self._sizes))
