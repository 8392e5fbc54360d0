"""Addresses as files and programs write them: one a line, ``#`` begins a comment."""

from collections.abc import Iterable, Sequence

from replicator.errors import ConfigError
from replicator.net.address import Address, parse_address

EXCERPT_CHARACTERS_MAX = 60
"""What is shown of a stranger's text."""

FAULTS_SHOWN_MAX = 2


def excerpt(text: str, characters_max: int = EXCERPT_CHARACTERS_MAX) -> str:
    """The beginning of `text`, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= characters_max else f"{text[:characters_max]}…"


def parse_lines(text: str, where: str) -> tuple[list[Address], list[str]]:
    """The addresses in `text`, and what is wrong with the other lines.

    Args:
        where: what the lines are of, for the faults: a file's name.
    """
    lines = [line.partition("#")[0].strip() for line in text.removeprefix("\ufeff").split("\n")]
    return parse_each(
        (f"{where}:{number}", line) for number, line in enumerate(lines, start=1) if line
    )


def parse_each(items: Iterable[tuple[str, str]]) -> tuple[list[Address], list[str]]:
    """The addresses among `items`, and what is wrong with the others.

    Args:
        items: where each stands, and its text.
    """
    addresses: list[Address] = []
    faults: list[str] = []
    for where, text in items:
        try:
            addresses.append(parse_address(text))
        except ConfigError as error:
            faults.append(f"{where}: {error if excerpt(text) == text else _nonsense(text)}")
    return addresses, faults


def summary(faults: Sequence[str]) -> str | None:
    """The first faults in a few words, None where there are none."""
    if not faults:
        return None
    more = len(faults) - FAULTS_SHOWN_MAX
    rest = [f"{more} more like that"] if more > 0 else []
    return "; ".join([*faults[:FAULTS_SHOWN_MAX], *rest])


def _nonsense(text: str) -> str:
    return f"{excerpt(text)!r} is no address: write host:port, or [IPv6]:port, one a line"
