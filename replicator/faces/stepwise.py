"""What takes a client several requests: a backup, an export.

It is begun by one request and gone on with by ``REPL.MORE``; so it stops, and leaves nothing
behind, when its client goes away, and holds no thread in between.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from replicator.config import PAGE_BYTES, PAGE_ITEMS_MAX
from replicator.faces.lease import Closable
from replicator.faces.resp import Reply

Sized = tuple[Reply, int]
"""An item of a page, and how many octets it counts for."""


class CommandError(Exception):
    """A request that cannot be run as it stands. Its text is the reply's, code included."""


@dataclass(slots=True, eq=False)
class Session:
    """What one client has set for itself, and what it is in the middle of."""

    protocol: int = 2
    closing: bool = False
    _work: Iterator[Reply] | None = None
    _held: Closable | None = None

    def begin(self, work: Iterator[Reply], held: Closable) -> Reply:
        """Begin what takes several requests, instead of what was begun before, with one step.

        Args:
            held: closed when it is over or given up.
        """
        self.close()
        self._work, self._held = work, held
        return self.step()

    def step(self) -> Reply:
        """The next step."""
        work = iter(()) if self._work is None else self._work
        for reply in work:
            return reply
        self.close()
        raise CommandError("ERR nothing was begun that goes on")

    def close(self) -> None:
        """Give up what was begun. Where a step of it runs in another thread, that ends it."""
        held, self._work, self._held = self._held, None, None
        if held is not None:
            with suppress(ValueError):  # a generator that is running
                held.close()


def pages(items: Iterable[Sized]) -> Iterator[Reply]:
    """All items, page by page, and then an empty one."""
    page: list[Reply] = []
    size = 0
    for item, item_bytes in items:
        page.append(item)
        size += item_bytes
        if len(page) == PAGE_ITEMS_MAX or size >= PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page
    yield []


def absolute(path: bytes) -> str:
    """A path in a request.

    Raises:
        CommandError: it is a relative one.
    """
    text = os.fsdecode(path)
    if not Path(text).is_absolute():
        raise CommandError(f"ERR the path {text!r} is not absolute: the daemon runs elsewhere")
    return text
