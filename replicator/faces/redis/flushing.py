"""Deleting everything, as FLUSHALL and FLUSHDB do: a delete of each key, replicated as any other.

What is deleted is what the store showed when it began: a key that is written meanwhile, here or
by a peer, keeps its new value, as if it had been written behind the delete. Until the reply comes,
others see some keys deleted and some not yet: they go in commits of some keys each.
"""

from typing import Final

from replicator.core import rows
from replicator.faces.access import Role
from replicator.faces.redis.aside import Commits
from replicator.faces.redis.limits import RESP_WRITES_KEYS
from replicator.faces.redis.table import Command, Slices, Table, Work
from replicator.faces.redis.turn import Turn
from replicator.faces.redis.view import View
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import CommandError, Session

_DELETED: Final = bytes((rows.SINGLE, rows.DELETE))

_OPTIONS: Final = (b"SYNC", b"ASYNC")
"""Alike: other clients are served meanwhile in any case."""


def _flush(turn: Turn, session: Session, request: Request) -> "Reply | Work":
    if len(request) > 2 or (len(request) == 2 and request[1].upper() not in _OPTIONS):
        raise CommandError("ERR syntax error")
    return Work(_flushed(turn, session))


def _flushed(first: Turn, session: Session) -> Slices:
    view, commits = View(first.replica), Commits(first, session)
    try:
        found = view.rows()
        while batch := (yield from view.aside(view.read_rows, found, RESP_WRITES_KEYS)):
            with commits.turn() as turn:
                _delete_unchanged(turn, batch)
            yield from commits.step()
        yield from commits.end()
        yield b"+OK\r\n"
    finally:
        view.close()


def _delete_unchanged(turn: Turn, batch: list[tuple[bytes, bytes]]) -> None:
    """Delete those keys that show something and have the row that they had."""
    turn.hold()
    for key, row in batch:
        if (
            not row.startswith(_DELETED)
            and turn.row(key) == row
            and (row[0] == rows.SINGLE or turn.get(key) is not None)
        ):
            turn.delete(key)


def _flushing() -> Command:
    return Command(Role.ADMIN, 1, None, _flush, writes=True, alone=True)


FLUSHING: Final[Table] = {b"FLUSHALL": _flushing(), b"FLUSHDB": _flushing()}
