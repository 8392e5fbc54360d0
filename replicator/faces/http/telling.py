"""What a page is told of a node, as JSON.

Names and errors of peers are strangers' text: control characters are escaped, and it is cut
(`replicator.peers.journal.printable`).
"""

from collections.abc import Iterable
from typing import Any

from replicator.faces.http.happenings import Happening
from replicator.faces.http.limits import (
    NODES_SHOWN_MAX,
)
from replicator.faces.http.watch import View
from replicator.peers.journal import printable
from replicator.release import software_version
from replicator.status import MemberStatus, PeerStatus


def tell_state(view: View, *, has_token: bool) -> dict[str, Any]:
    """The node, its peers and the cluster at one moment.

    Args:
        has_token: whether conflicts can be settled over HTTP at all.
    """
    return {
        "at_ms": view.at_ms,
        "node": {**_node(view), "has_token": has_token},
        "peers": tell_peers(view),
        "unmet": _unmet(view),
    }


def _node(view: View) -> dict[str, Any]:
    status, counters = view.status, view.status.counters
    return {
        "name": printable(status.name),
        "origin": status.origin,
        "cluster": printable(status.cluster),
        "cluster_id": status.cluster_id,
        "address": status.address,
        "version": software_version(),
        "faults": view.faults,
        "members": len(view.members),
        "silent": sum(not member.alive for member in view.others),
        "entries": status.entries,
        "held_by_all": status.held_by_all,
        "writes": counters.writes,
        "applied": counters.applied,
        "tombstones": counters.tombstones,
        "known_gaps": view.known_gaps,
        "conflicts_open": view.conflicts_open,
        "conflicts_arisen": counters.conflicts,
        "digests_equal": status.digests.equal,
        "digests_differing": status.digests.differing,
        "disk_free_bytes": view.disk.free_bytes,
        "clients": None if view.resp is None else view.resp.clients,
    }


def tell_peers(view: View) -> list[dict[str, Any]]:
    """All other members, those first that need a look, at most `NODES_SHOWN_MAX`."""
    talks = {peer.origin: peer for peer in view.status.peers if peer.origin is not None}
    members = sorted(view.others, key=lambda one: (one.alive, -one.lag_seconds, one.name))
    return [
        _peer(member, talks.get(member.origin))
        for member in sorted(members[:NODES_SHOWN_MAX], key=lambda one: (one.name, one.origin))
    ]


def _peer(member: MemberStatus, talk: PeerStatus | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": printable(member.name) or member.origin,
        "origin": member.origin,
        "alive": member.alive,
        "connected": member.connected,
        "seen_seconds": round(member.last_seen_seconds, 1),
        "lag_entries": member.lag_entries,
        "lag_seconds": round(member.lag_seconds, 1),
        "addresses": [printable(address) for address in member.addresses],
        "version": printable(member.version),
    }
    if talk is not None:
        told |= {
            "direction": talk.direction,
            "doing": talk.doing,
            "rounds": talk.rounds,
            "records_in": talk.records_in,
            "records_out": talk.records_out,
            "blocked": talk.blocked,
            "error": None if talk.last_error is None else printable(talk.last_error),
        }
    return told


def _unmet(view: View) -> list[dict[str, str | None]]:
    """Addresses that are dialled and where nobody has ever answered."""
    found = [peer for peer in view.status.peers if peer.origin is None]
    return [
        {
            "address": printable(peer.address),
            "error": None if peer.last_error is None else printable(peer.last_error),
        }
        for peer in found[:NODES_SHOWN_MAX]
    ]


def tell_happenings(happenings: Iterable[Happening], sees_data: bool) -> list[dict[str, Any]]:
    """Happenings, their keys only for those who may see data."""
    return [
        {
            "id": one.id,
            "at_ms": one.at_ms,
            "kind": one.kind,
            "text": one.text,
            "times": one.times,
            "key": one.key if sees_data else None,
        }
        for one in happenings
    ]


def tell_conflicts(
    listed: list[dict[str, Any]], count: int | None, sees_data: bool
) -> dict[str, Any]:
    """How many conflicts are open, and the first of them for those who may see data."""
    return {
        "open": count,
        "locked": not sees_data,
        "listed": listed if sees_data else [],
    }


def worst_lag(view: View) -> tuple[int, float]:
    """How far the peer that is furthest behind is: in entries, and in seconds."""
    entries = max((member.lag_entries for member in view.others), default=0)
    return entries, max((member.lag_seconds for member in view.others), default=0.0)
