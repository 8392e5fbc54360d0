"""Wrong passwords: counted for each address, and slower and slower from one that goes on.

A login from an address with wrong ones behind it waits before it is judged, a right one too:
otherwise it would pay to hang up early and try the next. Who has logged in is not slowed, nor are
other addresses; and since an application may share its address with whoever guesses, the wait is
never long.
"""

import logging
import socket
import time

from replicator.faces.redis.client import Client
from replicator.faces.redis.limits import (
    RESP_LOGIN_ADDRESSES_MAX,
    RESP_LOGIN_FREE,
    RESP_LOGIN_PARDON_SECONDS,
    RESP_LOGIN_WAIT_SECONDS,
    RESP_LOGIN_WAIT_SECONDS_MAX,
)
from replicator.faces.unixsocket import user_of

logger = logging.getLogger("replicator")


class Logins:
    """Counts wrong passwords. For one thread.

    Attributes:
        failures: how many there were.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._by_place: dict[str, tuple[int, float]] = {}

    def wait_seconds(self, client: Client) -> float:
        """How long a login of this client has to wait now."""
        excess = self._count(place_of(client)) - RESP_LOGIN_FREE
        if excess < 0:
            return 0.0
        wait: float = RESP_LOGIN_WAIT_SECONDS * 2 ** min(excess, 32)
        return min(wait, RESP_LOGIN_WAIT_SECONDS_MAX)

    def failed(self, client: Client) -> None:
        """A client has shown a wrong password."""
        self.failures += 1
        client.wrong_logins += 1
        place = place_of(client)
        count = self._count(place) + 1
        self._by_place.pop(place, None)
        self._by_place[place] = count, time.monotonic()  # the latest one is last
        if len(self._by_place) > RESP_LOGIN_ADDRESSES_MAX:
            del self._by_place[next(iter(self._by_place))]
        if count & (count - 1) == 0:  # 1, 2, 4, 8 …
            logger.warning("%s wrong passwords from %s so far", f"{count:,}", place)

    def _count(self, place: str) -> int:
        count, moment = self._by_place.get(place, (0, 0.0))
        return count if time.monotonic() - moment < RESP_LOGIN_PARDON_SECONDS else 0


def place_of(client: Client) -> str:
    """What counts as one address: a host, half of an IPv6 address, a user of this machine."""
    connection = client.connection
    if connection.family == socket.AF_UNIX:
        return f"user {user_of(connection)} of this machine"
    host = client.address.rpartition(":")[0].strip("[]")
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):  # an IPv4 address within an IPv6 one
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"
