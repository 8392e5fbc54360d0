"""Who has subscribed to what, and the way of a message to them.

Messages reach subscribers of this node alone. One that is published in a turn is put among the
replies of each subscriber, in its place between them, and goes out with them behind the turn's
commit; one of a transaction stands on that commit and goes nowhere if it fails.
"""

from collections import deque
from collections.abc import Iterator

from replicator.faces.redis.client import LISTENS, Client
from replicator.faces.redis.globs import Glob, glob
from replicator.faces.redis.limits import RESP_DELIVERIES_AT_ONCE, RESP_PATTERNS_MAX
from replicator.faces.resp import Push, encode
from replicator.faces.stepwise import CommandError

Subscribers = dict[Client, None]
"""A set that keeps the order."""


class Hub:
    """All subscriptions of one server. For the thread of the server.

    Attributes:
        touched: who has been given a message and may not have been sent it; nobody is in it twice.
        delivered: how many messages were given to a subscriber.
        is_full: whether so much was delivered in this turn that it is to end. The caller resets it.
    """

    def __init__(self) -> None:
        self.touched: deque[Client] = deque()
        self.delivered = 0
        self.is_full = False
        self._channels: dict[bytes, Subscribers] = {}
        self._patterns: dict[bytes, tuple[Glob, Subscribers]] = {}
        self._bound: list[tuple[list[bytes], int]] = []
        self._in_turn = 0

    @property
    def is_empty(self) -> bool:
        """Whether nobody has subscribed to anything."""
        return not self._channels and not self._patterns

    # Subscribing

    def subscribe(self, client: Client, channel: bytes) -> None:
        """From now on it gets what is published there. Idempotent."""
        client.channels[channel] = None
        self._channels.setdefault(channel, {})[client] = None
        self.settle(client)

    def unsubscribe(self, client: Client, channel: bytes) -> None:
        """The end of `subscribe`. Idempotent."""
        client.channels.pop(channel, None)
        subscribers = self._channels.get(channel)
        if subscribers is not None:
            subscribers.pop(client, None)
            if not subscribers:
                del self._channels[channel]
        self.settle(client)

    def subscribe_pattern(self, client: Client, pattern: bytes) -> None:
        """The same for all channels whose names match.

        Raises:
            CommandError: the pattern is too long, or there are too many of them.
        """
        if pattern not in self._patterns:
            if len(self._patterns) >= RESP_PATTERNS_MAX:
                raise CommandError(
                    f"ERR all clients together subscribe to {RESP_PATTERNS_MAX} patterns at most"
                )
            self._patterns[pattern] = glob(pattern), {}
        client.patterns[pattern] = None
        self._patterns[pattern][1][client] = None
        self.settle(client)

    def unsubscribe_pattern(self, client: Client, pattern: bytes) -> None:
        """The end of `subscribe_pattern`. Idempotent."""
        client.patterns.pop(pattern, None)
        if pattern in self._patterns:
            subscribers = self._patterns[pattern][1]
            subscribers.pop(client, None)
            if not subscribers:
                del self._patterns[pattern]
        self.settle(client)

    def forget(self, client: Client) -> None:
        """It is gone, or wants nothing more."""
        for channel in list(client.channels):
            self.unsubscribe(client, channel)
        for pattern in list(client.patterns):
            self.unsubscribe_pattern(client, pattern)

    @staticmethod
    def settle(client: Client) -> None:
        """Bring its mode up to date; call it also when its protocol has changed."""
        client.set_mode(LISTENS, bool(client.channels or client.patterns) and client.protocol == 2)

    # Looking

    def channels(self) -> Iterator[bytes]:
        """Channels that somebody has subscribed to by name."""
        return iter(self._channels)

    def count(self, channel: bytes) -> int:
        """How many have subscribed to a channel by name."""
        return len(self._channels.get(channel, ()))

    @property
    def pattern_count(self) -> int:
        """How many patterns somebody has subscribed to."""
        return len(self._patterns)

    # Publishing

    def publish(self, channel: bytes, message: bytes, *, is_bound: bool = False) -> int:
        """Give a message to all subscribers.

        Args:
            is_bound: whether it stands on the commit of this turn; see `withdraw`.

        Returns:
            How often it was given: to who has subscribed in several ways, as often.
        """
        count = 0
        subscribers = self._channels.get(channel)
        if subscribers:
            push = Push([b"message", channel, message])
            count += self._give(subscribers, push, is_bound)
        for pattern, (wanted, some) in self._patterns.items():
            if wanted.is_matched(channel):
                push = Push([b"pmessage", pattern, channel, message])
                count += self._give(some, push, is_bound)
        return count

    def begin_turn(self) -> None:
        """A turn begins: what was published before it stands."""
        self._bound.clear()
        self._in_turn = 0
        self.is_full = False

    def withdraw(self) -> None:
        """The commit of the turn has failed: what stands on it is not sent."""
        for parts, place in self._bound:
            parts[place] = b""
        self._bound.clear()

    def _give(self, subscribers: Subscribers, push: Push, is_bound: bool) -> int:
        encoded = {2: b"", 3: b""}
        for client in subscribers:
            data = encoded[client.protocol]
            if not data:
                data = encoded[client.protocol] = encode(push, client.protocol)
            client.push(data)
            if is_bound:
                parts = client.parts if client.slices is None else client.held_back
                self._bound.append((parts, len(parts) - 1))
            if not client.is_touched:
                client.is_touched = True
                self.touched.append(client)
        self.delivered += len(subscribers)
        self._in_turn += len(subscribers)
        self.is_full = self._in_turn > RESP_DELIVERIES_AT_ONCE
        return len(subscribers)
