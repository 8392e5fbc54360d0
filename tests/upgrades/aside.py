"""The conversation of the version before, in this process: its own code, beside ours.

The package is imported a second time from the wheel, under the same names but in modules that
nobody else sees. `EarlierConversation` has the shape of `replicator.protocol.conversation`'s and is
driven by anyone who drives that: messages pass as bytes through both codecs, as between processes;
effects and events are those of the same name on the other side.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import ModuleType
from typing import Any

from replicator.config import Settings
from replicator.core.known import KnownSet
from replicator.protocol import codec
from replicator.protocol.counters import Counters
from replicator.protocol.effects import Effect, Event, Send
from replicator.protocol.me import Me
from replicator.protocol.messages import Hello, Message
from tests.upgrades.earlier import WHEEL

NAMES = (
    "config",
    "core.chunk",
    "core.known",
    "core.members",
    "errors",
    "protocol.codec",
    "protocol.conversation",
    "protocol.counters",
    "protocol.effects",
    "protocol.me",
    "protocol.messages",
    "protocol.pulls",
    "store.store",
)


class Package:
    """The package of the version before, imported aside."""

    def __init__(self) -> None:
        ours = _taken_out()
        sys.path.insert(0, str(WHEEL))
        try:
            self.modules = {name: importlib.import_module(f"replicator.{name}") for name in NAMES}
        finally:
            sys.path.remove(str(WHEEL))
            _taken_out()
            sys.modules.update(ours)

    def __getitem__(self, name: str) -> Any:
        return self.modules[name]

    def twin(self, kind: type) -> Any:
        """Its class of the same place and name; None where there is none."""
        module = self.modules.get(kind.__module__.removeprefix("replicator."))
        return getattr(module, kind.__qualname__, None)

    def make_pulls(self, reask_timeout: float) -> Any:
        """What the conversations of one node share."""
        return self["protocol.pulls"].Pulls(reask_timeout)


def _taken_out() -> dict[str, ModuleType]:
    """Take all modules of the package out of the table of what is imported."""
    names = [name for name in sys.modules if name.partition(".")[0] == "replicator"]
    return {name: sys.modules.pop(name) for name in names}


@cache
def package() -> Package:
    """The package, once."""
    return Package()


def _ours(kind: type) -> Any:
    return getattr(sys.modules[kind.__module__], kind.__qualname__)


def _theirs(kind: type) -> Any:
    return package().twin(kind)


def _translated(value: Any, twin: Callable[[type], Any]) -> Any:
    """A value with everything of the package in it as that of the other side."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == "replicator":
        other = twin(kind)
        if kind.__name__ == "KnownSet":
            return other({origin: list(bounds) for origin, bounds in value.items()})
        if isinstance(value, Exception):
            return other(*value.args)
        assert is_dataclass(value), value
        said = {field.name for field in fields(value)}
        names = [field.name for field in fields(other) if field.name in said]
        return other(**{name: _translated(getattr(value, name), twin) for name in names})
    if isinstance(value, Mapping):
        return {key: _translated(item, twin) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return kind(_translated(item, twin) for item in value)
    return value


def translated_to_ours(value: object) -> Any:
    """A value of the version before as one of this version; what it has no word for is as it is
    where nobody says anything."""
    return _translated(value, _ours)


def translated_to_theirs(value: object) -> Any:
    """A value of this version as one of the version before."""
    return _translated(value, _theirs)


def to_earlier(message: Message) -> Any:
    """A message as the version before reads it.

    Raises:
        Exception: its `ProtocolError`.
    """
    return package()["protocol.codec"].decode(codec.encode(message))


def from_earlier(message: Any) -> Message:
    """A message of the version before, as we read it."""
    return codec.decode(package()["protocol.codec"].encode(message))


class EarlierConversation:
    """A conversation as the version before holds it; see `Conversation`.

    Args:
        pulls: from `Package.make_pulls`.
    """

    def __init__(
        self,
        conversation_id: int,
        me: Me,
        pulls: Any,
        settings: Settings,
        *,
        address: str,
        explicit: bool,
        now: float,
    ) -> None:
        earlier = package()
        kind = earlier["protocol.me"].Me
        told = {field.name: getattr(me, field.name) for field in fields(kind)}
        told["known"] = lambda: _translated(me.known(), _theirs)
        self._conversation = earlier["protocol.conversation"].Conversation(
            conversation_id,
            kind(**told),
            pulls,
            settings,
            address=address,
            explicit=explicit,
            now=now,
        )

    version = 1

    @property
    def peer(self) -> Hello | None:
        peer = self._conversation.peer
        return None if peer is None else _translated(peer, _ours)

    @property
    def counters(self) -> Counters:
        counters: Counters = _translated(self._conversation.counters, _ours)
        return counters

    @property
    def peer_known(self) -> KnownSet:
        known: KnownSet = _translated(self._conversation.peer_known, _ours)
        return known

    @property
    def states(self) -> tuple[str, str, str]:
        states: tuple[str, str, str] = self._conversation.states
        return states

    @property
    def is_open(self) -> bool:
        return bool(self._conversation.is_open)

    @property
    def wants_input(self) -> bool:
        return bool(self._conversation.wants_input)

    @property
    def deadline(self) -> float:
        return float(self._conversation.deadline)

    def start(self, now: float) -> list[Effect]:
        return _effects(self._conversation.start(now))

    def receive(self, message: Message, now: float) -> list[Effect]:
        return _effects(self._conversation.receive(to_earlier(message), now))

    def handle(self, event: Event, now: float) -> list[Effect]:
        if _theirs(type(event)) is None:
            return []  # its driver knows of no such thing
        return _effects(self._conversation.handle(_translated(event, _theirs), now))

    def tick(self, now: float) -> list[Effect]:
        return _effects(self._conversation.tick(now))


def _effects(effects: list[Any]) -> list[Effect]:
    return [
        Send(from_earlier(effect.message))
        if type(effect).__name__ == "Send"
        else _translated(effect, _ours)
        for effect in effects
    ]
