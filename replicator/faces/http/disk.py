"""Whether the disk takes what is written, and how much room it has."""

import os
from dataclasses import dataclass
from pathlib import Path

import trio

from replicator.faces.http.limits import (
    DISK_PROBE_BYTES,
    DISK_PROBE_SECONDS,
)
from replicator.faces.unixsocket import DIRECTORY_NAME

PROBE_NAME = "disk-probe"


@dataclass(frozen=True, slots=True)
class DiskState:
    """A disk at one moment.

    Attributes:
        fault: why it takes nothing; None where it does.
        free_bytes: what is free for this user; None where that cannot be told.
    """

    fault: str | None
    free_bytes: int | None


class Disk:
    """Looks at the disk of one data directory, every `DISK_PROBE_SECONDS` at most.

    A file of `DISK_PROBE_BYTES` is written and removed in ``DIR/replicator``, without a sync. For
    one trio loop; the looking happens in a worker thread, one at a time: on a disk that hangs, that
    one waits and no further ones are started.

    Args:
        data: the directory of the LevelDB.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._limiter = trio.CapacityLimiter(1)
        self._at: float | None = None
        self._state = DiskState(None, None)

    async def look(self) -> DiskState:
        """The disk as it was at most `DISK_PROBE_SECONDS` ago."""
        now = trio.current_time()
        if self._at is None or now - self._at >= DISK_PROBE_SECONDS:
            self._at = now
            with trio.move_on_after(DISK_PROBE_SECONDS) as limit:
                self._state = await trio.to_thread.run_sync(
                    probe, self._data, limiter=self._limiter, abandon_on_cancel=True
                )
            if limit.cancelled_caught:
                fault = f"the disk has not answered within {DISK_PROBE_SECONDS:g} s"
                self._state = DiskState(fault, self._state.free_bytes)
        return self._state


def probe(data: Path) -> DiskState:
    """Write to the disk and remove that again."""
    path = data / DIRECTORY_NAME / PROBE_NAME
    fault = None
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(descriptor, bytes(DISK_PROBE_BYTES)) < DISK_PROBE_BYTES:
                fault = "the disk is full"
        finally:
            os.close(descriptor)
            path.unlink()
    except OSError as error:
        fault = f"the disk takes nothing: {error.strerror}"
    try:
        found = os.statvfs(data)
    except OSError:
        return DiskState(fault, None)
    return DiskState(fault, found.f_bavail * found.f_frsize)
