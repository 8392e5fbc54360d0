"""The words of a request: options, numbers, text."""

from collections.abc import Collection, Mapping

from replicator.config import PAGE_ITEMS_MAX


class CommandError(Exception):
    """A request that cannot be run as it stands. Its text is the reply's, code included."""


def options(arguments: list[bytes], known: Collection[bytes]) -> dict[bytes, bytes]:
    """``NAME value`` pairs in any order."""
    names = [name.upper() for name in arguments[::2]]
    if len(arguments) % 2 or not set(names) <= set(known) or len(set(names)) < len(names):
        raise CommandError("ERR syntax error")
    return dict(zip(names, arguments[1::2], strict=True))


def count(given: Mapping[bytes, bytes]) -> int:
    return max(1, min(number(given.get(b"COUNT", b"%d" % PAGE_ITEMS_MAX)), PAGE_ITEMS_MAX))


def number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 15:
        raise CommandError("ERR value is not an integer or out of range")
    return int(text)


def text(word: bytes) -> str:
    return word.decode(errors="backslashreplace")
