"""The tree of errors: what the caller did, what a peer did, what storage did.

Every message says what was wrong, with which key, peer or file, and what to do.
Where plyvel raises a built-in type for the same mistake (``TypeError``, ``ValueError``,
``RuntimeError`` for a closed handle, ``IOError``), ours inherits from it too, so that code
written for plyvel keeps working.
"""


class ReplicatorError(Exception):
    """The root of all errors that this package raises on purpose."""


class UsageError(ReplicatorError):
    """The program or the person asked for something that cannot be done as asked."""


class ReservedKeyError(UsageError, ValueError):
    """A write named a key of the reserved range, or a value or key above the size limits."""


class NotLiveError(UsageError):
    """A conflict was to be settled by a version that is not live, or not any more."""


class ExpiryError(UsageError, ValueError):
    """A time to live, or an expiry, is out of range, or of something that does not expire."""


class ClosedError(UsageError, RuntimeError):
    """The handle was used after ``close()``, or in a forked child process."""


class DoubleWrapError(UsageError):
    """The LevelDB, or a prefix that contains or is contained in this one, is wrapped already."""


class ConfigError(UsageError, ValueError):
    """A setting is unknown, malformed or contradicts another one."""


class MissingExtraError(UsageError, ImportError):
    """A command needs an optional dependency; the message names the extra to install."""


class GateClosedError(ReplicatorError):
    """A write was not accepted because the write gate is shut for good (closing)."""


class PeerError(ReplicatorError):
    """A peer broke the protocol or does not belong here; the store is untouched."""


class ProtocolError(PeerError):
    """A peer sent bytes, a message or a value that the protocol does not allow."""


class PeerRefusedError(PeerError):
    """A peer is of another cluster, of another protocol version, or this very node."""


class PeerForgottenError(PeerError):
    """A peer was forgotten by the cluster and lives under its old origin (R10): it is told so."""


class ClusterChangedError(PeerError):
    """This node has taken a cluster id while it greeted: what it said of itself is no longer so
    (R15). It greets again."""


class ForkError(PeerError):
    """A peer knows dots of this node's origin that this node never issued (R13): this directory
    was rolled back or cloned. The node takes a new origin."""


class ForkedContentsError(PeerError):
    """A peer holds the same dot with other contents (R13). Nothing is overwritten; a person
    has to look: replication with that peer stops."""


class NotReplicated(ReplicatorError, TimeoutError):
    """A write is in, here, and was not on the disks of so many peers in time. It stays, and goes on
    to the peers as any other.

    Attributes:
        dots: of the write, as ``origin:seq``; after a fork (R13) of what it was issued again with.
        wanted: on the disks of how many peers it was to be.
        durable_at: names of the peers that hold it on disk.
        held_at: names of those that have it, and not yet on disk as far as this node heard.
        members: how many nodes the cluster has, this one included.
    """

    def __init__(
        self,
        message: str,
        *,
        dots: tuple[str, ...] = (),
        wanted: int = 0,
        durable_at: tuple[str, ...] = (),
        held_at: tuple[str, ...] = (),
        members: int = 1,
    ) -> None:
        super().__init__(message)
        self.dots = dots
        self.wanted = wanted
        self.durable_at = durable_at
        self.held_at = held_at
        self.members = members


class RefusedError(ReplicatorError):
    """A daemon answered a command with an error that has no class of its own.

    Args:
        reply: ``CODE text``, as it came.

    Attributes:
        code: the word in capitals that programs look at.
    """

    def __init__(self, reply: str) -> None:
        self.code, _, text = reply.partition(" ")
        super().__init__(text)


class UnreachableError(ReplicatorError, ConnectionError):
    """No daemon answers, or it is none of ours. What was asked has not happened."""


class AccessError(UsageError, PermissionError):
    """A daemon wants a password, another one than was given, or a user who may do more."""


class OutcomeUnknown(ReplicatorError, ConnectionError):
    """A daemon got a command and its answer was lost: it has happened once, or not at all.

    It was not tried again because a second time would not be the same as once. Look at the data
    before you do.

    Attributes:
        command: which one.
        endpoint: where it was sent to.
    """

    def __init__(self, message: str, *, command: str = "", endpoint: str = "") -> None:
        super().__init__(message)
        self.command = command
        self.endpoint = endpoint


class StaleError(ReplicatorError, TimeoutError):
    """The only daemons that answer have not got, in time, what this client has written elsewhere.

    Nothing was read or written. Call again later, or connect with ``stale=True``.
    """


class ContendedError(ReplicatorError):
    """Others wrote the key each time between this client's look at it and its write."""


class StorageError(ReplicatorError, OSError):
    """LevelDB or the file system failed."""


class CommitError(StorageError):
    """A commit failed; it did not happen and its dots are used again (R12)."""


class StoreFailedError(StorageError):
    """LevelDB stays in its error state: writes are refused until the store is reopened (R12)."""


class FormatError(StorageError):
    """The directory holds a newer format, foreign data under the reserved prefix, a custom
    comparator, or rows that do not decode."""


class CorruptionError(StorageError):
    """Rows contradict each other or a checksum does not fit."""
