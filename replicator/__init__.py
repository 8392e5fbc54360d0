"""Multi-master replication for embedded LevelDB.

    import plyvel, replicator

    db = replicator.replicate(plyvel.DB("data", create_if_missing=True), peers=["host:9000"])
    db.put(b"key", b"value")

`replicate` wraps an open LevelDB for any program, `open_replica` for a trio program. The handle
has plyvel's shape; `resolvers` has ready-made ways to settle conflicts.
"""

from replicator.core import resolvers
from replicator.core.dots import Dot
from replicator.core.known import KnownSet
from replicator.core.record import Version
from replicator.errors import (
    ClosedError,
    CommitError,
    ConfigError,
    CorruptionError,
    DoubleWrapError,
    FormatError,
    PeerError,
    ReplicatorError,
    ReservedKeyError,
    StorageError,
    StoreFailedError,
    UsageError,
)
from replicator.faces.handle import Replica
from replicator.faces.library import open_replica, replicate
from replicator.status import PeerStatus, Round, Status

__version__ = "0.1.0"

__all__ = [
    "ClosedError",
    "CommitError",
    "ConfigError",
    "CorruptionError",
    "Dot",
    "DoubleWrapError",
    "FormatError",
    "KnownSet",
    "PeerError",
    "PeerStatus",
    "Replica",
    "ReplicatorError",
    "ReservedKeyError",
    "Round",
    "Status",
    "StorageError",
    "StoreFailedError",
    "UsageError",
    "Version",
    "__version__",
    "open_replica",
    "replicate",
    "resolvers",
]
