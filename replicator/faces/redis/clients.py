"""All clients of the server and their sockets: reading, sending, hanging up."""

import logging
import os
import resource
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from replicator.faces.redis.client import STRANGER, Client
from replicator.faces.redis.entrances import Entrance, Entrances
from replicator.faces.redis.limits import (
    RESP_CLIENTS_MAX,
    RESP_DESCRIPTORS_LEFT,
    RESP_EVENTS_AT_ONCE,
    RESP_INPUT_ALL_BYTES_MAX,
    RESP_OUTPUT_ALL_BYTES_MAX,
    RESP_OUTPUT_BYTES_MAX,
    RESP_PUSHED_BYTES_MAX,
    RESP_STALL_SECONDS,
    RESP_STRANGER_BYTES_MAX,
    RESP_STRANGER_SECONDS,
)
from replicator.faces.redis.shared import Shared
from replicator.faces.resp import Failure, encode

logger = logging.getLogger("replicator")

_KEEPALIVE = ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 60), (socket.TCP_KEEPCNT, 3))
"""Who has vanished without a word is noticed after eight minutes."""
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_BROKEN = select.EPOLLHUP | select.EPOLLERR
_COME = _IN | _BROKEN
_LEFT = select.EPOLLRDHUP
_SOME_BYTES = 1 << 20


