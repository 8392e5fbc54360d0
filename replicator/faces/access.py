"""Who may do what."""

from enum import IntEnum


class Role(IntEnum):
    """What a client may do; each may do what those before it may."""

    READONLY = 1
    APPLICATION = 2
    ADMIN = 3
