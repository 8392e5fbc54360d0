"""Who a store is, and how it notices that its directory is no longer the one it was (R13).

A dot is issued once, ever: a store that may be a copy, or that lost its last commits, takes a new
origin. What a clone of a whole running machine looks like cannot be seen here; peers show it
(`shown`).
"""

import secrets
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from replicator.errors import FormatError


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a store lies: it moves with a directory, not with a copy of it.

    Attributes:
        machine: the machine id, empty where there is none.
        directory_inode, lock_inode: inodes of the directory and of LevelDB's LOCK file.
        boot: the kernel's boot id, empty where there is none.
    """

    machine: str
    directory_inode: int
    lock_inode: int
    boot: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity row.

    Attributes:
        origin: who issues this store's writes.
        surroundings: where it was opened last.
        clean: whether it was closed since.
    """

    origin: int
    surroundings: Surroundings
    clean: bool

    def row(self) -> list[Any]:
        return [self.origin, *astuple(self.surroundings), self.clean]

    @classmethod
    def from_row(cls, row: Any) -> "Identity":
        """The identity that a row describes.

        Raises:
            FormatError: it is malformed.
        """
        kinds = [int, str, int, int, str, bool]
        if not isinstance(row, list) or [type(field) for field in row] != kinds:
            raise FormatError("the identity row is malformed; restore from a backup")
        origin, machine, directory_inode, lock_inode, boot, clean = row
        return cls(origin, Surroundings(machine, directory_inode, lock_inode, boot), clean)

    def reopened(self, here: Surroundings) -> "Identity":
        """The identity to go on with in the surroundings found, marked as open."""
        if self.was_copied(here) or self.lost_commits(here):
            return Identity(new_origin(), here, clean=False)
        return replace(self, surroundings=here, clean=False)

    def was_copied(self, here: Surroundings) -> bool:
        """Whether the directory is on another machine, or another one than it was."""
        then = self.surroundings
        return (then.machine, then.directory_inode, then.lock_inode) != (
            here.machine,
            here.directory_inode,
            here.lock_inode,
        )

    def lost_commits(self, here: Surroundings) -> bool:
        """Whether older commits may be missing where newer ones are there: the machine went down
        while the store was open (R11), or this copy was taken file by file while it was."""
        return not self.clean and (self.surroundings.boot != here.boot or self.was_copied(here))


def new_origin() -> int:
    """A random origin. 0 is never one."""
    return secrets.randbits(64) or 1


def look_around(path: Path) -> Surroundings:
    """The surroundings of a LevelDB directory as they are now."""
    return Surroundings(
        machine=_read("/etc/machine-id"),
        directory_inode=path.stat().st_ino,
        lock_inode=(path / "LOCK").stat().st_ino,
        boot=_read("/proc/sys/kernel/random/boot_id"),
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:  # noqa: PTH123 — a kernel file
            return stream.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""
