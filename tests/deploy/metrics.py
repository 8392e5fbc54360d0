"""What /metrics tells, by name and labels beside those that Prometheus adds: what alerts and plots
may speak of. `tests/deploy/test_scraping.py` compares it with a daemon's."""

METRICS: dict[str, frozenset[str]] = {
    f"replicator_{name}": frozenset(labels.split())
    for name, labels in {
        "writes_total": "",
        "reads_total": "",
        "rounds_total": "",
        "records_in_total": "",
        "records_out_total": "",
        "bytes_in_total": "",
        "bytes_out_total": "",
        "conflicts_total": "",
        "conflicts_open": "",
        "peer_lag_entries": "peer",
        "peer_lag_seconds": "peer",
        "peer_connected": "peer",
        "known_gaps": "",
        "tombstones": "",
        "commit_seconds_bucket": "le",
        "commit_seconds_sum": "",
        "commit_seconds_count": "",
        "commit_failures_total": "",
        "write_gate_open": "",
        "store_failed": "",
        "disk_free_bytes": "",
        "digest_differences": "",
        "clock_skewed_total": "",
        "forks_total": "",
        "resolver_faults_total": "",
        "resp_clients": "",
        "resp_refused_total": "",
        "resp_commands_total": "command",
        "resp_auth_failures_total": "",
        "events_dropped_total": "",
        "members": "",
        "members_silent": "",
        "info": "version name origin",
    }.items()
}

OF_PROMETHEUS = frozenset({"job", "instance"})
"""Labels that Prometheus adds to each."""
