"""The words of a request: options, numbers, text."""

from collections.abc import Collection, Mapping

from replicator.config import PAGE_ITEMS_MAX
from replicator.faces.stepwise import CommandError


def options(arguments: list[bytes], known: Collection[bytes]) -> dict[bytes, bytes]:
    """``NAME value`` pairs in any order."""
    names = [name.upper() for name in arguments[::2]]
    if len(arguments) % 2 or not set(names) <= set(known) or len(set(names)) < len(names):
        raise CommandError("ERR syntax error")
    return dict(zip(names, arguments[1::2], strict=True))


def count(given: Mapping[bytes, bytes]) -> int:
    """How many items a page may have."""
    return max(1, min(number(given.get(b"COUNT", b"%d" % PAGE_ITEMS_MAX)), PAGE_ITEMS_MAX))


def number(text: bytes) -> int:
    """A whole number from 0 on."""
    if not text.isdigit() or len(text) > 15:
        raise CommandError("ERR value is not an integer or out of range")
    return int(text)


def text(word: bytes) -> str:
    """What is text, whatever its bytes."""
    return word.decode(errors="backslashreplace")


def successor(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with `prefix`; None where there is none."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None
