"""Every limit and default of a client in one place, units in the names."""

CLIENT_SECONDS = 10.0
"""How long a call of a client looks for a daemon, or for a free connection."""

CLIENT_CATCH_UP_SECONDS = 5.0
"""How long a daemon that is new to a client may take to get what that has written elsewhere."""

CLIENT_CONNECTIONS_MAX = 16
"""Connections that a client has at a time."""

CLIENT_DIAL_SECONDS = 5.0
"""How long a daemon may take to connect and greet, each."""

CLIENT_HOME_SECONDS = 0.5
"""The same for one that is only looked at because it is liked better."""

CLIENT_ANSWER_SECONDS = 30.0
"""How long it may take to answer, beyond what it was asked to wait."""

CLIENT_SLICE_SECONDS = 10.0
"""How long a daemon is asked to wait at a time by a client that waits for longer."""

CLIENT_LOSSES_MAX = 4
"""How often the answer to one command may be lost."""

CLIENT_HOLDOFF_MIN = 0.1
CLIENT_HOLDOFF_MAX = 10.0
"""Shortest and longest pause after which a client tries a daemon again that has failed, seconds."""

CLIENT_TOKENS_MAX = 64
"""Tokens that a client keeps before it makes one of them."""

CLIENT_UPDATES_MAX = 200
"""How often a client reads and writes one key again because others wrote it in between."""

CLIENT_UPDATE_PAUSE_MAX = 0.05
"""Longest pause between two of them, in seconds."""
