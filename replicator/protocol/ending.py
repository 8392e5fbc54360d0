"""How a conversation ends: it says so, lets go of everything, and closes once nothing is being
applied any more. What is being applied is waited for, so that a full-state round keeps its turn
(R9).

Two nodes may have forgotten each other, and each finds that out from the other's `Hello`. So a peer
that was forgotten is told so and heard out until it says `Bye` or is gone: else each would close
before it reads that it has to take a new origin itself (R10)."""

from collections.abc import Callable
from typing import cast

from replicator.errors import ForkError, PeerForgottenError
from replicator.protocol.comparison import ApplyRanges
from replicator.protocol.effects import (
    Applied,
    Apply,
    ApplyFull,
    Close,
    CloseCode,
    Effect,
    Event,
    Finish,
    Fork,
    PokeOthers,
    Send,
    StoreFailed,
)
from replicator.protocol.farewell import bye, code_of
from replicator.protocol.messages import Bye
from replicator.protocol.pulling import PullHalf
from replicator.protocol.serving import ServeHalf
from replicator.protocol.states import Machine


class Ending:
    """The end of one conversation.

    Args:
        link, pull, serve: its parts.
        left: called when nothing of it is under way any more.
        emit: takes the effects.
    """

    def __init__(
        self,
        link: Machine,
        pull: PullHalf,
        serve: ServeHalf,
        left: Callable[[], None],
        emit: Callable[[Effect], None],
    ) -> None:
        self._link = link
        self._pull = pull
        self._serve = serve
        self._left = left
        self._emit = emit
        self._last: list[Effect] = []
        self._parting: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether the end has begun."""
        return self._link.state in ("ending", "closed")

    def on_bye(self, message: Bye, *, is_answer: bool) -> None:
        """The peer leaves."""
        self.end(
            cast(CloseCode, message.code),
            message.reason,
            tell=message.code == "idle" and not is_answer,
            by_peer=not is_answer,
            fork=Fork(was_forgotten=True) if message.code == "forgotten" else None,
        )

    def fail(self, error: Exception) -> None:
        """The peer, or the store, did what ends the conversation."""
        if isinstance(error, PeerForgottenError) and self._link.state == "comparing":
            self._link.step("part")
            self._parting = str(error)
            self._emit(Send(bye("forgotten", self._parting)))
            return
        self.end(code_of(error), str(error), fork=Fork() if isinstance(error, ForkError) else None)

    def end(
        self,
        code: CloseCode,
        reason: str,
        *,
        tell: bool = True,
        by_peer: bool = False,
        fork: Fork | None = None,
    ) -> None:
        """Say so, let go of everything, and close once nothing is being applied any more."""
        if self._parting is not None and fork is None:
            code, reason, tell, by_peer = "forgotten", self._parting, False, False
        if tell:
            self._emit(Send(bye(code, reason)))
        self._serve.abandon()
        self._pull.abandon()
        if self._link.state != "ending":
            self._link.step("end")
        self._last = [PokeOthers(), *([fork] if fork else []), Close(code, reason, by_peer)]
        self._close()

    def settle(self, event: Event) -> None:
        """An event after the end: the last piece is committed, or has failed."""
        self.settled(event.effect if isinstance(event, StoreFailed) else event)
        if self._link.state == "ending":
            self._close()

    def settled(self, what: Event | Effect) -> None:
        """Something is under way no more."""
        if isinstance(what, Applied | Apply | Finish | ApplyFull | ApplyRanges):
            self._pull.settled()

    def _close(self) -> None:
        if not self._pull.in_flight:
            self._left()
            for effect in self._last:
                self._emit(effect)
            self._link.step("close")
