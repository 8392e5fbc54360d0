"""Wall clocks of stores, set by hand: what expiries are compared with (R17)."""

from pathlib import Path

import pytest

from replicator.store.state import State
from replicator.store.store import Store

START_MS = 1_800_000_000_000


class Clocks:
    """Each store's clock stands still at `START_MS` until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now: dict[Path, int] = {}
        monkeypatch.setattr(
            State, "wall_ms", lambda state: self._now.get(state.level.path, START_MS)
        )

    def set(self, ms: int, *stores: Store) -> None:
        """Set clocks, in milliseconds from `START_MS`, and let the stores look."""
        for store in stores:
            self._now[store.level.path] = START_MS + ms
            sweep(store)


def sweep(store: Store) -> None:
    """What a running node does whenever there may be something to do."""
    while store.due.is_now(store.wall_ms()):
        store.sweep()
