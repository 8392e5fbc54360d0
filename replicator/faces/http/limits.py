"""Every limit and interval of the HTTP server in one place, units in the names."""

HTTP_CONNECTIONS_MAX = 128
"""Connections of the HTTP server at a time; further ones are told so and closed."""

HTTP_IDLE_SECONDS = 15.0
"""How long the head of a request may take, and how long a connection is kept between two."""

HTTP_HEAD_BYTES_MAX = 16 << 10
"""Longest head of a request."""

HTTP_BODY_BYTES_MAX = 64 << 10
HTTP_BODY_SECONDS = 10.0
"""Longest body of a request, and how long it may take."""

HTTP_SEND_SECONDS = 30.0
"""How long a client may take for one piece of an answer, or for its part of greeting by TLS."""

HTTP_CLOSE_SECONDS = 2.0
"""How long requests may go on when the HTTP server ends."""

HTTP_THREADS_MAX = 4
"""Worker threads of the HTTP server, beside the one that tries the disk."""

HTTP_DENIED_SECONDS = 0.5
"""What a wrong token costs whoever shows it."""

WATCHERS_MAX = 32
"""Pages that are open at a time; further ones are turned away."""

WATCHER_MESSAGES_MAX = 32
"""Messages that wait for one page, beyond which it is let go; it comes back and begins anew."""

WATCHER_HEARTBEAT_SECONDS = 15.0
"""Longest silence towards a page."""

SAMPLE_SECONDS = 1.0
"""How often a node is looked at for its page and for metrics."""

HISTORY_SAMPLES = 600
"""Samples that are kept for a page: the last ten minutes."""

HAPPENINGS_MAX = 200
"""Events that are kept for a page."""

HAPPENINGS_WAITING_MAX = 1000
"""Events between two samples, beyond which the oldest are left out."""

HAPPENING_MERGE_SECONDS = 10.0
"""Rounds with one peer that come within so many seconds of the one before are told as one."""

NODES_SHOWN_MAX = 200
"""Nodes on a page and in metrics; the cluster may have more."""

CONFLICTS_SHOWN_MAX = 50
"""Keys in conflict on a page."""

CONFLICTS_SHOWN_BYTES = 64 << 10
"""Length of all those keys together; a longer key is left to the command line."""

VERSIONS_SHOWN_MAX = 8
"""Versions of one key on a page."""

SHOWN_BYTES_MAX = 512
"""How much of a key or value is shown on a page."""

CONFLICTS_SCAN_ROWS = 2000
"""Rows of the index that are read at once to count conflicts."""

CONFLICTS_SCAN_SHARE = 0.05
"""The part of one core that counting conflicts takes at most, while somebody looks."""

CONFLICTS_SCAN_PAUSE_SECONDS = 2.0
"""Least pause between two counts."""

CONFLICTS_POLL_SECONDS = 0.2
"""How often it is looked whether there is a reason to count."""

ASKED_SECONDS = 120.0
"""For how long after a page or a scrape conflicts are counted on."""

DISK_PROBE_BYTES = 64 << 10
DISK_PROBE_SECONDS = 5.0
"""What is written to see whether the disk takes it, how often at most, and how long it may take."""
