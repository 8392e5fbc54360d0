"""What can be wrong with a store's rows, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from replicator.core.dots import Dot


class Kind(StrEnum):
    """The kinds of faults. `ABOUT` and `MENDED` say what each is, and what a repair does."""

    UNREADABLE = "unreadable-block"
    FOREIGN = "foreign-row"
    META = "meta-row"
    REGISTRY = "registry"
    ORIGIN = "origin-row"
    KNOWN = "known-row"
    FLOOR = "floor-row"
    CLOSED = "closed-row"
    MEMBER = "member-row"
    DURABLE = "durable-not-known"
    INDEX = "index-row"
    INDEX_FORM = "index-form"
    OWN_SEQ = "own-seq"
    DOT_TWICE = "dot-twice"
    NOT_KNOWN = "not-known"
    LOG_ROW = "log-row"
    LOG_MISSING = "log-missing"
    LOG_STALE = "log-stale"
    LOG_LOST = "log-without-record"
    CHANGED = "value-changed"
    REMOVED = "value-removed"
    ADDED = "value-added"
    ASIDE_LOST = "aside-lost"
    ASIDE_STALE = "aside-stale"
    EXPIRY = "expiry-row"
    EXPIRY_MISSING = "expiry-missing"


ABOUT: Final[Mapping[Kind, str]] = {
    Kind.UNREADABLE: "a block of LevelDB's own files does not fit its checksum",
    Kind.FOREIGN: "a row in the reserved range that is not the replicator's",
    Kind.META: "a row of the store itself does not decode",
    Kind.REGISTRY: "the registry of wrapped prefixes does not fit the stores that are there",
    Kind.ORIGIN: "the row of an origin is malformed, or an origin has two numbers",
    Kind.KNOWN: "a row of the known set is malformed, or names no origin",
    Kind.FLOOR: "a row of the purge floor is malformed, or names no origin",
    Kind.CLOSED: "a row of the closed set is malformed, or names no origin",
    Kind.MEMBER: "what is stored of a member does not decode",
    Kind.DURABLE: "a dot is called durable and is not known",
    Kind.INDEX: "an index row does not decode, or names no origin: which versions live is lost",
    Kind.INDEX_FORM: "an index row says what it says in another form than the one there is",
    Kind.OWN_SEQ: "a record names an own write that was never issued",
    Kind.DOT_TWICE: "one dot is live under two keys",
    Kind.NOT_KNOWN: "a live version is not in the known set",
    Kind.LOG_ROW: "a log entry is malformed, or names no origin",
    Kind.LOG_MISSING: "a live version has no log entry: no peer would be sent it",
    Kind.LOG_STALE: "a log entry names a version that was superseded",
    Kind.LOG_LOST: "a log entry names a version that no record holds or supersedes: it is lost",
    Kind.CHANGED: "the value of a key is not the one that was written",
    Kind.REMOVED: "a key has no value although its record shows one",
    Kind.ADDED: "a key has a value although it has no record, or its record shows none",
    Kind.ASIDE_LOST: "the value of a version that is kept aside is missing or damaged",
    Kind.ASIDE_STALE: "a value is kept aside that no record of several versions asks for",
    Kind.EXPIRY: "an expiry row is malformed",
    Kind.EXPIRY_MISSING: "a value expires, and no row says when",
}
"""One line a kind."""

MENDED: Final[Mapping[Kind, str]] = {
    Kind.UNREADABLE: "not mended: restore a backup, or start with an empty directory",
    Kind.FOREIGN: "the row goes",
    Kind.META: "the row goes, or is written anew; the node takes a new origin",
    Kind.REGISTRY: "written anew",
    Kind.ORIGIN: "the row goes; rows with its number are written again with the other one",
    Kind.KNOWN: "the known set is made again from what is durable and what is live (R11)",
    Kind.FLOOR: "the row goes",
    Kind.CLOSED: "the row goes",
    Kind.MEMBER: "the row goes; peers tell of the member again",
    Kind.DURABLE: "the durable row is written anew",
    Kind.INDEX: "forgotten: peers send the record again; the value shown is kept as existing data",
    Kind.INDEX_FORM: "the row is written anew",
    Kind.OWN_SEQ: "the node takes a new origin",
    Kind.DOT_TWICE: "the record that the log does not name goes; its value stays as existing data",
    Kind.NOT_KNOWN: "the dot becomes known",
    Kind.LOG_ROW: "the row goes",
    Kind.LOG_MISSING: "the log is made again from the index",
    Kind.LOG_STALE: "the row goes",
    Kind.LOG_LOST: "forgotten: peers send the version again",
    Kind.CHANGED: "the value becomes a write of this node; with --changed undo the one written "
    "comes back",
    Kind.REMOVED: "the key is deleted by this node; with --changed undo the value comes back",
    Kind.ADDED: "the value becomes a write of this node; with --changed undo it goes",
    Kind.ASIDE_LOST: "taken from the key where it shows it; else forgotten: peers send the version "
    "again",
    Kind.ASIDE_STALE: "the row goes",
    Kind.EXPIRY: "the row goes",
    Kind.EXPIRY_MISSING: "the row is written",
}
"""What `repair` does about each."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong.

    Attributes:
        kind: what.
        key: the user's key that it is about; the whole row key where it is about no user's key.
        detail: the particulars, in words.
        dot: the version that it is about, if it is about one.
    """

    kind: Kind
    key: bytes
    detail: str = ""
    dot: Dot | None = None

    @property
    def about(self) -> str:
        """What it means, in a line."""
        return ABOUT[self.kind] + (f": {self.detail}" if self.detail else "")
