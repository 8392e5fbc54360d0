"""What is tried again after the answer to a command was lost.

A lost answer leaves open whether the command has happened. `Retry.ANYWHERE` are the commands of
which two are the same as one: reads, and writes that set a state that does not depend on what was
there. `Retry.HERE` are tried again at the same daemon alone: they write anew what the key shows,
and another node may show something older. After all others `OutcomeUnknown` is raised.

A put that is tried again at another node may have happened at the first one. Then there are two
versions of the same value that do not know of each other: equal values count once (R6), so that is
no conflict, and nobody is asked to settle anything. Where somebody wrote the key at the first node
in between, the put is in conflict with that write, as any two writes at two nodes would be: one is
shown, none is lost. The same holds for deletes and for batches.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Retry(Enum):
    """Where a command is tried again."""

    ANYWHERE = "at any daemon"
    HERE = "at the same daemon"
    NEVER = "never"


READS: Final = frozenset(
    {
        b"EXISTS",
        b"GET",
        b"MGET",
        b"PING",
        b"PTTL",
        b"REPL.CHANGES",
        b"REPL.CONFLICTS",
        b"REPL.DIGEST",
        b"REPL.MEMBERS",
        b"REPL.SCAN",
        b"REPL.STATUS",
        b"REPL.SYNC",
        b"REPL.TOKEN",
        b"REPL.VERSIONS",
        b"REPL.WAITFOR",
    }
)
"""What writes nothing."""

RETRIES: Final[Mapping[bytes, Retry]] = {
    **dict.fromkeys(READS, Retry.ANYWHERE),
    b"SET": Retry.ANYWHERE,
    b"REPL.PUT": Retry.ANYWHERE,
    b"REPL.DELETE": Retry.ANYWHERE,
    b"REPL.BATCH": Retry.ANYWHERE,
    b"PEXPIRE": Retry.HERE,
    b"PERSIST": Retry.HERE,
    b"REPL.REEVALUATE": Retry.HERE,
}
"""All others, and writes under a condition (``IF``): never."""

ABOUT_NODES: Final = frozenset(
    {
        b"PING",
        b"REPL.FORGET",
        b"REPL.JOIN",
        b"REPL.MEMBERS",
        b"REPL.REEVALUATE",
        b"REPL.STATUS",
        b"REPL.SYNC",
        b"REPL.TOKEN",
        b"REPL.WAITFOR",
    }
)
"""What is not about data: no daemon has to have caught up for it."""
