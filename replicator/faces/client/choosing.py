"""Which daemon a client uses: the first of its list that answers and holds what was written.

It stays with one at a time. Where that fails it moves to the next; while it is away from home, the
first, it looks now and then whether home is back and has caught up. Before anything is asked of a
daemon that is new to the client, that one must hold all that was written elsewhere (`session`): the
client prefers one that does, and otherwise waits.
"""

import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Generic

from replicator.errors import (
    AccessError,
    ClosedError,
    RefusedError,
    ReplicatorError,
    StaleError,
    UnreachableError,
)
from replicator.faces.client.endpoints import Endpoint
from replicator.faces.client.limits import (
    CLIENT_ANSWER_SECONDS,
    CLIENT_DIAL_SECONDS,
    CLIENT_HOME_SECONDS,
)
from replicator.faces.client.lines import LostError
from replicator.faces.client.places import L, Place
from replicator.faces.client.replies import error_of
from replicator.faces.client.session import Written
from replicator.faces.client.world import World
from replicator.faces.resp import encode_request

logger = logging.getLogger("replicator")

OWN_TOKEN = encode_request(b"REPL.TOKEN", b"OWN")


class Chooser(Generic[L]):
    """Gives connections to the daemon of the moment. As thread-safe as its world.

    Args:
        endpoints: in the order of preference.
        catch_up: how many seconds a daemon that is new to the client may take to catch up.
        stale: whether to go on with one that has not.

    Attributes:
        current: the daemon of the moment.
        written: what the session has written.
        carries: whether that matters: there is more than one daemon.
        is_closed: whether `close` was called.
    """

    def __init__(
        self, world: World[L], endpoints: Sequence[Endpoint], *, catch_up: float, stale: bool
    ) -> None:
        self.current: Place[L] | None = None
        self.written = Written()
        self.carries = len(endpoints) > 1
        self.is_closed = False
        self._world = world
        self._places: list[Place[L]] = [Place(*numbered) for numbered in enumerate(endpoints)]
        self._catch_up = catch_up
        self._stale = stale
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._moving = self._world.slots(1)

    async def reach(self, end: float, *, of_nodes: bool) -> tuple[Place[L], L]:
        """A connection to the daemon of the moment, for one caller.

        Args:
            end: when to stop looking for one.
            of_nodes: whether any will do, caught up or not.

        Raises:
            UnreachableError: none answers.
            AccessError: one does not let the client in.
            StaleError: none has caught up.
            ClosedError: the client is closed.
        """
        if self.current is not None and self.current.number:
            await self._go_home(self.current)
        while True:
            place = self.current
            if place is None:
                await self.move(end, of_nodes=of_nodes)
                continue
            with self._lock:
                line = place.take_idle()
            try:
                if line is None:
                    line = await self._dial(place, CLIENT_DIAL_SECONDS)
                if not of_nodes:
                    await self._settle(place, line)
                return place, line
            except UnreachableError as error:
                if line is not None:
                    line.close()
                self.leave(place, _why(place, error))
            except BaseException:
                if line is not None:
                    line.close()
                raise

    def keep(self, place: Place[L], line: L, token: object = None) -> None:
        """Take back a connection that was of use.

        Args:
            token: of the daemon's own writes, behind one of this client.
        """
        with self._lock:
            if isinstance(token, bytes):
                is_settled = place.settled == self.written.mark
                mark = self.written.note(token)
                if is_settled:
                    place.settled = mark
            place.fine()
            if place is self.current and not self.is_closed:
                place.idle.append(line)
                return
        line.close()

    def hang_up(self, place: Place[L]) -> None:
        """Close what is free of a daemon: it may be another process by now."""
        with self._lock:
            place.hang_up()

    def leave(self, place: Place[L], problem: str) -> None:
        """Look for another daemon the next time. Of many callers that fail together one counts."""
        with self._lock:
            is_first = self.current is place
            if is_first:
                place.failed(self._world.now(), problem)
            self._forsake(place)
        if is_first and self.carries:
            logger.warning("the client leaves %s: %s", place.endpoint, problem)

    def _forsake(self, place: Place[L]) -> None:
        place.hang_up()
        if self.current is place:
            self.current = None

    async def move(self, end: float, *, of_nodes: bool) -> None:
        """Find a daemon. One caller looks, the others wait for it. Raises as `reach`.

        Those in a pause are waited for, and tried all the same when the time is over: what is
        raised was seen by this very call.
        """
        began = self._world.now()
        if not await self._moving.take(max(end - self._world.now(), CLIENT_DIAL_SECONDS)):
            raise self._none_answers()
        try:
            while self.current is None:
                if self.is_closed:
                    raise ClosedError("the client is closed")
                now = self._world.now()
                some = [place for place in self._places if place.due <= now]
                if now >= end:
                    some = [place for place in self._places if place.tried < began]
                if await self._try_all(some, of_nodes):
                    return
                if now >= end:
                    raise self._none_answers()
                due = min(min(place.due for place in self._places), end)
                await self._world.pause(max(due - self._world.now(), 0))
        finally:
            self._moving.give_back()

    async def _try_all(self, some: list[Place[L]], of_nodes: bool) -> bool:
        """Take the first daemon that answers and has caught up, else the first that answers."""
        behind: tuple[Place[L], L] | None = None
        try:
            for place in some:
                try:
                    line, has_all = await self._look_at(place, CLIENT_DIAL_SECONDS, of_nodes)
                except UnreachableError as error:
                    with self._lock:
                        place.failed(self._world.now(), _why(place, error))
                    continue
                if has_all:
                    self._take(place, line)
                    return True
                if behind is None:
                    behind = place, line
                else:
                    line.close()
            if behind is None:
                return False
            chosen, behind = behind, None
            self._take(*chosen)
            return True
        finally:
            if behind is not None:
                behind[1].close()

    def _take(self, place: Place[L], line: L) -> None:
        with self._lock:
            if self.current is not None:
                self.current.hang_up()
            self.current = place
            place.idle.append(line)

    async def _go_home(self, current: Place[L]) -> None:
        """Look whether a daemon that is liked better is back, and has caught up."""
        now = self._world.now()
        better = next((place for place in self._places if place.due <= now), current)
        if better.number >= current.number or not await self._moving.take(0):
            return
        try:
            line, has_all = await self._look_at(better, CLIENT_HOME_SECONDS)
            if has_all:
                self._take(better, line)
                return
            line.close()
            problem = "it has not caught up yet"
        except ReplicatorError as error:
            problem = _why(better, error)
        finally:
            self._moving.give_back()
        with self._lock:
            better.failed(self._world.now(), problem)

    async def _look_at(
        self, place: Place[L], timeout: float, of_nodes: bool = False
    ) -> tuple[L, bool]:
        """A connection, and whether the daemon has caught up. Raises as `_dial`."""
        line = await self._dial(place, timeout)
        try:
            return line, of_nodes or await self._has_caught_up(place, line, 0)
        except BaseException:
            line.close()
            raise

    async def _dial(self, place: Place[L], timeout: float) -> L:
        """Connect and greet.

        Raises:
            UnreachableError: that failed, or it is none of our daemons.
            AccessError: it does not let the client in.
        """
        line = await self._world.dial(place.endpoint, timeout)
        try:
            refused = await self._greet(place, line, place.endpoint.login, timeout)
            if refused is not None and "without any password" in str(refused):
                refused = await self._greet(place, line, (), timeout)  # it needs none
            if refused is not None:
                raise _refused(place.endpoint, refused)
        except BaseException:
            line.close()
            raise
        return line

    async def _greet(
        self, place: Place[L], line: L, login: tuple[bytes, ...], timeout: float
    ) -> RefusedError | None:
        """Greet, and see that it is one of ours; what it says against it."""
        hello = encode_request(b"HELLO", b"3", *login)
        replies = await self._ask(place, line, hello + OWN_TOKEN, 2, timeout)
        return next((reply for reply in replies if isinstance(reply, RefusedError)), None)

    async def _ask(
        self, place: Place[L], line: L, data: bytes, count: int, timeout: float
    ) -> list[object]:
        try:
            return await self._world.exchange(line, data, count, timeout)
        except LostError as error:
            raise UnreachableError(f"{place.endpoint}: {error}") from None

    async def _settle(self, place: Place[L], line: L) -> None:
        """See that a daemon holds what was written elsewhere."""
        mark = self.written.mark
        if place.settled >= mark or await self._has_caught_up(place, line, self._catch_up):
            return
        text = f"{place.endpoint} has not got, in {self._catch_up:g} s, all that this client has "
        if self._stale:
            logger.warning(text + "written elsewhere; the client goes on without")
            with self._lock:
                place.settled = max(place.settled, mark)
            return
        with self._lock:
            self._forsake(place)
        raise StaleError(
            text
            + "written elsewhere: call again later, or connect with stale=True to go on without"
        )

    async def _has_caught_up(self, place: Place[L], line: L, seconds: float) -> bool:
        token, mark = self.written.token()
        if token is not None and place.settled < mark:
            request = encode_request(b"REPL.WAITFOR", token.encode(), b"%d" % (seconds * 1000))
            (reply,) = await self._ask(place, line, request, 1, CLIENT_ANSWER_SECONDS + seconds)
            if isinstance(reply, RefusedError):
                raise UnreachableError(f"{place.endpoint}: {reply}")
            if not reply:
                return False
        with self._lock:
            place.settled = max(place.settled, mark)
        return True

    def _none_answers(self) -> UnreachableError:
        problems = "; ".join(f"{place.endpoint}: {place.problem}" for place in self._places)
        return UnreachableError(f"no daemon answers: {problems}")

    def close(self) -> None:
        """Hang up; what is in use is closed when it comes back. Idempotent."""
        with self._lock:
            self.is_closed = True
            for place in self._places:
                place.hang_up()

    def after_fork(self) -> bool:
        """In a forked child: use none of the parent's connections. Whether this is one."""
        if os.getpid() == self._process:
            return False
        self._begin()
        self.written.after_fork()
        self.current = None
        for place in self._places:
            with suppress(OSError):
                place.hang_up()
        return True


def _why(place: Place[Any], error: Exception) -> str:
    return str(error).removeprefix(f"{place.endpoint}: ")


def _refused(endpoint: Endpoint, reply: RefusedError) -> ReplicatorError:
    """The error of a daemon that refuses the greeting."""
    if isinstance(error_of(reply), AccessError):
        wanted = "wants a password" if reply.code == "NOAUTH" else "does not let this client in"
        return AccessError(
            f"{endpoint} {wanted} ({reply}): name user and password in the URL, to connect(), or "
            "in the environment"
        )
    if "unknown command" in str(reply).lower() or reply.code == "NOPROTO":
        return UnreachableError(f"{endpoint}: it is no replicator")
    return UnreachableError(f"{endpoint}: it refuses: {reply}")
