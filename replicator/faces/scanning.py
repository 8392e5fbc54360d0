"""``REPL.SCAN``, and what every paged command shares: bounds of keys, bounded pages."""

from collections.abc import Callable, Iterable
from itertools import chain, takewhile
from typing import Any, TypeVar

from replicator.config import PAGE_BYTES
from replicator.faces.handle import Replica
from replicator.faces.resp import Reply
from replicator.faces.stepwise import Session
from replicator.faces.words import count, flag, options

Item = TypeVar("Item")


def scan(replica: Replica, _session: Session, arguments: list[bytes]) -> Reply:
    """A page of keys in order, forwards or in reverse, with or without their values."""
    given = options(
        arguments, (b"PREFIX", b"START", b"STOP", b"AFTER", b"COUNT", b"REVERSE", b"VALUES")
    )
    prefix, after = given.get(b"PREFIX", b""), given.get(b"AFTER")
    is_reverse, has_values = flag(given, b"REVERSE"), flag(given, b"VALUES", b"1")
    start = max(prefix, given.get(b"START", b""))
    ends = [given.get(b"STOP"), successor(prefix)]
    bounds: dict[str, Any] = {"start": start}
    if is_reverse:
        # plyvel finds nothing in reverse between an inclusive start and a stop that have one key
        # between them; so the start is looked at here.
        bounds = {}
        ends.append(after)
    elif after is not None and after >= start:
        bounds = {"start": after, "include_start": False}
    bounds["stop"] = min((end for end in ends if end is not None), default=None)
    items = replica.iterator(reverse=is_reverse, include_value=has_values, **bounds)
    shown = takewhile(lambda item: (item[0] if has_values else item) >= start, items)
    try:
        page, more = bounded(shown, count(given), _size_of if has_values else len)
    finally:
        items.close()
    keys = [item[0] for item in page] if has_values else page
    return [keys[-1] if more else None, list(chain.from_iterable(page)) if has_values else page]


def successor(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with `prefix`; None where there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None


def bounded(
    items: Iterable[Item], count: int, size_of: Callable[[Item], int]
) -> tuple[list[Item], bool]:
    """The first items, within the bounds of a page, and whether there are more."""
    page: list[Item] = []
    size = 0
    for item in items:
        if len(page) == count or size >= PAGE_BYTES:
            return page, True
        page.append(item)
        size += size_of(item)
    return page, False


def _size_of(item: tuple[bytes, bytes]) -> int:
    return len(item[0]) + len(item[1])
