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


def flag(given: Mapping[bytes, bytes], name: bytes, default: bytes = b"0") -> bool:
    """Whether an option that is 0 or 1 is set."""
    return number(given.get(name, default)) > 0


def text(word: bytes) -> str:
    """What is text, whatever its bytes."""
    return word.decode(errors="backslashreplace")
