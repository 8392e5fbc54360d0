"""What /metrics tells, by name and labels beside those that Prometheus adds: what alerts and plots
may speak of. `tests/deploy/test_scraping.py` compares it with a daemon's."""

METRICS: dict[str, frozenset[str]] = {
    name: frozenset(labels.split())
    for name, labels in {
        "replicator_writes_total": "",
        "replicator_reads_total": "",
        "replicator_rounds_total": "",
        "replicator_records_in_total": "",
        "replicator_records_out_total": "",
        "replicator_bytes_in_total": "",
        "replicator_bytes_out_total": "",
        "replicator_conflicts_total": "",
        "replicator_conflicts_open": "",
        "replicator_peer_lag_entries": "peer",
        "replicator_peer_lag_seconds": "peer",
        "replicator_peer_connected": "peer",
        "replicator_known_gaps": "",
        "replicator_tombstones": "",
        "replicator_commit_seconds_bucket": "le",
        "replicator_commit_seconds_sum": "",
        "replicator_commit_seconds_count": "",
        "replicator_commit_failures_total": "",
        "replicator_write_gate_open": "",
        "replicator_store_failed": "",
        "replicator_disk_free_bytes": "",
        "replicator_digest_differences": "",
        "replicator_clock_skewed_total": "",
        "replicator_forks_total": "",
        "replicator_resolver_faults_total": "",
        "replicator_resp_clients": "",
        "replicator_resp_refused_total": "",
        "replicator_resp_commands_total": "command",
        "replicator_resp_auth_failures_total": "",
        "replicator_events_dropped_total": "",
        "replicator_members": "",
        "replicator_members_silent": "",
        "replicator_info": "version name origin",
        "process_resident_memory_bytes": "",
        "process_cpu_seconds_total": "",
        "process_open_fds": "",
        "process_max_fds": "",
    }.items()
}

OF_PROMETHEUS = frozenset({"job", "instance"})
"""Labels that Prometheus adds to each."""
