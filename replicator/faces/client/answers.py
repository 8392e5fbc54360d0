"""Objects out of replies, with the shapes that the library's handle gives."""

from dataclasses import dataclass
from typing import Any
from zlib import crc32

from replicator.core.dots import Dot, parse_dot
from replicator.core.record import Version


class Facts(dict[str, Any]):
    """What a daemon tells of itself: a mapping whose keys are attributes as well.

    The names are those of `replicator.status`. One that is not there is of another version of the
    daemon.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the daemon does not tell {name!r}") from None


@dataclass(frozen=True, slots=True)
class Change:
    """One item of a feed, as `replicator.Change`.

    Attributes:
        kind: "change", "reset", "key" or "complete".
        key, value: the key and what it shows now, None for nothing.
        dot: which write a "change" is about.
        is_local: whether it was written at the daemon's node.
        token: where to go on once this item is dealt with.
        expiry_ms: when the value expires, wall clock in milliseconds since the epoch; None for
            never. Nothing is told then.
    """

    kind: str
    key: bytes
    value: bytes | None
    dot: Dot | None
    is_local: bool
    token: str
    expiry_ms: int | None = None

    @property
    def is_delete(self) -> bool:
        """Whether it is a change after which the key shows nothing."""
        return self.kind == "change" and self.value is None


def facts_of(reply: object) -> Any:
    """Text and facts out of a reply of bytes and maps."""
    if isinstance(reply, bytes):
        return text_of(reply)
    if isinstance(reply, dict):
        return Facts({text_of(name): facts_of(value) for name, value in reply.items()})
    if isinstance(reply, list):
        return tuple(facts_of(item) for item in reply)
    return reply


def text_of(reply: bytes) -> str:
    """Text of a stranger, perhaps."""
    return reply.decode(errors="backslashreplace")


def versions_of(key: bytes, reply: list[dict[bytes, Any]]) -> list[Version]:
    """The live versions of a key, winner first."""
    return [_version(key, told) for told in reply]


def without_expired(key: bytes, reply: list[dict[bytes, Any]]) -> list[Version]:
    """The same, where a version that has expired is a delete."""
    return [
        _version(
            key, told | {b"operation": b"delete", b"value": None} if told[b"expired"] else told
        )
        for told in reply
    ]


def change_of(item: list[Any]) -> Change:
    """One item of a feed."""
    kind, key, value, dot, is_local, token, *more = item
    expiry_ms = more[0] if more else None  # a daemon of version 0.2.0 says less
    return Change(
        text_of(kind),
        key,
        value,
        None if dot is None else parse_dot(text_of(dot)),
        bool(is_local),
        text_of(token),
        expiry_ms,
    )


def _version(key: bytes, told: dict[bytes, Any]) -> Version:
    value = told[b"value"]
    return Version(
        key,
        parse_dot(text_of(told[b"dot"])),
        told[b"clock"],
        told[b"timestamp"],
        told[b"operation"] == b"delete",
        value,
        told[b"expiry_ms"],
        0 if value is None else crc32(value),
    )
