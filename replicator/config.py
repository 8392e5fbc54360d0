"""Every limit, interval and default in one place, units in the names.

These are the numbers in force when nobody says otherwise; what a user may set is a field of
`Settings`, everything else a constant. Those of the HTTP server are in
`replicator.faces.http.limits`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PROTOCOL_VERSION = 2
PROTOCOL_VERSION_LEAST = 1
"""The greatest and the least version of the conversation that is spoken; two nodes use the greatest
that both speak. A cluster is upgraded node by node, so the version before is always spoken too."""

PORT_DEFAULT = 9000
HOST_DEFAULT = "127.0.0.1"
CLUSTER_DEFAULT = "default"

CA_DAYS = 3650
CERTIFICATE_DAYS = 365
"""How long a CA, and the certificate of a node, are valid unless somebody says otherwise."""

KEY_BYTES_MAX = 1 << 20
VALUE_BYTES_MAX = 16 << 20
"""Largest value of a put: a record must fit one frame, its siblings included."""

FRAME_BYTES_MAX = 128 << 20
"""Largest frame accepted from a peer that has greeted: eight siblings of the largest value."""

GREETING_BYTES_MAX = 64 << 10
"""Largest frame accepted before the peer has greeted."""

CHUNK_BYTES = 64 << 10
"""What a sender puts into one chunk before it begins the next."""

CHUNK_RECORDS_MAX = 500

QUEUE_CHUNKS_MAX = 4
"""Chunks that are read ahead, or received and not yet applied, per conversation."""

COMPARE_KEYS = 1024
"""Records of a range that is compared at first; what differs is split."""

COMPARE_PARTS = 16
"""Into how many ranges one that differs is split."""

COMPARE_FEW_KEYS = 4
"""A differing range in which one side holds no more records than that is sent, not split."""

COMPARE_RANGES_MAX = 256
"""Ranges in one message."""

COMPARE_BYTES = 64 << 10
"""Bounds of ranges in one message, give or take one."""

COMPARE_KEYS_MAX = 1 << 15
"""Records that a receiver compares with one message, so that both sides compute at the same time
and none of it takes long."""

COMPARE_RANGE_KEYS_MAX = 1 << 16
"""Records of a range that a server looks at: no receiver has reason for larger ones."""

COMPARES_AHEAD_MAX = 4
"""Messages with ranges that a receiver sends before their verdicts have come."""

COMPARE_OPEN_MAX = 1 << 13
"""Stretches that are yet to be compared, in one round; a receiver that works off the smallest ones
first has far fewer."""

INBOX_MESSAGES_MAX = 64
INBOX_BYTES_MAX = QUEUE_CHUNKS_MAX * CHUNK_BYTES
"""What one peer may have sent that its conversation has not yet taken: no more is read beyond
either. One message may be larger."""

OUTBOX_MESSAGES_MAX = 64
"""Messages queued for one peer beyond which nothing more is taken from it: it asks without
reading. A peer that reads never has so many."""

WORKER_THREADS_MAX = 8
"""Threads of all conversations of a node that read, encode and decode."""

CONNECTIONS_PER_HOST_MAX = 64
"""Conversations that one IP address may have opened at a time."""

LOGGED_FAILURES_MAX = 1000
"""Failing peers whose last failure is remembered, so that it is logged once."""

CLAIM_SECONDS = 0.5
"""How long a claim waits for withheld dots that nobody is asked for (R5)."""

AHEAD_SECONDS = 0.05
"""How long it is left to the peer that was asked for writes of an origin to send the next ones as
well, though another has them already."""

COLLECT_ROWS_MAX = 4000
"""Rows of the index that one step of collecting reads."""

COLLECT_RECORDS_MAX = 500
"""Tombstones that one commit drops: it holds local writers up for some milliseconds."""

COLLECT_SHRUNK_MAX = 200
"""Records of several versions, or with a long context, that one step looks at."""

COLLECT_SHARE = 0.1
"""The part of one core that collecting takes at most while it finds nothing."""

COLLECT_SECONDS = 1.0
"""Pause between two passes of collecting."""

COLLECT_PATIENCE_SECONDS = 60.0
"""How long a watermark waits to be used, until all that it was taken from is known here (R8)."""

COLLECT_POLL_SECONDS = 0.25
"""How often it is looked whether that is so."""

PENDING_CLAIMS_MAX = 16
"""Claims that wait for withheld dots (R5); the oldest is given up beyond that."""

NAME_BYTES_MAX = 255
ADDRESS_BYTES_MAX = 300

LINKS_MAX = 1 << 11
"""Addresses that a node dials, beyond those that a person named."""

PROBES_MAX = 1 << 12
"""Addresses that are remembered as asked back already."""

FORGET_AFTER_LEAST = 3600.0
"""Least `forget_after`, in seconds: many heartbeats of a small cluster, three of any."""

MEMBERS_MAX = 1 << 14
"""Nodes that a node has ever heard of, forgotten ones included."""

MEMBERS_AT_ONCE_MAX = 256
"""Members that one message tells of."""

ADDRESSES_PER_MEMBER_MAX = 8
"""Addresses at which a member was reached, the newest ones."""

SECURED_BOUNDS_MAX = 1 << 16
"""Bounds of the dots that one peer waits for to become durable."""

ADDRESSES_READ_MAX = 4096
"""Addresses of one member in a message, beyond which the peer is dropped."""

ORIGINS_MAX = 1 << 20

TTL_SECONDS_MAX = 1e11
"""Longest time to live of a value: three thousand years. Longer is no expiry at all."""

SWEEP_SECONDS = 0.5
"""How often a node looks at the wall clock, while it holds values that expire: that may be set
forward or back, which no timer follows."""

SWEEP_BATCH_KEYS = 128
SWEEP_BATCH_BYTES = 256 << 10
"""Keys, and bytes of values, that one commit of a sweep rewrites while local writers wait."""

SWEEP_KEY_BYTES = 4 << 10
"""As how many bytes more a key counts whose value is read and written again."""

SWEEP_PAUSE_SECONDS = 0.0005
"""What a sweep leaves to local writers behind each commit."""

SWEEP_BATCHES_MAX = 64
"""Commits of a sweep at a time: a node that stops waits for no more."""

PAGE_ITEMS_MAX = 1000
"""Keys in one answer of a paged command."""

PAGE_BYTES = 1 << 20
"""Keys and values in one answer of a paged command, give or take one item."""

LOAD_BATCH_RECORDS = 500
"""Records that a load writes in one commit."""

LOAD_BATCH_BYTES = 1 << 20

REVISIT_ROWS_MAX = 2000
"""Index rows that are read for one commit when conflicts are looked at again."""

REVISIT_KEYS_MAX = 100
REVISIT_BYTES_MAX = 256 << 10
"""Keys in conflict that one such commit rewrites, and their values, give or take one key."""

REVISIT_RETRY_SECONDS = 5.0
"""Pause after such a commit has failed."""

BACKUP_BLOCK_BYTES = 256 << 10
"""What a backup puts into one block before it begins the next."""

BACKUP_PIECE_ROWS = 32
"""Rows that a backup reads at once: with values of the largest size, half a gigabyte."""

BACKUP_BLOCK_BYTES_MAX = 1 << 30
"""Largest block of a backup, unpacked."""

BACKUP_STEP_BYTES = 4 << 20
"""What a backup writes between two moments at which whoever asked for it hears of it."""

BACKUP_WALK_DOTS_MAX = 100_000
BACKUP_WALK_KEYS_BYTES = 64 << 20
"""An increment with at most so many new dots, whose keys take no more, is found in the log; a
larger one in the index."""

RESTORE_BUFFER_BYTES = 64 << 20
"""LevelDB's memtable during a restore."""

