"""What a command of the server is, and the replies that only a server gives."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from replicator.faces.access import Role
from replicator.faces.handle import Replica
from replicator.faces.resp import Reply, Request, Status
from replicator.faces.stepwise import Session

if TYPE_CHECKING:
    from replicator.faces.redis.turn import Turn

OK: Final = Status("OK")

Slices = Generator[bytes]
"""A command that takes long: it yields pieces of its encoded reply, an empty one where it has only
worked for a while. It is stepped in the loop, a millisecond or so at a time; each step must be
short. It is closed where its client leaves; what it raises before its first piece is the reply."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a command returns that goes on in slices, once the turn is committed."""

    slices: Slices


@dataclass(frozen=True, slots=True)
class Awaited:
    """What a command returns whose reply comes later, without a thread: it is awaited in the loop
    once the turn is committed, and cancelled where its client leaves."""

    reply: Callable[[], Awaitable[Reply]]


Run = Callable[["Turn", Session, Request], "Reply | Work | Awaited | Command"]
"""Runs a command in the turn, given the whole request. What it raises is the reply. Where the
request turns out to be one that may block, it gives the command that waits instead."""

Wait = Callable[[Replica, Session, list[bytes]], Reply]
"""Runs a command that may block, for the disk or for peers, in a worker thread, given the arguments
behind the name."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a table. Either `run` or `wait` is given.

    Attributes:
        needs: what a client must be to run it; None is anybody, also without a password.
        least, most: how many words a request has, the name included; None is any number.
        writes: whether it writes: then it waits for the write gate.
        first, last, step: which words are keys, as ``COMMAND INFO`` has it; 0, 0, 0 for none.
        at_once: whether it is run at once where the client gathers a transaction.
        alone: whether a transaction may not contain it. None that waits may be in one.
    """

    needs: Role | None
    least: int
    most: int | None = None
    run: Run | None = None
    wait: Wait | None = None
    writes: bool = False
    first: int = 0
    last: int = 0
    step: int = 0
    at_once: bool = False
    alone: bool = False


Table = Mapping[bytes, Command]


def reading(
    run: Run, least: int, most: int | None = None, *, first: int = 1, last: int = 1, step: int = 1
) -> Command:
    """A command that reads keys."""
    return Command(Role.READONLY, least, most, run, first=first, last=last, step=step)


def walking(run: Run, least: int, most: int | None = None) -> Command:
    """A command that goes through all keys, in slices."""
    return Command(Role.READONLY, least, most, run, alone=True)


def writing(
    run: Run, least: int, most: int | None = None, *, first: int = 1, last: int = 1, step: int = 1
) -> Command:
    """A command that may write keys."""
    return Command(
        Role.APPLICATION, least, most, run, writes=True, first=first, last=last, step=step
    )


def waiting(
    wait: Wait, least: int, most: int | None = None, *, needs: Role = Role.READONLY
) -> Command:
    """A command that may wait for the disk or for peers."""
    return Command(needs, least, most, wait=wait)
