"""For every alert: series on which it fires, and series on which it must not, as promtool has them.

A case names what the node ``a`` tells, a value a minute; other labels stand in braces.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Case:
    """One alert.

    Attributes:
        fires: series, values, on which it fires.
        quiet: series on which it does not, however close they come.
        at: when, minutes.
        summary: what it says then, filled in.
        labels: those it has beside severity, alertname, job and instance.
        instance: whether it is about one node.
    """

    fires: dict[str, str]
    quiet: dict[str, str]
    at: int
    summary: str
    labels: dict[str, str] = field(default_factory=dict)
    instance: bool = True


CASES = {
    "ReplicatorDown": Case(
        {"up": "1 1 0x10"},
        {"up": "1 1 0 0 1x10"},
        5,
        "a answers no more",
    ),
    "ReplicatorStoreFailed": Case(
        {"store_failed": "0 0 1"},
        {"store_failed": "0 0 0"},
        2,
        "a: LevelDB takes no writes until the node is started again",
    ),
    "ReplicatorCommitsFail": Case(
        {"commit_failures_total": "0 0 0 4 4 4"},
        {"commit_failures_total": "7x10"},
        5,
        "a: 4 commits have failed within five minutes",
    ),
    "ReplicatorWriteGateShut": Case(
        {"write_gate_open": "0x5"},
        {"write_gate_open": "0 1x5"},
        3,
        "a: writes still wait for news of the peers",
    ),
    "ReplicatorDiskFull": Case(
        {"disk_free_bytes": "536870912x5"},
        {"disk_free_bytes": "2000000000x5"},
        3,
        "a: 512MiB left on the disk of the data",
    ),
    "ReplicatorDiskFilling": Case(
        {"disk_free_bytes": "1e11-1e8x600"},
        {"disk_free_bytes": "1e12-1e8x600"},
        500,
        "a: at this rate the disk of the data is full within a day",
    ),
    "ReplicatorIsolated": Case(
        {"members": "3x20", "members_silent": "2x20"},
        {"members": "1x20", "members_silent": "0x20"},
        10,
        "a hears of no other member",
    ),
    "ReplicatorMemberSilent": Case(
        {"members": "5x40", "members_silent": "0 0 2x40"},
        {"members": "5x40", "members_silent": "0 0 2x10 0x30"},
        30,
        "a has not heard of 2 members for a while",
    ),
    "ReplicatorMembersDiffer": Case(
        {"members": "3x60", 'members{instance="b"}': "2x60"},
        {"members": "3x60", 'members{instance="b"}': "2x20 3x60"},
        45,
        "Nodes of replicator do not agree on how many members there are",
        instance=False,
    ),
    "ReplicatorPeerLags": Case(
        {'peer_lag_seconds{peer="b"}': "0+60x20"},
        {'peer_lag_seconds{peer="b"}': "0 50 100 150 200 0x20"},
        10,
        "b has lacked writes of a for 10m 0s",
        {"peer": "b"},
    ),
    "ReplicatorGapsStay": Case(
        {"known_gaps": "1x200"},
        {"known_gaps": "3x50 0 3x150"},
        130,
        "a lacks writes that are older than others it has",
    ),
    "ReplicatorTombstonesPileUp": Case(
        {"tombstones": "90000+1000x600"},
        {"tombstones": "500000-100x600"},
        500,
        "a keeps 590k deletes that it cannot drop",
    ),
    "ReplicatorConflictsPileUp": Case(
        {"conflicts_open": "0+10x200"},
        {"conflicts_open": "0+1x90 90x200"},
        150,
        "a: 1.5k keys are in conflict, and more become so",
    ),
    "ReplicatorResolverFaults": Case(
        {"resolver_faults_total": "0x10 15x20"},
        {"resolver_faults_total": "15x30"},
        16,
        "a: the resolver has failed 15 times within a quarter of an hour",
    ),
    "ReplicatorDigestsDiffer": Case(
        {"digest_differences": "0x5 1x10"},
        {"digest_differences": "0x15"},
        10,
        "a and a peer that knew the same held different data",
    ),
    "ReplicatorForkSeen": Case(
        {"forks_total": "0x5 1x10"},
        {"forks_total": "0x15"},
        10,
        "a has had to take a new origin",
    ),
    "ReplicatorClockSkewed": Case(
        {"clock_skewed_total": "0x5 1x10"},
        {"clock_skewed_total": "6x15"},
        10,
        "a was sent writes that are dated far ahead",
    ),
    "ReplicatorCommitsSlow": Case(
        {
            'commit_seconds_bucket{le="0.25"}': "0+60x30",
            'commit_seconds_bucket{le="0.5"}': "0+120x30",
            'commit_seconds_bucket{le="+Inf"}': "0+120x30",
        },
        {
            'commit_seconds_bucket{le="0.25"}': "0+120x30",
            'commit_seconds_bucket{le="0.5"}': "0+120x30",
            'commit_seconds_bucket{le="+Inf"}': "0+120x30",
        },
        20,
        "a: one commit in a hundred takes longer than 495ms",
    ),
    "ReplicatorClientsRefused": Case(
        {"resp_refused_total": "0+1x10"},
        {"resp_refused_total": "3x10"},
        5,
        "a has no room for further clients",
    ),
    "ReplicatorDescriptorsShort": Case(
        {"process_open_fds": "95x20", "process_max_fds": "100x20"},
        {"process_open_fds": "85x20", "process_max_fds": "100x20"},
        10,
        "a uses 95% of its file descriptors",
    ),
    "ReplicatorPasswordsWrong": Case(
        {"resp_auth_failures_total": "0+120x20"},
        {"resp_auth_failures_total": "0+30x20"},
        12,
        "a: 2 wrong passwords a second",
    ),
    "ReplicatorEventsDropped": Case(
        {"events_dropped_total": "0x5 9x10"},
        {"events_dropped_total": "9x15"},
        10,
        "a could not tell all its events",
    ),
    "ReplicatorVersionsMixed": Case(
        {'info{version="0.2.0"}': "1x2000", 'info{instance="b",version="0.3.0"}': "1x2000"},
        {'info{version="0.3.0"}': "1x2000", 'info{instance="b",version="0.3.0"}': "1x2000"},
        1500,
        "2 versions run in replicator",
        instance=False,
    ),
}