TOKEN_BYTES_MAX = 1 << 20
"""A token, before it is written as text."""

FEED_BATCH_ITEMS = 500
"""Items that a feed reads from one snapshot."""

FEED_BATCH_BYTES = 1 << 20
"""Keys and values that it reads from one snapshot, give or take one item."""

FEED_LOOKED_AT_MAX = 10_000
"""Rows that it looks at in one snapshot, whether they make an item or not."""

READ_AHEAD_ITEMS_MAX = 128
"""Entries that an iterator of a handle reads from LevelDB at once."""

READ_AHEAD_BYTES = 64 << 10
"""What they aim at together, judged by the last entry read before."""

EVENT_QUEUE_MAX = 10_000
"""Events waiting for slow callbacks; beyond that the oldest are dropped and counted."""


DISCOVERED_ADDRESSES_MAX = 1000
"""Addresses that one provider tells at a time; what it finds beyond is left out."""

DISCOVERY_RETRY_SECONDS = 1.0
"""First pause of a provider after a failure; it doubles up to the provider's interval."""

DISCOVERY_FILE_INTERVAL = 1.0
"""Seconds between two looks at a peers file."""

DISCOVERY_INTERVAL = 30.0
"""Seconds between two looks of a provider that asks somebody: DNS, a command, a function."""

