"""Where clients of the server come in: listening sockets, and what happens when it is full."""

import errno
import logging
import os
import resource
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from replicator.faces.access import Role
from replicator.faces.redis.limits import RESP_ACCEPTS_AT_ONCE
from replicator.faces.resp import Failure, encode

logger = logging.getLogger("replicator")

_TOO_MANY = encode(Failure("ERR", "max number of clients reached"), 2)
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


def _anybody(_connection: socket.socket) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Entrance:
    """A listening socket.

    Attributes:
        listener: bound and listening; closed by the server.
        role: tells what a new client may do; None until it logs in.
        tls: where they must speak TLS.
        admits: whether a connection may stay.
    """

    listener: socket.socket
    role: Callable[[], Role | None]
    tls: ssl.SSLContext | None = None
    admits: Callable[[socket.socket], bool] = _anybody


class Entrances:
    """The entrances. For the thread of the server.

    Args:
        entrances: closed by `close`.
        epoll: in which they are registered, to be read from.

    Attributes:
        refused: how many were sent away because there were too many.
    """

    def __init__(self, entrances: list[Entrance], epoll: select.epoll) -> None:
        self.refused = 0
        self._epoll = epoll
        self._by_descriptor = {entrance.listener.fileno(): entrance for entrance in entrances}
        self._paused: list[int] = []
        self._spare = _spare()
        for descriptor, entrance in self._by_descriptor.items():
            entrance.listener.setblocking(False)
            epoll.register(descriptor, select.EPOLLIN)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._by_descriptor

    def let_in(
        self,
        descriptor: int,
        has_room: Callable[[], bool],
        welcome: Callable[[Entrance, socket.socket, object], None],
    ) -> None:
        """Accept who waits at a listening socket, up to `RESP_ACCEPTS_AT_ONCE`.

        Args:
            has_room: whether one more may stay.
            welcome: takes over one that may, its socket non-blocking, and its address.
        """
        entrance = self._by_descriptor[descriptor]
        for _ in range(RESP_ACCEPTS_AT_ONCE):
            try:
                connection, address = entrance.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR or not self._send_away(entrance.listener):
                    logger.warning("clients cannot be let in for a moment: %s", error)
                    self._pause(descriptor)
                    return
                continue
            connection.setblocking(False)
            if not has_room():
                self._refuse(connection)
            elif not entrance.admits(connection):
                logger.warning("a client of another user was refused")
                connection.close()
            else:
                welcome(entrance, connection, address)

    def resume(self) -> None:
        """Try again where nobody could be let in."""
        if self._spare is None:
            self._spare = _spare()
        paused, self._paused = self._paused, []
        for descriptor in paused:
            self._epoll.register(descriptor, select.EPOLLIN)

    def close(self) -> None:
        """Let nobody in any more. Idempotent."""
        self.resume()
        for descriptor, entrance in self._by_descriptor.items():
            self._epoll.unregister(descriptor)
            entrance.listener.close()
        self._by_descriptor.clear()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _send_away(self, listener: socket.socket) -> bool:
        """Refuse a client for which there is no descriptor: one is kept for that.

        Returns:
            Whether there was one.
        """
        if self._spare is None:
            return False
        os.close(self._spare)
        try:
            connection, _ = listener.accept()
            self._refuse(connection)
        except BlockingIOError:
            pass
        except OSError:
            return False
        finally:
            self._spare = _spare()
        return True

    def _refuse(self, connection: socket.socket) -> None:
        self.refused += 1
        connection.setblocking(False)
        with suppress(OSError):
            connection.send(_TOO_MANY)
        connection.close()

    def _pause(self, descriptor: int) -> None:
        """Let nobody in there until `resume`: the kernel says again and again that somebody
        waits."""
        self._epoll.unregister(descriptor)
        self._paused.append(descriptor)


def raise_descriptor_limit() -> None:
    """Let this process have as many file descriptors as it may: a client takes one. Before LevelDB
    is opened, which looks how many tables it may keep open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # a kernel that has no such number
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _spare() -> int | None:
    """A descriptor that can be given up; None where there is none."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
