"""The beat of a page: once a second the node is looked at, and what is new goes to all pages."""

import logging
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import trio

from replicator.errors import ReplicatorError
from replicator.faces.http.broadcast import Broadcast, message
from replicator.faces.http.guard import Judge
from replicator.faces.http.happenings import Happening, Happenings
from replicator.faces.http.history import History, Totals
from replicator.faces.http.limits import (
    SAMPLE_SECONDS,
)
from replicator.faces.http.openconflicts import OpenConflicts, Told
from replicator.faces.http.telling import (
    tell_conflicts,
    tell_happenings,
    tell_state,
    worst_lag,
)
from replicator.faces.http.watch import View, Watch

logger = logging.getLogger("replicator")


class Pulse:
    """Keeps the history and the pages of one node. For its trio loop.

    Args:
        access: gives who has the token, as that is now.

    Attributes:
        broadcast: the pages.
        happenings: recent events.
        history: the last minutes.
    """

    def __init__(
        self,
        watch: Watch,
        happenings: Happenings,
        conflicts: OpenConflicts,
        access: Callable[[], Judge],
    ) -> None:
        self.broadcast = Broadcast()
        self.happenings = happenings
        self.history = History()
        self._watch = watch
        self._conflicts = conflicts
        self._access = access
        self._judge = access()
        self._last_told: tuple[list[Told], int | None] = [], None

    async def beat(self) -> None:
        """Look at the node, and tell; never ends."""
        next_at = trio.current_time()
        while True:
            try:
                await self._beat()
            except ReplicatorError as error:
                logger.warning("the page is not up to date: %s", error)
            # No faster where one took long.
            next_at = max(next_at + SAMPLE_SECONDS, trio.current_time())
            await trio.sleep_until(next_at)

    async def _beat(self) -> None:
        if self._judge is not (judge := self._access()):
            self._judge = judge
            self.broadcast.let_go()
        view = await self._watch.look()
        point = self.history.add(_totals(view), view.at_ms, *worst_lag(view))
        happened = self.happenings.take()
        self._conflicts.add(self._new_conflicts())
        if len(self.broadcast):
            self._watch.asked()
            state = self._state(view) | {"point": astuple(point)}
            self.broadcast.send(message("tick", state))
            self._tell_happened(happened)
            await self._tell_conflicts()

    def _state(self, view: View) -> dict[str, Any]:
        return tell_state(view, has_token=self._access().has_token)

    def _new_conflicts(self) -> list[bytes]:
        waiting = self.happenings.conflicting
        return [waiting.popleft() for _ in range(len(waiting))]

    def _tell_happened(self, happened: list[Happening]) -> None:
        for sees_data in (False, True):
            if happened:
                told = message("happenings", tell_happenings(happened, sees_data))
                self.broadcast.send(told, to_data=sees_data)

    async def _tell_conflicts(self) -> None:
        """Tell those who may see data of the conflicts, others how many, where that is news."""
        listed = await self._conflicts.told() if self.broadcast.sees_data else []
        now = listed, self._conflicts.count
        if now == self._last_told:
            return
        self._last_told = now
        for sees_data in (False, True):
            told = tell_conflicts(*now, sees_data)
            self.broadcast.send(message("conflicts", told), to_data=sees_data)

    async def tell_conflicts(self, sees_data: bool) -> dict[str, object]:
        """How many conflicts are open and, for those who may see data, the first of them."""
        listed = await self._conflicts.told() if sees_data else []
        return tell_conflicts(listed, self._conflicts.count, sees_data)

    async def whole(self, sees_data: bool) -> bytes:
        """All that a page needs to begin with, as of the moment at which this returns."""
        await self._watch.view()
        conflicts = await self.tell_conflicts(sees_data)
        view = await self._watch.view()
        state = self._state(view) | {
            "history": self.history.told(),
            "happenings": tell_happenings(self.happenings.all(), sees_data),
            "conflicts": conflicts,
        }
        return message("state", state)


def _totals(view: View) -> Totals:
    counters, traffic = view.status.counters, view.status.traffic
    return Totals(
        at=view.at,
        writes=counters.writes,
        reads=0 if view.resp is None else view.resp.reads,
        records_in=traffic.records_in,
        records_out=traffic.records_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
    )