PEERS_FILE_BYTES_MAX = 1 << 20

COMMAND_TIMEOUT = 10.0
"""Seconds that a command may take to print its addresses."""

COMMAND_OUTPUT_BYTES_MAX = 1 << 20

DNS_TIMEOUT = 5.0
"""Seconds for one question, all name servers and search domains together."""

DNS_QUESTIONS_MAX = 16
"""Questions that one provider has open at a time."""

MULTICAST_RETRY_SECONDS_MAX = 30.0
"""Longest pause before multicast is tried again where it did not work."""

MULTICAST_SERVICES_MAX = 1000
"""Announcements that are kept, those of other clusters and nonsense included."""

MULTICAST_ADDRESSES_MAX = 8
"""Addresses that one node announces."""

MULTICAST_INTERFACES_MAX = 16
"""Addresses of this machine on which multicast is used: Linux allows 20 memberships a socket."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set on one node, with the defaults. Times are in seconds.

    Attributes:
        host, port: where to listen; port 0 takes a free one, None does not listen.
        peers: static peers, ``host:port`` (IPv6 in brackets).
        discovery: providers of further peers (`replicator.discovery`); None stands for multicast.
        cluster: nodes of different cluster names never talk.
        name: what people call this node; None takes ``host:port`` of the listener.
        join_timeout: how long the first own write waits for an attempt to replicate.
        sync: whether every commit waits for the disk.
        sync_interval: how often a sync point is made while there are new commits.
        interval_min, interval_max: bounds of the pause between two conversations with a peer.
        holdoff_max: longest pause after failures with a peer (they double from interval_min).
        linger: how long an idle conversation stays open.
        keepalive: pause after which a silent conversation is probed; it is dropped after three.
        connect_timeout: limit for one attempt to connect and greet.
        reask_timeout: after which a dot asked from one peer is asked from another.
        atomic_round_bytes: largest round that becomes visible at once.
        resolver_timeout: how long a user's resolver may take for one key.
        clock_skew_max: how far ahead of the own clock a peer's timestamp is adopted, and own ones
            may lie when that is set back.
        fanout: conversations that are open, whoever dialled, when this node dials one more, and
            peers that it dials within a pause.
        connections_max: conversations that peers opened, at most.
        forget_after: seconds after which a member of which nothing was heard is forgotten (R10);
            None leaves that to people.
        dial_members: whether to dial the nodes that peers tell of, and to remember them.
        tls: the files of mutual TLS: ca, certificate, key, and revoked; None talks without.
        digest_interval: how often the data is compared with that of each peer, where something has
            changed (R16); 0 never does.
        insecure: whether to listen without TLS where others than this machine may connect.
    """

    host: str = HOST_DEFAULT
    port: int | None = PORT_DEFAULT
    peers: tuple[str, ...] = ()
    discovery: tuple[object, ...] | None = ()
    cluster: str = CLUSTER_DEFAULT
    name: str | None = None
    join_timeout: float = 2.0
    sync: bool = False
    sync_interval: float = 1.0
    interval_min: float = 0.05
    interval_max: float = 30.0
    holdoff_max: float = 30.0
    linger: float = 5.0
    keepalive: float = 10.0
    connect_timeout: float = 5.0
    reask_timeout: float = 10.0
    atomic_round_bytes: int = 64 << 10
    resolver_timeout: float = 1.0
    clock_skew_max: float = 3600.0
    fanout: int = 8
    connections_max: int = 256
    forget_after: float | None = None
    dial_members: bool = True
    tls: Mapping[str, str] | None = field(default=None)
    digest_interval: float = 3600.0
    insecure: bool = False
