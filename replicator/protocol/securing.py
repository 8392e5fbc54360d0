"""Durable acknowledgements on demand (R7, R11).

Whoever waits for a write to lie on the disks of peers cannot wait for the accounts that gossip
passes on: `Secure` asks the peer to make some dots durable as soon as it knows them, and it answers
with `Durable` once a sync point has covered them. What it has not got yet it owes; nothing is said
twice. One sync point of a node serves all conversations that wait for one.
"""

from collections.abc import Callable

from replicator.config import SECURED_BOUNDS_MAX
from replicator.core.known import KnownSet
from replicator.errors import ProtocolError
from replicator.protocol.effects import Effect, MakeDurable, Secured, Send
from replicator.protocol.messages import Durable, Secure


class Securing:
    """One side's part in one conversation.

    Args:
        emit: takes the effects.
    """

    def __init__(self, emit: Callable[[Effect], None]) -> None:
        self._emit = emit
        self._wanted = KnownSet()
        self._awaited = KnownSet()
        self._asked = KnownSet()
        self._is_syncing = False

    @property
    def is_waiting(self) -> bool:
        """Whether one side owes an answer that the other one waits for."""
        return bool(self._wanted or self._awaited or self._asked)

    @property
    def is_asked(self) -> bool:
        """Whether the peer waits for something."""
        return bool(self._asked)

    # What this side waits for

    def want(self, dots: KnownSet) -> None:
        """Somebody here waits until the peer holds these durably; `ask` says so."""
        self._wanted.update(dots)

    def ask(self, announced: KnownSet) -> None:
        """Ask for what is wanted, each dot once.

        Args:
            announced: what the peer was told of: a dot that was never shown must not be named to it
                by this message (R13).
        """
        news = self._wanted.intersection(announced)
        if news:
            self._wanted = self._wanted.difference(news)
            news = news.difference(self._awaited)
        if news:
            self._awaited.update(news)
            self._emit(Send(Secure(news)))

    def answered(self, message: Durable) -> None:
        """The peer has made something durable."""
        secured = message.known.intersection(self._awaited)
        if secured:
            self._awaited = self._awaited.difference(secured)
            self._emit(Secured(secured))

    # What the peer waits for

    def asked(self, message: Secure) -> None:
        """The peer waits for these.

        Raises:
            ProtocolError: all in all it asks for more than anyone may.
        """
        self._asked.update(message.dots)
        count = sum(len(bounds) for _, bounds in self._asked.items())
        if count > SECURED_BOUNDS_MAX:
            raise ProtocolError(
                f"the peer waits for {count} bounds of dots to become durable, more than "
                f"{SECURED_BOUNDS_MAX}"
            )

    def advance(self, known: KnownSet) -> None:
        """Have a sync point made, if something that the peer waits for is known by now.

        Args:
            known: what this node knows.
        """
        if self._asked and not self._is_syncing:
            ready = self._asked.intersection(known)
            if ready:
                self._is_syncing = True
                self._emit(MakeDurable(ready))

    def made(self, durable: KnownSet) -> None:
        """The sync point is done.

        Args:
            durable: what has become durable of what was to.
        """
        self._is_syncing = False
        done = self._asked.intersection(durable)
        if done:
            self._asked = self._asked.difference(done)
            self._emit(Send(Durable(done)))
