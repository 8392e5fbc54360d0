"""The limits of the daemon's life and of its configuration, units in the names; those of the node
and of the Redis server are in `replicator.config`.
"""

CONFIG_BYTES_MAX = 4 << 20
"""Longest configuration file."""

SECRET_BYTES_MAX = 1024
"""Longest password or token."""

CLIENTS_MOST = 1_000_000
"""Most clients of the Redis server that somebody may allow."""

CLOSE_SECONDS_MAX = 25.0
"""How long a daemon that was told to end may take for all of it: less than the 30 s after which
Kubernetes kills."""

STARTING_SECONDS = 5.0
"""How often the service manager is asked for more time while the store is opened."""

STARTING_PATIENCE_SECONDS = 30.0
"""How much time it is asked for."""

NOTIFY_SECONDS = 1.0
"""How long a service manager that is busy may take to take a message."""
