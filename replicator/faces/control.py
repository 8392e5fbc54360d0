"""Runs one request after the other, for the command line on a directory that no daemon has open.

The daemon's server runs the same commands (`replicator.faces.redis.running`), so both answer alike.
"""

from replicator.faces.commands import COMMANDS
from replicator.faces.failures import failure, unknown, wrong_count
from replicator.faces.handle import Replica
from replicator.faces.redis.table import Awaited, Command, Work
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request, encode
from replicator.faces.stepwise import Session


def answer(replica: Replica, session: Session, request: Request) -> bytes:
    """Run one request, and wait for all that it takes; its encoded reply.

    Never raises: what goes wrong is the reply. Runs in any thread; calls for one session come one
    after the other.
    """
    reply = execute(replica, session, request)
    if isinstance(reply, Work):
        try:
            return b"".join(reply.slices)
        except Exception as error:
            reply = failure(error)
    return encode(reply, session.protocol)


def execute(replica: Replica, session: Session, request: Request) -> "Reply | Work":
    """The same, not encoded; what goes on in slices is not begun."""
    command = COMMANDS.get(request[0].upper())
    if command is None:
        return unknown(request)
    if len(request) < command.least or (command.most is not None and len(request) > command.most):
        return wrong_count(request)
    try:
        return _run(replica, session, command, request)
    except Exception as error:
        return failure(error)


def _run(replica: Replica, session: Session, command: Command, request: Request) -> "Reply | Work":
    if command.run is None:
        return _wait(replica, session, command, request)
    if command.writes:
        replica._engine.store.admit()
    turn = Turn(replica)
    try:
        reply = command.run(turn, session, request)
        turn.commit()
    finally:
        turn.abandon()
    assert not isinstance(reply, Awaited), "only a server's handle has a loop"
    return _wait(replica, session, reply, request) if isinstance(reply, Command) else reply


def _wait(replica: Replica, session: Session, command: Command, request: Request) -> Reply:
    assert command.wait is not None
    return command.wait(replica, session, request[1:])
