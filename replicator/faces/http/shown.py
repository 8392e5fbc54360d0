"""Keys and values as a page shows them: bounded, and nothing in them acts.

A page writes what it gets as text, so markup is harmless; but control characters, marks that turn
the direction of writing and the like would hide what is there, so they are escaped as the command
line does it.
"""

from replicator.faces.cli.output import escaped
from replicator.faces.http.limits import (
    SHOWN_BYTES_MAX,
)

Shown = dict[str, str | int | bool]
"""``text`` or ``hex``, of at most `SHOWN_BYTES_MAX` bytes; ``bytes``, how many there are; ``cut``,
whether some are left out."""

_CHARACTER_BYTES_MAX = 4


def shown(data: bytes) -> Shown:
    """Bytes for people: as text where they are UTF-8, else as hex digits."""
    head = data[:SHOWN_BYTES_MAX]
    is_cut = len(data) > len(head)
    text = _text(head, is_cut=is_cut)
    said = {"hex": head.hex()} if text is None else {"text": escaped(text)}
    return {**said, "bytes": len(data), "cut": is_cut}


def _text(head: bytes, *, is_cut: bool) -> str | None:
    """The text, where it is one; a character that the cut has halved is left out."""
    for lost in range(_CHARACTER_BYTES_MAX if is_cut else 1):
        try:
            return head[: len(head) - lost].decode()
        except UnicodeDecodeError:
            continue
    return None
