"""How far a command is that takes long: a bar on standard error, where a person looks at it.

In a log, in a pipe, or beside JSON there is nothing. What ends soon shows nothing either: rich
takes longer to import than most commands run.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from replicator.faces.cli.bar import Shown

PATIENCE_SECONDS = 0.3
"""How long nothing is shown."""


class Bar:
    """Shows how far something is. Thread-safe as far as it is called by one thread at a time.

    Args:
        title: what is done, "loading".
        total: what is done at the end; None where nobody knows.
        is_wanted: whether somebody may see it; that standard error is a terminal is looked at here.
    """

    def __init__(self, title: str, total: int | None = None, *, is_wanted: bool = True) -> None:
        self._title = title
        self._total = total
        self._due = time.monotonic() + PATIENCE_SECONDS
        self._shown: Shown | None = None
        self.is_seen = is_wanted and sys.stderr.isatty()

    def __call__(self, done: int, text: str = "") -> None:
        """Tell how much is done, and a text behind the bar."""
        if not self.is_seen:
            return
        if self._shown is None:
            if time.monotonic() < self._due:
                return
            # Here, not at the top: only a terminal needs it, and it takes long to import.
            from replicator.faces.cli.bar import Shown

            self._shown = Shown(self._title, self._total)
        self._shown.update(done, text)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Have the line free while something else is written to the same terminal."""
        if self._shown is None or not sys.stdout.isatty():
            yield
            return
        self._shown.stop()
        try:
            yield
        finally:
            self._shown.start()

    def close(self) -> None:
        """Take it away. Idempotent."""
        self.is_seen = False
        if self._shown is not None:
            self._shown.stop()
            self._shown = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
