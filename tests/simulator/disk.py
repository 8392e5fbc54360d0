"""One node's LevelDB, as far as losing things goes.

Commits are appended to a log. At a memtable switch a new log begins and the older ones are left
as they are, *not* synced; later they become tables, which are. So a power cut may take the tail
of an older log while later commits, in a newer one, survive (R11); and a log file whose directory
entry was never synced may be gone altogether. A commit that fails leaves a torn record, behind
which nothing of that log is read at the next open (R12). A killed process loses nothing else.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from replicator.errors import CommitError

Batch = dict[Any, Any]
"""Row key → row; None removes. Rows are never changed once they are in a batch."""


class Crash(BaseException):
    """The node went down inside a call to its store. No `Exception`: nothing may catch it."""

    def __init__(self, power: bool) -> None:
        super().__init__()
        self.power = power


@dataclass(slots=True)
class _Log:
    """One log file.

    Attributes:
        synced: how many of its batches survive a power cut for certain.
        entered: whether its directory entry does.
        torn: how many batches stand before a torn record, or None.
    """

    batches: list[Batch] = field(default_factory=list)
    synced: int = 0
    entered: bool = False
    torn: int | None = None

    def readable(self) -> list[Batch]:
        return self.batches[: self.torn]


class Disk:
    """Rows with the durability of LevelDB.

    Args:
        random: decides about switches and losses.
        switch: chance of a memtable switch before a commit.

    Attributes:
        rows: what a reader of the running LevelDB sees.
        fuse: commits until the node goes down, or None.
        fuse_is_power: whether it goes down by a power cut.
        fail_next: whether the next commit fails (full disk).
    """

    def __init__(self, random: Random, switch: float) -> None:
        self._random = random
        self._switch = switch
        self._tables: Batch = {}
        self._logs = [_Log()]
        self.rows: Batch = {}
        self.fuse: int | None = None
        self.fuse_is_power = False
        self.fail_next = False

    def commit(self, batch: Batch) -> None:
        """Append one batch: all of it or nothing, lost with the power unless synced.

        Raises:
            CommitError: it did not happen, and left a torn record behind.
            Crash: the fuse burnt down; the batch is in the log.
        """
        log = self._logs[-1]
        if self.fail_next:
            self.fail_next = False
            if log.torn is None:
                log.torn = len(log.batches)
            raise CommitError("no space left on the simulated device")
        if self._random.random() < self._switch:
            log = self.rotate()
        log.batches.append(batch)
        _fold(batch, self.rows)
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.fuse = None
                raise Crash(self.fuse_is_power)

    def rotate(self) -> _Log:
        """Begin a new log (a memtable switch). The one before it becomes a table in a while, at the
        latest at the next switch."""
        if len(self._logs) > 1:
            for batch in self._logs.pop(0).batches:
                _fold(batch, self._tables)
        self._logs.append(_Log())
        return self._logs[-1]

    def sync(self) -> None:
        """fsync every log file and the directory."""
        for log in self._logs:
            log.synced = len(log.batches)
            log.entered = True

    def sync_newest(self) -> None:
        """What LevelDB's own synced write does: fsync of the log in use, nothing else."""
        self._logs[-1].synced = len(self._logs[-1].batches)

    def reopen(self, power_lost: bool) -> None:
        """What an open after the process went down finds; everything found is in tables then."""
        for log in self._logs:
            batches = log.readable()
            if power_lost:
                batches = batches[: self._kept(log)]
            for batch in batches:
                _fold(batch, self._tables)
        self._logs = [_Log()]
        self.rows = dict(self._tables)
        self.fuse = None
        self.fail_next = False

    def _kept(self, log: _Log) -> int:
        """How many batches of a log the power cut left."""
        chance = self._random.random()
        if chance < 0.1 and not log.entered:
            return 0
        if chance < 0.4:
            return log.synced
        if chance < 0.8:
            return len(log.batches)
        return self._random.randint(log.synced, len(log.batches))

    def safe_rows(self) -> Batch:
        """What is left at least, whatever a power cut takes."""
        found = dict(self._tables)
        for log in self._logs:
            for batch in log.readable()[: log.synced if log.entered else 0]:
                _fold(batch, found)
        return found

    def damage(self, batch: Batch) -> None:
        """Change rows, for good, without a commit."""
        for rows in (self._tables, self.rows):
            _fold(batch, rows)
        for log in self._logs:
            for one in log.batches:
                for key in batch.keys() & one.keys():
                    one[key] = batch[key]

    def image(self) -> Batch:
        """A copy of all rows as they are now: a copied directory, a machine's snapshot."""
        return dict(self.rows)

    def restore(self, image: Batch) -> None:
        """Put a copy in place of everything."""
        self._tables = dict(image)
        self._logs = [_Log()]
        self.rows = dict(image)
        self.fuse = None
        self.fail_next = False


def _fold(batch: Batch, rows: Batch) -> None:
    for key, row in batch.items():
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row
