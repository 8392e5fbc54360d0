"""Commands about the connection itself, as Redis has them."""

from typing import Final

from replicator.faces.redis.table import OK, Command, Table
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, Status
from replicator.faces.stepwise import CommandError, Session
from replicator.release import software_version

PONG: Final = Status("PONG")


def _hello(_turn: Turn, session: Session, request: Request) -> Reply:
    if len(request) > 1:
        if request[1] not in (b"2", b"3"):
            raise CommandError("NOPROTO unsupported protocol version")
        session.protocol = int(request[1])
    return {
        "server": "replicator",
        "version": software_version(),
        "proto": session.protocol,
        "mode": "standalone",
        "role": "master",
        "modules": [],
    }


def _ping(_turn: Turn, _session: Session, request: Request) -> Reply:
    return request[1] if len(request) > 1 else PONG


def _echo(_turn: Turn, _session: Session, request: Request) -> Reply:
    return request[1]


def _quit(_turn: Turn, session: Session, _request: Request) -> Reply:
    session.closing = True
    return OK


CONNECTION: Final[Table] = {
    b"HELLO": Command(None, 1, 2, _hello, at_once=True),
    b"PING": Command(None, 1, 2, _ping),
    b"ECHO": Command(None, 2, 2, _echo),
    b"QUIT": Command(None, 1, 1, _quit, at_once=True),
}
