"""One side of a conversation, played against a script: what comes in, what goes out."""

from dataclasses import replace
from typing import TypeVar

from replicator.config import Settings
from replicator.core.known import KnownSet
from replicator.protocol.conversation import Conversation
from replicator.protocol.effects import Close, Effect, Event, PokeOthers, Report, Send
from replicator.protocol.messages import Hello, Known, Message
from replicator.protocol.pulls import Pulls
from tests.protocol.samples import ME, SETTINGS, Node, hello

Said = TypeVar("Said", bound=Message)

NOTHING = KnownSet()
MET = Report("met", "peer")


class Talk:
    """A conversation under test.

    Args:
        mine: what this node knows, all of it shown.
        conversation_id: tells the conversations of one `pulls` apart.

    Attributes:
        node: the store, for tests to change.
        now: the clock, for tests to move.
    """

    def __init__(
        self,
        mine: KnownSet = NOTHING,
        *,
        node: Node | None = None,
        pulls: Pulls | None = None,
        settings: Settings = SETTINGS,
        dialled: bool = True,
        explicit: bool = False,
        conversation_id: int = 1,
    ) -> None:
        self.node = node or Node(ME, mine.copy())
        self.now = 0.0
        self.pulls = pulls or Pulls(settings.reask_timeout)
        self.conversation = Conversation(
            conversation_id,
            self.node.me(),
            self.pulls,
            settings,
            address="peer:1" if dialled else "",
            explicit=explicit,
            now=0.0,
        )

    def starts(self) -> list[Effect]:
        return self.conversation.start(self.now)

    def hears(self, message: Message) -> list[Effect]:
        return self.conversation.receive(message, self.now)

    def told(self, event: Event) -> list[Effect]:
        return self.conversation.handle(event, self.now)

    def waits(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.conversation.tick(self.now)

    def at_deadline(self) -> list[Effect]:
        self.now = self.conversation.deadline
        return self.conversation.tick(self.now)

    def greeted(self, theirs: KnownSet = NOTHING, **changes: object) -> list[Effect]:
        """Both greet; what the link's opening brings about is returned."""
        (mine,) = said(self.starts(), Hello)
        peers = replace(hello(theirs), **changes)  # type: ignore[arg-type]
        self.hears(peers)
        differing = {
            block
            for block, pair in enumerate(zip(mine.block_hashes, peers.block_hashes, strict=True))
            if pair[0] != pair[1]
        }
        return self.hears(Known(theirs.blocks(differing)))

    @property
    def link(self) -> str:
        return self.conversation.states[0]


def said(effects: list[Effect], kind: type[Said]) -> list[Said]:
    """The messages of one kind among the effects."""
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, kind)
    ]


def end(code: str, reason: str = "", by_peer: bool = False) -> list[Effect]:
    """How every conversation ends, after its `Bye`."""
    return [PokeOthers(), Close(code, reason, by_peer)]  # type: ignore[arg-type]


def closing(effects: list[Effect]) -> Close:
    """The `Close` at the end of the effects."""
    assert isinstance(effects[-1], Close)
    return effects[-1]
