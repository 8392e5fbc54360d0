"""Looking at a node: once a second, however many ask.

`status` and `members` of a node run in its trio loop and copy its known set, so scrapes and pages
share one look (`View`), which the beat of the page takes every `SAMPLE_SECONDS`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import trio

from replicator.faces.http.committimes import CommitCounts, CommitTimes
from replicator.faces.http.disk import Disk, DiskState
from replicator.faces.http.limits import ASKED_SECONDS
from replicator.status import MemberStatus, Status

if TYPE_CHECKING:
    from replicator.faces.handle import Replica


class RespCounts(Protocol):
    """What the Redis server has done so far: `replicator.faces.redis.server.ServerStatus`."""

    @property
    def clients(self) -> int:
        """Connected now."""

    @property
    def refused(self) -> int:
        """Clients that found no room."""

    @property
    def reads(self) -> int:
        """Keys that clients have read."""

    @property
    def auth_failures(self) -> int:
        """Wrong passwords shown."""

    @property
    def commands(self) -> Mapping[str, int]:
        """How often each command ran."""


@dataclass(frozen=True, slots=True)
class View:
    """A node at one moment.

    Attributes:
        at: seconds of the loop's clock.
        at_ms: wall clock, milliseconds since the epoch.
        failed: why LevelDB refuses commits; None where it does not.
        conflicts_open: None before they were counted.
        commits: None where nobody measures.
        resp: None where there is no Redis server.
        is_closing: whether the daemon is about to end.
    """

    at: float
    at_ms: int
    status: Status
    members: tuple[MemberStatus, ...]
    known_gaps: int
    failed: str | None
    disk: DiskState
    conflicts_open: int | None
    commits: CommitCounts
    resp: RespCounts | None
    is_closing: bool

    @property
    def faults(self) -> list[str]:
        """Why the node is not ready; empty where it is."""
        found = []
        if self.is_closing:
            found.append("the daemon is closing")
        if not self.status.running:
            found.append("the node does not run")
        if not self.gate_is_open:
            found.append("the write gate is shut: the node tries to reach its peers first")
        if self.failed is not None:
            found.append(self.failed)
        if self.disk.fault is not None:
            found.append(self.disk.fault)
        return found

    @property
    def gate_is_open(self) -> bool:
        """Whether own writes are accepted without waiting for peers (R13)."""
        return self.status.write_gate != "waiting"

    @property
    def others(self) -> list[MemberStatus]:
        """All members but this node."""
        return [member for member in self.members if not member.is_self]


class Watch:
    """Takes views of one node. For its trio loop.

    Args:
        replica: runs in this loop.
        disk: of its directory.
        resp: counters of the Redis server, where there is one.
        conflicts_open: see `View`.

    Attributes:
        commits: what commits are measured with.
    """

    def __init__(
        self,
        replica: "Replica",
        disk: Disk,
        resp: Callable[[], RespCounts] | None,
        conflicts_open: Callable[[], int | None],
    ) -> None:
        self.commits = CommitTimes()
        self._is_closing = False
        self._replica = replica
        self._disk = disk
        self._resp = resp
        self._conflicts_open = conflicts_open
        self._last: View | None = None
        self._asked_at = -ASKED_SECONDS
        self._turn = trio.Lock()

    @property
    def is_asked(self) -> bool:
        """Whether anybody has asked lately."""
        return trio.current_time() - self._asked_at < ASKED_SECONDS

    async def look(self) -> View:
        """Take a view.

        Raises:
            RuntimeError: the handle is closed.
        """
        async with self._turn:
            return await self._take()

    async def view(self) -> View:
        """The view that was taken last."""
        self.asked()
        if self._last is None:
            async with self._turn:
                return self._last or await self._take()
        return self._last

    async def _take(self) -> View:
        self._last = self._look(await self._disk.look())
        return self._last

    def close(self) -> None:
        """The daemon begins to end."""
        self._is_closing = True
        if self._last is not None:
            self._last = replace(self._last, is_closing=True)

    def asked(self) -> None:
        """Somebody wants to know."""
        self._asked_at = trio.current_time()

    def _look(self, disk: DiskState) -> View:
        replica, store = self._replica, self._replica._engine.store
        return View(
            at=trio.current_time(),
            at_ms=time.time_ns() // 1_000_000,
            status=replica.status(),
            members=replica.members(),
            known_gaps=store.known_gaps(),
            failed=store.level.failed,
            disk=disk,
            conflicts_open=self._conflicts_open(),
            commits=self.commits.counts(),
            resp=None if self._resp is None else self._resp(),
            is_closing=self._is_closing,
        )
