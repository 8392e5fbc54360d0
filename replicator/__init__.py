"""Multi-master replication for embedded LevelDB.

    import plyvel, replicator

    db = replicator.replicate(plyvel.DB("data", create_if_missing=True), peers=["host:9000"])
    db.put(b"key", b"value")

`replicate` wraps an open LevelDB for any program, `open_replica` for a trio program; `connect` and
`connect_trio` give a handle on a daemon. All have plyvel's shape; `resolvers` has ready-made ways
to settle conflicts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from replicator.core import resolvers
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Version
from replicator.errors import (
    AccessError,
    ClosedError,
    CommitError,
    ConfigError,
    ContendedError,
    CorruptionError,
    DoubleWrapError,
    ExpiryError,
    FormatError,
    NotLiveError,
    NotReplicated,
    OutcomeUnknown,
    PeerError,
    RefusedError,
    ReplicatorError,
    ReservedKeyError,
    StaleError,
    StorageError,
    StoreFailedError,
    UnreachableError,
    UsageError,
)

if TYPE_CHECKING:
    from replicator.faces.client.blocking import Client
    from replicator.faces.client.handle import AsyncClient
    from replicator.faces.client.opening import connect, connect_trio
    from replicator.faces.handle import Replica
    from replicator.faces.library import open_replica, replicate
    from replicator.faces.restoring import check_backup, restore
    from replicator.status import MemberStatus, PeerStatus, Round, Status
    from replicator.store.feed import Change

__version__ = "0.2.0"

__all__ = [
    "AccessError",
    "AsyncClient",
    "Change",
    "Client",
    "ClosedError",
    "CommitError",
    "ConfigError",
    "ContendedError",
    "CorruptionError",
    "Dot",
    "DoubleWrapError",
    "ExpiryError",
    "FormatError",
    "KnownSet",
    "MemberStatus",
    "NotLiveError",
    "NotReplicated",
    "OutcomeUnknown",
    "PeerError",
    "PeerStatus",
    "RefusedError",
    "Replica",
    "ReplicatorError",
    "ReservedKeyError",
    "Round",
    "StaleError",
    "Status",
    "StorageError",
    "StoreFailedError",
    "UnreachableError",
    "UsageError",
    "Version",
    "__version__",
    "check_backup",
    "connect",
    "connect_trio",
    "open_replica",
    "replicate",
    "resolvers",
    "restore",
]

# Looked up when first used: they import trio, which takes longer than all the rest together, and a
# command that only asks a running daemon never needs it.
_LAZY = {
    "AsyncClient": "replicator.faces.client.handle",
    "Change": "replicator.store.feed",
    "Client": "replicator.faces.client.blocking",
    "MemberStatus": "replicator.status",
    "PeerStatus": "replicator.status",
    "Replica": "replicator.faces.handle",
    "Round": "replicator.status",
    "Status": "replicator.status",
    "check_backup": "replicator.faces.restoring",
    "connect": "replicator.faces.client.opening",
    "connect_trio": "replicator.faces.client.opening",
    "open_replica": "replicator.faces.library",
    "replicate": "replicator.faces.library",
    "restore": "replicator.faces.restoring",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
