"""Peers in a file that some tool or person keeps up to date.

A file is best replaced as a whole (written aside, then renamed), which includes the symbolic links
of a Kubernetes ConfigMap. One that is written in place may be seen half done, so:

- an address on a whole line counts at once;
- what is missing, and a last line without its end, count only when the file has not changed
  between two looks, or for `SETTLED_SECONDS`: ``10.0.0.1:90`` may be the beginning of
  ``10.0.0.1:9000``;
- nonsense is told only then, too.
"""

import os
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from replicator.config import DISCOVERY_FILE_INTERVAL, PEERS_FILE_BYTES_MAX
from replicator.errors import ConfigError
from replicator.net.address import Address
from replicator.net.discovery.lines import parse_lines, summary
from replicator.net.discovery.pace import Finding, LookError, checked_interval, keep_looking
from replicator.net.discovery.provider import Advert, Outlook

SETTLED_SECONDS = 3.0
"""A file that is older is no longer being written: the coarsest file systems tell two seconds."""

_Signature = tuple[int, int, int, int]
"""Of a file: device, inode, time of change, size."""


@dataclass(frozen=True, slots=True)
class PeersFile:
    """One address a line; ``#`` begins a comment. It is looked at again and again, and read when
    it has changed.

    Args:
        path: of the file; links are followed.
        interval: seconds between two looks.

    Raises:
        ConfigError: an argument is none.
    """

    path: str
    interval: float = DISCOVERY_FILE_INTERVAL

    def __post_init__(self) -> None:
        path: object = self.path
        if not isinstance(path, str) or not path or "\0" in path:
            raise ConfigError(f"the peers file is {path!r}: give its path")
        checked_interval("the interval of the peers file", self.interval)

    @property
    def name(self) -> str:
        return f"file {self.path}"

    async def run(self, outlook: Outlook, advert: Advert | None) -> None:
        """See `Provider`."""
        await keep_looking(outlook, _looking_at(self.path), self.interval)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a file held when it was read.

    Attributes:
        is_steady: whether it stayed the same meanwhile.
        is_old: whether nobody has written to it for a while, by the clock.
    """

    signature: _Signature
    is_steady: bool
    is_old: bool
    text: str


def _looking_at(path: str) -> Callable[[], Awaitable[Finding]]:
    """What looks at the file, and remembers what it saw."""
    seen: _Signature | None = None
    taken: _Signature | None = None
    finding = Finding(None)

    async def look() -> Finding:
        nonlocal seen, taken, finding
        reading = await trio.to_thread.run_sync(_read, path, taken, abandon_on_cancel=True)
        if reading is None:
            return finding
        if reading.is_old or (reading.is_steady and reading.signature == seen):
            addresses, faults = parse_lines(reading.text, Path(path).name)
            finding = Finding(addresses, summary(faults))
            taken = reading.signature
        else:
            finding = Finding(_grown(finding, reading.text), finding.complaint)
            seen, taken = reading.signature, None
        return finding

    return look


def _grown(before: Finding, text: str) -> list[Address]:
    """What was there before, and the whole lines of a file that may still be written."""
    whole = text[: text.rfind("\n") + 1]
    return [*(before.addresses or ()), *parse_lines(whole, "")[0]]


def _read(path: str, known: _Signature | None) -> _Reading | None:
    """Read the file, unless it is as known.

    Raises:
        LookError: it cannot be read.
    """
    try:
        if known is not None and _signature(Path(path).stat()) == known:
            return None
        # Opening a pipe must not wait for somebody who writes into it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise LookError(f"{path} is no file: write the peers into a file, one a line")
            data = file.read(PEERS_FILE_BYTES_MAX + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise LookError(f"cannot read {path}: {error.strerror}; {_advice(error)}") from error
    if len(data) > PEERS_FILE_BYTES_MAX:
        raise LookError(f"{path} is larger than {PEERS_FILE_BYTES_MAX} bytes: is it a peers file?")
    signature = _signature(after)
    is_steady = signature == _signature(before)
    is_old = abs(time.time() - after.st_mtime) > SETTLED_SECONDS
    return _Reading(signature, is_steady, is_steady and is_old, data.decode(errors="replace"))


def _signature(found: os.stat_result) -> _Signature:
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _advice(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "write it, one address a line; an empty one says that there are no peers"
    return "see to it that this user can read it"
