"""Metrics for Prometheus: one look at the node in the words of `docs/HTTP.md`.

A registry of its own, so nothing else of the process gets in, and several servers in one process
do not meet. Everything is collected when it is asked for, from a `View`; nothing is kept here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from replicator.faces.http.committimes import BOUNDS_SECONDS, CommitCounts
from replicator.faces.http.limits import (
    NODES_SHOWN_MAX,
)
from replicator.faces.http.watch import RespCounts, View
from replicator.peers.journal import printable
from replicator.release import software_version
from replicator.status import MemberStatus

_PREFIX = "replicator_"

_COUNTERS: Final[dict[str, tuple[str, Callable[[View], float]]]] = {
    "writes": (
        "Keys written here since the store was opened.",
        lambda view: view.status.counters.writes,
    ),
    "rounds": (
        "Rounds completed here: catch-ups with one snapshot of a peer.",
        lambda view: view.status.traffic.rounds,
    ),
    "records_in": (
        "Records received in rounds completed.",
        lambda view: view.status.traffic.records_in,
    ),
    "records_out": (
        "Records sent in rounds completed.",
        lambda view: view.status.traffic.records_out,
    ),
    "bytes_in": (
        "Bytes received from peers, without those of TLS.",
        lambda view: view.status.traffic.bytes_in,
    ),
    "bytes_out": (
        "Bytes sent to peers, without those of TLS.",
        lambda view: view.status.traffic.bytes_out,
    ),
    "conflicts": (
        "Conflicts that arose here since the store was opened.",
        lambda view: view.status.counters.conflicts,
    ),
    "commit_failures": (
        "Commits that LevelDB refused.",
        lambda view: view.status.counters.commit_failures,
    ),
    "clock_skewed": (
        "Writes that came dated too far ahead for their clock to be followed.",
        lambda view: view.status.counters.skewed,
    ),
    "forks": (
        "New origins taken because this directory was rolled back, cloned or forgotten.",
        lambda view: view.status.counters.forks,
    ),
    "resolver_faults": (
        "Conflicts that the resolver failed on, and the default order decided.",
        lambda view: view.status.counters.resolver_faults,
    ),
    "events_dropped": (
        "Events lost because callbacks are too slow.",
        lambda view: view.status.events_dropped,
    ),
}

_GAUGES: Final[dict[str, tuple[str, Callable[[View], float | None]]]] = {
    "conflicts_open": (
        "Keys in conflict, counted now and then; not there before the first count.",
        lambda view: view.conflicts_open,
    ),
    "known_gaps": (
        "Ranges that the known set has beyond one for each origin.",
        lambda view: view.known_gaps,
    ),
    "tombstones": (
        "Deletes that wait for all members to have them, as of the last pass of collecting.",
        lambda view: view.status.counters.tombstones,
    ),
    "write_gate_open": (
        "Whether own writes are accepted without waiting for peers (1) or not (0).",
        lambda view: view.gate_is_open,
    ),
    "store_failed": (
        "Whether LevelDB refuses writes until the daemon is restarted (1) or not (0).",
        lambda view: view.failed is not None,
    ),
    "disk_free_bytes": (
        "Room on the disk of the data directory.",
        lambda view: view.disk.free_bytes,
    ),
    "digest_differences": (
        "How often a comparison found other data at a peer that knows the same writes.",
        lambda view: view.status.digests.differing,
    ),
    "members": (
        "Nodes of the cluster, this one included.",
        lambda view: len(view.members),
    ),
    "members_silent": (
        "Members that nobody has heard of lately.",
        lambda view: sum(not member.alive for member in view.others),
    ),
}

_PEER_GAUGES: Final[dict[str, tuple[str, Callable[[MemberStatus], float]]]] = {
    "peer_lag_entries": (
        "Writes that this node knows and the peer is not known to hold.",
        lambda member: member.lag_entries,
    ),
    "peer_lag_seconds": ("For how long that has been so.", lambda member: member.lag_seconds),
    "peer_connected": (
        "Whether a conversation with the peer is open; an idle one is closed.",
        lambda member: member.connected,
    ),
}

CONTENT_TYPES_MAX_CHARACTERS = 1000
"""Longest Accept header that is looked into."""


def render(view: View, accept: str) -> tuple[bytes, str]:
    """All metrics of a moment, for any thread.

    Args:
        accept: the header of that name, which chooses the format.

    Returns:
        The text and its content type.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(view))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept[:CONTENT_TYPES_MAX_CHARACTERS])
    return encode(registry), content_type


class _Families(Collector):
    """The metrics of one view."""

    def __init__(self, view: View) -> None:
        self._view = view

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from families(self._view)


def families(view: View) -> Iterator[Metric]:
    """The metrics of a view."""
    status = view.status
    yield InfoMetricFamily(
        f"{_PREFIX[:-1]}",
        "This node.",
        value={
            "version": software_version(),
            "name": printable(status.name),
            "origin": status.origin,
        },
    )
    for name, (text, count_of) in _COUNTERS.items():
        yield CounterMetricFamily(_PREFIX + name, text, value=count_of(view))
    for name, (text, value_of) in _GAUGES.items():
        value = value_of(view)
        if value is not None:
            yield GaugeMetricFamily(_PREFIX + name, text, value=float(value))
    yield from _peers(view)
    yield _commit_seconds(view.commits)
    if view.resp is not None:
        yield from _resp(view.resp)


def _peers(view: View) -> Iterator[Metric]:
    peers = named(view.others[:NODES_SHOWN_MAX])
    for name, (text, value_of) in _PEER_GAUGES.items():
        family = GaugeMetricFamily(_PREFIX + name, text, labels=["peer"])
        for label, member in peers.items():
            family.add_metric([label], float(value_of(member)))
        yield family


def named(members: list[MemberStatus]) -> dict[str, MemberStatus]:
    """Members by what tells them apart: their names, with the origin where several have one."""
    names = [printable(member.name) or member.origin for member in members]
    counts = Counter(names)
    return {
        name if counts[name] == 1 else f"{name} ({member.origin})": member
        for name, member in zip(names, members, strict=True)
    }


def _commit_seconds(commits: CommitCounts) -> Metric:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, BOUNDS_SECONDS), "+Inf"), commits.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(
        f"{_PREFIX}commit_seconds",
        "How long LevelDB took for a commit.",
        buckets=buckets,
        sum_value=commits.seconds,
    )


def _resp(resp: RespCounts) -> Iterator[Metric]:
    yield CounterMetricFamily(
        f"{_PREFIX}reads", "Keys that clients of the Redis server have read.", value=resp.reads
    )
    yield GaugeMetricFamily(
        f"{_PREFIX}resp_clients", "Clients of the Redis server.", value=resp.clients
    )
    yield CounterMetricFamily(
        f"{_PREFIX}resp_refused", "Clients of it that found no room.", value=resp.refused
    )
    yield CounterMetricFamily(
        f"{_PREFIX}resp_auth_failures",
        "Wrong passwords shown to it.",
        value=resp.auth_failures,
    )
    commands = CounterMetricFamily(
        f"{_PREFIX}resp_commands", "Commands it has run.", labels=["command"]
    )
    for command, count in resp.commands.items():
        commands.add_metric([command], count)
    yield commands
