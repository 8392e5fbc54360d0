"""One call: to which daemon, and what is done where its answer is lost (`retries`)."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic

from replicator.errors import (
    AccessError,
    ClosedError,
    OutcomeUnknown,
    RefusedError,
    ReplicatorError,
    StaleError,
    UnreachableError,
)
from replicator.faces.client.choosing import OWN_TOKEN, Chooser
from replicator.faces.client.endpoints import Endpoint
from replicator.faces.client.limits import CLIENT_ANSWER_SECONDS, CLIENT_LOSSES_MAX
from replicator.faces.client.lines import LostError
from replicator.faces.client.places import L, Place
from replicator.faces.client.replies import CLOSING, error_of
from replicator.faces.client.retries import ABOUT_NODES, READS, RETRIES, Retry
from replicator.faces.client.world import World
from replicator.faces.resp import encode_request


@dataclass(frozen=True, slots=True)
class Call:
    """A command.

    Attributes:
        words: its name, in capitals, and its arguments.
        retry: what is done where the answer is lost.
        seconds: how long the daemon may wait for something before it answers; `inf` for as long
            as it takes.
    """

    words: tuple[bytes, ...]
    retry: Retry
    seconds: float = 0.0

    @property
    def name(self) -> bytes:
        """Of the command."""
        return self.words[0]

    @property
    def writes(self) -> bool:
        """Whether it may write."""
        return self.words[0] not in READS


def call_of(*words: bytes, seconds: float = 0.0) -> Call:
    """A command that is tried again as its name says."""
    return Call(words, RETRIES.get(words[0], Retry.NEVER), seconds)


class Caller(Generic[L]):
    """Calls daemons. As thread-safe as its world.

    Args:
        endpoints: in the order of preference.
        timeout: how many seconds a call looks for a daemon, or for a free connection.
        catch_up, stale: see `Chooser`.
        connections_max: how many connections there are at a time.

    Attributes:
        world: what it was given.
        chooser: which daemon it uses.
    """

    def __init__(
        self,
        world: World[L],
        endpoints: Sequence[Endpoint],
        *,
        timeout: float,
        catch_up: float,
        stale: bool,
        connections_max: int,
    ) -> None:
        self.world = world
        self.chooser = Chooser(world, endpoints, catch_up=catch_up, stale=stale)
        self._timeout = timeout
        self._connections_max = connections_max
        self._slots = world.slots(connections_max)
        # One that nobody refers to any more is closed, as the library's handles are.
        weakref.finalize(self, self.chooser.close)

    async def open(self) -> None:
        """Reach a daemon, the first that answers, without waiting for any.

        Raises:
            UnreachableError: none answers.
            AccessError: it does not let the client in.
        """
        await self.chooser.move(self.world.now(), of_nodes=True)

    async def call(self, call: Call) -> Any:
        """Run a command.

        Returns:
            Its reply.

        Raises:
            UnreachableError: no daemon answers: it has not happened.
            OutcomeUnknown: an answer was lost, and it may have happened.
            StaleError: no daemon has caught up.
            ClosedError: the client is closed.
            What the library raises for the same, `RefusedError` for what has no class.
        """
        if self.chooser.after_fork():
            self._slots = self.world.slots(self._connections_max)
        if self.chooser.is_closed:
            raise ClosedError("the client is closed")
        end = self.world.now() + self._timeout
        if not await self._slots.take(self._timeout):
            raise UnreachableError(
                f"all {self._connections_max} connections are in use: raise connections_max, or "
                "call from fewer threads or tasks"
            )
        try:
            return await self._call(call, end)
        finally:
            self._slots.give_back()

    async def _call(self, call: Call, end: float) -> Any:
        failed: list[Place[L]] = []
        lost: list[Place[L]] = []
        while True:
            try:
                place, line = await self.chooser.reach(end, of_nodes=call.name in ABOUT_NODES)
            except (UnreachableError, StaleError, AccessError, ClosedError) as error:
                if lost and call.writes:
                    raise _unknown(call, lost[-1], str(error)) from error
                raise
            if lost and call.retry is Retry.HERE and place is not lost[-1]:
                self.chooser.keep(place, line)
                raise _unknown(call, lost[-1], "that daemon is gone")
            try:
                reply = await self._exchange(call, place, line)
            except LostError as error:
                failed.append(place)
                if error.may_have_run:
                    lost.append(place)
                    if call.retry is Retry.NEVER:
                        raise _unknown(call, place, str(error)) from None
                if len(failed) >= CLIENT_LOSSES_MAX:
                    raise _given_up(call, place, lost, str(error)) from None
                # A new connection to the same one comes first: only there it is known what has
                # happened.
                if failed.count(place) > 1:
                    self.chooser.leave(place, str(error))
                else:
                    self.chooser.hang_up(place)
                continue
            if not isinstance(reply, RefusedError):
                return reply
            if reply.code != CLOSING:
                raise error_of(reply)
            if call.retry is Retry.NEVER:  # it may have been between a commit and its sync point
                raise _unknown(call, place, str(reply))
            self.chooser.leave(place, "it is ending")

    async def _exchange(self, call: Call, place: Place[L], line: L) -> object:
        """Run a command on a connection, which is then free, or closed."""
        is_carried = call.writes and self.chooser.carries
        data = encode_request(*call.words) + (OWN_TOKEN if is_carried else b"")
        timeout = None if call.seconds == inf else CLIENT_ANSWER_SECONDS + call.seconds
        try:
            reply, *token = await self.world.exchange(line, data, 1 + is_carried, timeout)
        except BaseException:
            line.close()
            raise
        self.chooser.keep(place, line, *token)
        return reply

    def close(self) -> None:
        """Hang up; calls in other threads or tasks end as they do. Idempotent."""
        self.chooser.close()


def _given_up(call: Call, place: Place[Any], lost: list[Place[Any]], why: str) -> ReplicatorError:
    if call.writes and lost:
        return _unknown(call, lost[-1], why)
    return UnreachableError(f"{place.endpoint}: {why}")


def _unknown(call: Call, place: Place[Any], why: str) -> OutcomeUnknown:
    command = call.name.decode(errors="backslashreplace")
    return OutcomeUnknown(
        f"the answer to {command} of {place.endpoint} was lost, and it may have happened: {why}",
        command=command,
        endpoint=str(place.endpoint),
    )
