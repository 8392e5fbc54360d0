"""Power cuts: a directory as a disk may hold it that was told to sync some of it and no more.

What LevelDB syncs itself (tables, MANIFEST, CURRENT) is there. A log file keeps what was fsynced
through this process; what came later is lost from some place on, or in some of its pages; and a
log file that no sync of the directory saw may be missing altogether.
"""

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from replicator.store import fork, opening
from replicator.store.identity import Surroundings

from .places import Place

PAGE_BYTES = 4096


class Power:
    """Watches what is synced; cuts the power of one place at a time. All places of the test lie
    on one machine, whose directories never count as copies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boots = 0
        self.kept: dict[str, int] = {}
        """Path of a log file → how many of its first bytes are on the disk."""
        self.listed: set[str] = set()
        """Log files whose directory was synced since they came."""
        self._fdatasync, self._fsync = os.fdatasync, os.fsync
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(opening, "look_around", self.look_around)
        monkeypatch.setattr(fork, "look_around", self.look_around)

    def fdatasync(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        self._fdatasync(descriptor)
        self.kept[str(_path(descriptor))] = size

    def fsync(self, descriptor: int) -> None:
        files = list(_path(descriptor).iterdir())
        self._fsync(descriptor)
        self.listed.update(map(str, files))

    def look_around(self, path: Path) -> Surroundings:
        return Surroundings("machine", 1, 1, f"boot {self.boots}")

    def cut(self, place: Place, chance: random.Random) -> None:
        """The machine of `place` goes down now; its disk keeps at least what was synced."""
        disk = place.path.with_name(place.path.name + ".disk")
        copy_as_of_now(place.path, disk)
        place.kill()
        for log in sorted(disk.glob("*.log")):
            name = str(place.path / log.name)
            _damage(log, self.kept.get(name, 0), name in self.listed, chance)
        shutil.rmtree(place.path)
        disk.rename(place.path)
        self.boots += 1
        gone = f"{place.path}/"
        self.kept = {name: size for name, size in self.kept.items() if not name.startswith(gone)}
        self.listed = {name for name in self.listed if not name.startswith(gone)}

    def unsynced(self, place: Place) -> int:
        """How many log files hold bytes that no sync has covered."""
        return sum(
            log.stat().st_size > self.kept.get(str(log), 0) for log in place.path.glob("*.log")
        )


def _path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def copy_as_of_now(path: Path, to: Path) -> None:
    """Copy a directory that LevelDB has open and nobody writes to: a state of one moment, although
    a full memtable may be on its way into a table meanwhile. The MANIFEST tells the moment; the
    logs that it asks for have to be there still when they are copied last."""
    while True:
        logs = {log.name for log in path.glob("*.log")}
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        with suppress(OSError):  # a file went meanwhile
            for entry in sorted(path.iterdir(), key=_turn):
                shutil.copy(entry, to)
            if logs <= {log.name for log in to.glob("*.log")}:
                return


def _turn(entry: Path) -> tuple[bool, bool]:
    """MANIFEST first, logs last."""
    return entry.suffix == ".log", not entry.name.startswith("MANIFEST")


def _damage(log: Path, kept: int, listed: bool, chance: random.Random) -> None:
    if not listed and not kept and chance.random() < 0.3:
        log.unlink()
        return
    written = bytearray(log.read_bytes())
    how = chance.choice(["keep", "truncate", "truncate", "zeros", "garbage", "pages"])
    place = chance.randint(kept, len(written))
    if how == "truncate":
        del written[place:]
    elif how == "zeros":
        written[place:] = bytes(len(written) - place)
    elif how == "garbage":
        written[place:] = chance.randbytes(len(written) - place)
    elif how == "pages":
        for start in range(0, len(written), PAGE_BYTES):
            begin, end = max(start, kept), min(start + PAGE_BYTES, len(written))
            if begin < end and chance.random() < 0.3:
                written[begin:end] = bytes(end - begin)
    log.write_bytes(written)
