"""Every limit and interval of the Redis server in one place, units in the names."""

RESP_ARGUMENTS_MAX = 1 << 20
"""Arguments of one request to the daemon."""

RESP_REQUEST_BYTES_MAX = 64 << 20
"""All arguments of one request together: four of the largest values."""

RESP_INLINE_BYTES_MAX = 64 << 10
"""Longest line of a request that a person types."""

RESP_READ_BYTES = 64 << 10
"""What is read from a client at once; its requests are answered before the next read."""

RESP_SENT_BYTES_MAX = 1 << 20
"""What is sent to a client at once of what waits for it; then others have their turn."""

RESP_CLIENTS_MAX = 10_000
"""Clients of the daemon on all its sockets at a time, unless somebody says otherwise, and as far as
there are file descriptors."""

RESP_BACKLOG = 1024
"""Clients that the kernel keeps until they are let in."""

RESP_DESCRIPTORS_LEFT = 256
"""File descriptors that clients leave to LevelDB, to peers and to HTTP."""

RESP_ACCEPTS_AT_ONCE = 64
"""Clients that are let in between two turns."""

RESP_TURN_SECONDS = 0.002
"""After that a turn ends, though there are more requests: other clients and peers wait."""

RESP_TURN_WRITES_MAX = 1000
"""The same for keys that it writes: the commit, which takes several times as long as the commands,
is one step. Give or take one command."""

RESP_SLICE_SECONDS = 0.001
"""How long the commands that take long, all clients together, go on between two turns."""

RESP_REQUESTS_AT_ONCE = 64
"""Requests of one client that are run without a look at the clock."""

RESP_EVENTS_AT_ONCE = 256
"""Clients whose sockets are looked at for one turn."""

RESP_OUTPUT_BYTES_MAX = 64 << 20
"""Replies that wait for a client to read them, beyond which nothing more is run for it. A client
that sends a long pipeline before it reads needs room for all of the replies."""

RESP_OUTPUT_ALL_BYTES_MAX = 512 << 20
"""The same for all clients together: beyond that, nothing more is run for who does not read."""

RESP_PUSHED_BYTES_MAX = 32 << 20
"""Messages that wait for a subscriber to read them, beyond which it is disconnected."""

RESP_INPUT_ALL_BYTES_MAX = 256 << 20
"""Requests that have begun and not ended, all clients together. Beyond that, the client with more
than its share is disconnected."""

RESP_STRANGER_BYTES_MAX = 16 << 10
"""The same for a client that has not logged in."""

RESP_STRANGER_READ_BYTES = 1 << 10
"""What is read at once from such a client: two bytes can be a request, which takes a hundred."""

RESP_STRANGER_SECONDS = 30.0
"""How long a client may take to log in, or to complete the TLS handshake."""

RESP_STALL_SECONDS = 60.0
"""How long a client may read nothing of what waits for it."""

RESP_THREADS_MAX = 64
"""Commands at a time that wait for the disk or for peers; further ones queue."""

RESP_DRAIN_SECONDS = 5.0
"""How long a daemon that closes lets running commands end and replies be read."""

RESP_TRANSACTION_WORDS_MAX = 50_000
"""Words of all requests of one transaction, such as ten thousand of SET k v EX s. They are run in
one go, while other clients wait."""

RESP_TRANSACTION_BYTES_MAX = 64 << 20
"""The same in bytes."""

RESP_TRANSACTION_RESULTS_BYTES_MAX = 64 << 20
"""Replies of one transaction, and the values that it writes, give or take one of them. Requests
behind that answer with an error."""

RESP_WATCHED_MAX = 1000
"""Keys that one client may watch."""

RESP_SUBSCRIPTIONS_MAX = 10_000
"""Channels and patterns that one client may subscribe to."""

RESP_PATTERNS_MAX = 10_000
"""Different patterns that all clients together may subscribe to: each message is held against all
of them."""

RESP_DELIVERIES_AT_ONCE = 1000
"""Messages given to subscribers, each counted for each of them, beyond which a turn ends."""

RESP_PUSH_SECONDS = 0.001
"""How long messages are sent, and notifications made, between two turns."""

RESP_NOTIFICATIONS_MAX = 100_000
"""Keyspace notifications that wait to be published, beyond which the oldest are dropped."""

RESP_LOGIN_FREE = 3
"""Wrong passwords from one address before its next login has to wait."""

RESP_LOGIN_WAIT_SECONDS = 0.05
"""How long that waits; each further wrong one doubles it."""

RESP_LOGIN_WAIT_SECONDS_MAX = 2.0
"""The longest that a login waits."""

RESP_LOGIN_PARDON_SECONDS = 60.0
"""Without another wrong password for so long, an address begins anew."""

RESP_LOGIN_ADDRESSES_MAX = 10_000
"""Addresses whose wrong passwords are told apart, the latest ones."""

RESP_LOGINS_WRONG_MAX = 10
"""Wrong passwords of one client, after which it is disconnected."""

RESP_WAIT_ASK_SECONDS = 0.1
"""How long WAIT for no replica waits for peers to say what they hold."""

RESP_NAME_BYTES_MAX = 256
"""What a client calls itself, or its library."""

RESP_WORK_AT_ONCE = 100
"""Items that a command which goes on in slices looks at between two looks at the clock."""

RESP_KEYS_AT_ONCE = 1000
"""Keys of one command up to which it is run in its turn, reads one moment and is one commit. With
more it goes on in slices."""

RESP_VALUES_AT_ONCE_BYTES = 4 << 20
"""The same for what it writes or reads."""

RESP_WRITES_KEYS = 50
RESP_WRITES_BYTES = 256 << 10
"""Keys and bytes of one commit of a command that goes on in slices, give or take one key."""

RESP_SCAN_KEYS = 512
RESP_SCAN_BYTES = 256 << 10
"""Keys, and their bytes or those of their values, that are read at once by commands that go through
many, give or take one key."""

RESP_ASIDE_SECONDS = 0.0005
"""How long the loop waits for such a batch before it goes on with other clients."""

RESP_ASIDE_THREADS_MAX = 8
"""Threads that read such batches."""

RESP_WRITES_PAUSE_BYTES = 1 << 20
"""What such a command writes before it looks whether LevelDB keeps up with it."""

RESP_SCAN_HELD_BYTES = 1 << 20
"""Keys that KEYS keeps while it counts them; with more it reads them a second time. What SCAN looks
at in one call, whatever its COUNT."""

RESP_PATTERN_BYTES_MAX = 1024
"""Longest pattern of KEYS and SCAN: a key is matched in a time that grows with both lengths."""

RESP_CURSORS_MAX = 10_000
RESP_CURSORS_BYTES_MAX = 16 << 20
"""Cursors of SCAN that are remembered, and the keys that they stand for; those that were used
longest ago are forgotten."""
