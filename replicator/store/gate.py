"""The write gate: the first own write after start waits for an attempt to replicate (R13)."""

import threading
from typing import Literal

GateOutcome = Literal["waiting", "caught up", "nobody there", "timed out"]


class Gate:
    """Shut at start, open once and for good. Thread-safe.

    A store whose node looks for peers shuts it with `guard`; one without a node leaves it open.

    Attributes:
        outcome: how the attempt ended.
    """

    def __init__(self, join_timeout: float) -> None:
        self.outcome: GateOutcome = "nobody there"
        self._join_timeout = join_timeout
        self._open = threading.Event()
        self._open.set()

    def guard(self) -> None:
        """Shut the gate: a node begins to look for peers. Before the first own write."""
        self.outcome = "waiting"
        self._open.clear()

    def open(self, outcome: GateOutcome) -> None:
        """Open the gate; only the first outcome counts."""
        if self.outcome == "waiting":
            self.outcome = outcome
        self._open.set()

    def wait(self) -> None:
        """Return when the gate is open, after `join_timeout` seconds at most."""
        if not self._open.is_set() and not self._open.wait(self._join_timeout):
            self.open("timed out")

    def shut(self) -> None:
        """Let everybody who waits go on, to be told that the store is closed."""
        self._open.set()
