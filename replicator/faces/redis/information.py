"""The INFO command: the server in Redis's words, and the node in ours."""

import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from typing import Final

from replicator.faces.access import Role
from replicator.faces.redis.shared import Shared, client_of
from replicator.faces.redis.table import Awaited, Command, Table
from replicator.faces.redis.turn import Turn
from replicator.faces.resp import Reply, Request
from replicator.faces.stepwise import Session
from replicator.release import software_version

REDIS_VERSION: Final = "7.2.0"
"""The version whose commands those here are like: programs look at it to see what they may use."""

Fields = Iterator[tuple[str, object]]

_SECONDS_A_DAY = 86_400


def _server(shared: Shared) -> Fields:
    uptime = int(time.monotonic() - shared.started)
    yield "redis_version", REDIS_VERSION
    yield "redis_mode", "standalone"
    yield "os", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "arch_bits", 64
    yield "multiplexing_api", "epoll"
    yield "process_id", os.getpid()
    yield "run_id", shared.replica.origin
    yield "server_time_usec", time.time_ns() // 1000
    yield "uptime_in_seconds", uptime
    yield "uptime_in_days", uptime // _SECONDS_A_DAY


def _clients(shared: Shared) -> Fields:
    clients = list(shared.clients)
    yield "connected_clients", len(clients)
    yield "maxclients", shared.clients.most
    yield "blocked_clients", sum(client.is_busy for client in clients)
    yield "pubsub_clients", sum(bool(one.channels or one.patterns) for one in clients)
    yield "watching_clients", sum(bool(client.watched) for client in clients)


def _memory(_shared: Shared) -> Fields:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resident = _resident_bytes()
    yield "used_memory", resident
    yield "used_memory_rss", resident
    yield "used_memory_peak", usage.ru_maxrss * 1024
    yield "maxmemory", 0
    yield "maxmemory_policy", "noeviction"


def _persistence(shared: Shared) -> Fields:
    failures = shared.store.level.commit_failures
    yield "loading", 0
    yield "aof_enabled", 1
    yield "aof_last_write_status", "err" if failures else "ok"
    yield "sync_points", shared.store.sync_points


def _stats(shared: Shared) -> Fields:
    for name, value in shared.statistics().items():
        yield name, value - shared.statistics_before.get(name, 0)
    yield "pubsub_channels", sum(1 for _ in shared.hub.channels())
    yield "pubsub_patterns", shared.hub.pattern_count


def _replication(shared: Shared) -> Fields:
    status = shared.replica.status()
    yield "role", "master"
    yield "connected_slaves", sum(peer.connected for peer in status.peers)
    yield "master_replid", shared.replica.origin
    yield "master_repl_offset", shared.store.seq


def _cpu(_shared: Shared) -> Fields:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield "used_cpu_sys", f"{usage.ru_stime:.6f}"
    yield "used_cpu_user", f"{usage.ru_utime:.6f}"


def _cluster(_shared: Shared) -> Fields:
    yield "cluster_enabled", 0


def _replicator(shared: Shared) -> Fields:
    status = shared.replica.status()
    counters = status.counters
    yield "replicator_version", software_version()
    yield "name", _line(status.name)
    yield "origin", status.origin
    yield "cluster", _line(status.cluster)
    yield "cluster_id", status.cluster_id or ""
    yield "members", status.members
    yield "peers_connected", sum(peer.connected for peer in status.peers)
    yield "entries", status.entries
    yield "held_by_all", status.held_by_all
    yield "write_gate", status.write_gate
    yield "writes", counters.writes
    yield "applied", counters.applied
    yield "conflicts", counters.conflicts
    yield "commit_failures", counters.commit_failures
    yield "swept", counters.swept
    yield "tombstones", counters.tombstones
    yield "notifications_dropped", shared.notifications.dropped


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # a small file, read often
        return int(file.read().split()[1]) * resource.getpagesize()


def _line(text: str) -> str:
    """A name that people or strangers have given, on one line."""
    return text.encode("unicode_escape").decode()


_SECTIONS: Final[dict[str, Callable[[Shared], Fields]]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "cluster": _cluster,
    "replicator": _replicator,
}

_ALL: Final = frozenset({"all", "default", "everything"})


def _info(_turn: Turn, session: Session, request: Request) -> Awaited:
    shared = client_of(session).shared
    wanted = {word.decode(errors="replace").lower() for word in request[1:]}
    if not wanted or wanted & _ALL:
        wanted = set(_SECTIONS)

    async def tell() -> Reply:  # the node's status takes the lock that a turn may hold
        return "\r\n".join(_section(shared, name) for name in _SECTIONS if name in wanted)

    return Awaited(tell)


def _section(shared: Shared, name: str) -> str:
    lines = "".join(f"{field}:{value}\r\n" for field, value in _SECTIONS[name](shared))
    return f"# {name.capitalize()}\r\n{lines}"


INFORMATION: Final[Table] = {b"INFO": Command(Role.READONLY, 1, 100, _info, alone=True)}