class Clients:
    """The clients. For the thread of the server.

    Args:
        shared: what they share.
        entrances: where they come in.
        clients_max: how many there may be, as far as there are file descriptors; it may be changed.

    Attributes:
        ready: those with requests, in the order of their turns.
        sliced: those with a command that goes on in slices.
        accepted: how many were let in.
        is_draining: whether nobody is let in and nothing is read any more.
        bytes_in, bytes_out: read and sent.
        waiting_bytes: what all of them have not yet read.
    """

    def __init__(
        self, shared: Shared, entrances: list[Entrance], clients_max: int = RESP_CLIENTS_MAX
    ) -> None:
        self.ready: deque[Client] = deque()
        self.sliced: deque[Client] = deque()
        self.accepted = self.bytes_in = self.bytes_out = self.waiting_bytes = 0
        self.clients_max = clients_max
        self._shared = shared
        shared.clients = self
        self._by_descriptor: dict[int, Client] = {}
        self._input_bytes = 0
        self.is_draining = False
        self._decrypted: list[Client] = []
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, _IN)
        self._entrances = Entrances(entrances, self._epoll)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._by_descriptor.values()))

    def __len__(self) -> int:
        return len(self._by_descriptor)

    @property
    def most(self) -> int:
        """How many there may be now."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            return self.clients_max
        return min(self.clients_max, descriptors - RESP_DESCRIPTORS_LEFT)

    @property
    def refused(self) -> int:
        """How many were sent away because there were too many."""
        return self._entrances.refused

    def _has_room(self) -> bool:
        return len(self) < self.most

    @property
    def descriptor(self) -> int:
        """It is readable when there is something to do for `look`."""
        return self._epoll.fileno()

    def ring(self) -> None:
        """Make `descriptor` readable. From any thread."""
        with suppress(BlockingIOError):
            os.eventfd_write(self._bell, 1)

    def look(self) -> bool:
        """See to every socket at which something has happened; whether there was any."""
        decrypted, self._decrypted = self._decrypted, []
        for client in decrypted:
            self._see_to(client, _IN)
        # After that: who was dropped there has left its descriptor to who comes next.
        events = self._epoll.poll(0, RESP_EVENTS_AT_ONCE)
        for descriptor, mask in events:
            found = self._by_descriptor.get(descriptor)
            if found is not None:
                self._see_to(found, mask)
            elif descriptor in self._entrances:
                self._entrances.let_in(descriptor, self._has_room, self._welcome)
            elif descriptor == self._bell:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
        return bool(events or decrypted)

    def _see_to(self, client: Client, mask: int) -> None:
        try:
            self._go_to(client, mask)
        except Exception:  # a mistake of ours: it ends one client, not all
            logger.exception("client %s is disconnected", client.address)
            self.drop(client)

    def _go_to(self, client: Client, mask: int) -> None:
        if mask & _OUT:
            self.flush(client)
        if client.is_gone:
            return
        if client.events & _IN:
            if mask & _COME and not client.requests:  # what comes meanwhile waits in the kernel
                self._receive(client)
        elif mask & (_BROKEN | _LEFT) and not client.is_ready:
            # It has left, both ways, while a command of it goes on or replies wait. The kernel
            # says so again and again. Who hung up before its turn came is heard out.
            self.drop(client)

    def begin_drain(self) -> None:
        """Let nobody in, and read no more requests."""
        self._entrances.close()
        self.is_draining = True
        for client in self:
            self.settle(client)

    @property
    def are_occupied(self) -> bool:
        """Whether any client has requests that have not ended, or replies to read."""
        return any(client.requests or client.is_busy or client.waiting_bytes for client in self)

    def _welcome(self, entrance: Entrance, connection: socket.socket, address: object) -> None:
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in _KEEPALIVE:
                    connection.setsockopt(socket.IPPROTO_TCP, option, value)
            if entrance.tls is not None:
                connection = entrance.tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
        except OSError:  # it went away
            connection.close()
            return
        self.accepted += 1
        client = Client(self._shared, self.accepted, connection, _place(address), entrance.role())
        self._by_descriptor[client.descriptor] = client
        client.events = _IN
        self._epoll.register(client.descriptor, _IN)

    # Reading

    def _receive(self, client: Client) -> None:
        try:
            data = client.read()
        except (OSError, ValueError):
            self.drop(client)
            return
        if data is None:
            return
        if not data:
            client.is_at_end = True
            self.settle(client)
            return
        self.bytes_in += len(data)
        client.active = time.monotonic()
        reader = client.reader
        before = reader.held
        client.requests.extend(reader.feed(data))
        self._input_bytes += reader.held - before
        if reader.held > before:
            self._bound(client)
        if client.requests:
            self.make_ready(client)
        elif reader.error is not None:
            self.settle(client)
        elif client.has_more:
            self._decrypted.append(client)

    def _bound(self, client: Client) -> None:
        """Hang up where too much was begun and not ended."""
        held = client.reader.held
        if client.mode & STRANGER and held > RESP_STRANGER_BYTES_MAX:
            self.hang_up(client, Failure("NOAUTH", "Authentication required."))
        elif self._input_bytes > RESP_INPUT_ALL_BYTES_MAX and held > _SOME_BYTES:
            self.hang_up(client, Failure("ERR", "too many large requests at the same time"))

    def make_ready(self, client: Client) -> None:
        """Put it into the queue of what it has to do, where it may."""
        if client.is_ready or client.is_stuffed:
            return
        if client.slices is not None:
            client.is_ready = True
            self.sliced.append(client)
        elif client.requests and not client.is_busy and not client.closing:
            client.is_ready = True
            self.ready.append(client)

    # Sending

    def flush(self, client: Client) -> None:
        """Send what the kernel takes, and see what follows from that. Not for who has left."""
        if client.is_gone:
            return
        before = client.waiting_bytes
        try:
            self.bytes_out += client.send()
        except (OSError, ValueError):
            self.waiting_bytes += client.waiting_bytes - before
            self.drop(client)
            return
        self.waiting_bytes += client.waiting_bytes - before
        if client.pushed_bytes and not self._keeps_up(client):
            return
        self.settle(client)

    def _keeps_up(self, client: Client) -> bool:
        """Whether a subscriber reads its messages; who does not is disconnected."""
        if not client.waiting_bytes:
            client.pushed_bytes = 0
        elif (
            client.pushed_bytes > RESP_PUSHED_BYTES_MAX
            or self.waiting_bytes > RESP_OUTPUT_ALL_BYTES_MAX
        ):
            logger.warning("client %s does not read its messages", client.address)
            self.drop(client)
            return False
        return True

    def settle(self, client: Client) -> None:
        """Bring up to date what is waited for, whether it may go on, and whether it may stay."""
        if client.is_gone:
            return
        waiting = client.waiting_bytes
        client.is_stuffed = waiting > RESP_OUTPUT_BYTES_MAX or (
            waiting > 0 and self.waiting_bytes > RESP_OUTPUT_ALL_BYTES_MAX
        )
        if not client.requests and not client.is_busy:
            error = client.reader.error
            if error is not None and not client.closing:
                self.hang_up(client, Failure("ERR", f"Protocol error: {error}"))
                return
            if (client.closing or client.is_at_end) and not waiting and not client.parts:
                self.drop(client)
                return
        events = _OUT if waiting else 0
        if client.scope is not None:  # it may wait for ever, if only for its own end
            events |= _LEFT
        if not (
            client.is_busy
            or client.is_at_end
            or client.is_stuffed
            or client.closing
            or self.is_draining
        ):
            events |= _IN
        if events != client.events:
            client.events = events
            self._epoll.modify(client.descriptor, events)
        if client.has_more and events & _IN and not client.requests:
            self._decrypted.append(client)
        self.make_ready(client)

    def hang_up(self, client: Client, why: Failure) -> None:
        """Say why, and disconnect when that has been read."""
        client.closing = True
        client.requests.clear()
        client.parts.append(encode(why, client.protocol))
        self.flush(client)

    def drop(self, client: Client) -> None:
        """Disconnect at once. Idempotent."""
        if client.is_gone:
            return
        del self._by_descriptor[client.descriptor]
        with suppress(OSError, ValueError):
            self._epoll.unregister(client.descriptor)
        self._input_bytes -= client.reader.held
        self.waiting_bytes -= client.waiting_bytes
        client.disconnect()

    def tidy(self) -> None:
        """Disconnect who has not logged in for too long, and who reads nothing of what waits; let
        in again where that had failed."""
        self._entrances.resume()
        now = time.monotonic()
        idle_seconds = self._shared.idle_seconds
        for client in self:
            if client.waiting_bytes and now - client.moved > RESP_STALL_SECONDS:
                logger.warning("client %s reads nothing of what it asked for", client.address)
                self.drop(client)
            elif (now - client.since > RESP_STRANGER_SECONDS and client.is_stranger) or (
                idle_seconds and now - client.active > idle_seconds and client.is_idle
            ):
                self.drop(client)

    def close(self) -> None:
        """Disconnect everybody and close all."""
        self._entrances.close()
        for client in self:
            self.drop(client)
        self._epoll.close()
        os.close(self._bell)


def _place(address: object) -> str:
    """Where a client comes from, for people."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "unix socket"
