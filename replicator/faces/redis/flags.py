"""The letters by which keyspace notifications are chosen."""

from typing import Final

ALL: Final = "g$lshzxetd"
"""What ``A`` stands for, as in Redis 7. Of these ``lshzetd`` are about what there is not here."""

KEYSPACE: Final = "K"
KEYEVENT: Final = "E"
GENERIC: Final = "g"
STRING: Final = "$"
EXPIRED: Final = "x"


def parse_flags(text: str) -> str:
    """The letters of a word of letters, in Redis's own order, all classes as ``A``.

    Raises:
        ValueError: there is another letter in it.
    """
    letters = set(text)
    if not letters <= set(ALL + "AKE"):
        raise ValueError(f"unknown letters {''.join(sorted(letters - set(ALL + 'AKE')))!r}")
    if "A" in letters or set(ALL) <= letters:
        letters = letters - set(ALL) | {"A"}
    return "".join(letter for letter in "Ag$lshzxetdKE" if letter in letters)
