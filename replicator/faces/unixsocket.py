"""The daemon's Unix socket in the data directory: its path, of any length, and who may connect.

It lies in ``DIR/replicator``, a directory of our own that LevelDB leaves alone, as it does every
name it does not know. Whoever reaches the socket may read and write everything: the directory
is closed to others (0700), the socket is its owner's (0600), and the kernel tells the peer's
user (SO_PEERCRED).

A socket's address holds 107 bytes of path. A longer one is reached through a descriptor of the
directory: ``/proc/self/fd/N/daemon.sock`` is the same file under a short name, for `bind` as
for `connect`, and no other thread notices as one would a change of directory.
"""

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from replicator.errors import StorageError, UsageError

DIRECTORY_NAME = "replicator"
SOCKET_NAME = "daemon.sock"

_PATH_BYTES_MAX = 107
_CREDENTIALS = struct.Struct("3i")


class HasOptions(Protocol):
    """A socket of the standard library or of trio."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def connect(data: Path, timeout: float) -> socket.socket | None:
    """Connect to the daemon that runs on a data directory.

    Args:
        timeout: seconds, for this and every later use of the socket.

    Returns:
        None where none runs: there is no socket, or a killed daemon left it behind.

    Raises:
        UsageError: the socket belongs to another user.
        OSError: anything else; BlockingIOError where the daemon is overrun.
    """
    try:
        return connect_to(data / DIRECTORY_NAME / SOCKET_NAME, timeout)
    except PermissionError as error:
        raise UsageError(
            f"{data} belongs to another user: run this command as the user of the daemon"
        ) from error
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None


def connect_to(path: Path, timeout: float) -> socket.socket:
    """Connect to a socket wherever it lies.

    Args:
        timeout: seconds, for this and every later use of the socket.

    Raises:
        OSError: it cannot be reached; BlockingIOError where the daemon is overrun.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        with _short_path(path) as short:
            connection.connect(short)
    except BaseException:
        connection.close()
        raise
    return connection


def listen(data: Path, backlog: int) -> socket.socket:
    """Listen on the data directory's socket, for its owner alone.

    The caller holds the LevelDB's lock: a socket that is there was left by a killed daemon, and
    is replaced.

    Raises:
        StorageError: the socket cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        directory = _closed_directory(data)
        remove(data)
        with _short_path(directory / SOCKET_NAME) as path:
            listener.bind(path)
            Path(path).chmod(0o600)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise StorageError(f"{data / DIRECTORY_NAME / SOCKET_NAME}: {error.strerror}") from error
    return listener


def remove(data: Path) -> None:
    """Remove the data directory's socket, if there is one.

    Raises:
        OSError: it cannot be removed.
    """
    (data / DIRECTORY_NAME / SOCKET_NAME).unlink(missing_ok=True)


def peer_is_allowed(connection: HasOptions) -> bool:
    """Whether the process at the other end runs as this process's user, or as root."""
    return user_of(connection) in (0, os.geteuid())


def user_of(connection: HasOptions) -> int:
    """The number of the user as whom the process at the other end runs."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(credentials)
    user: int = uid
    return user


def _closed_directory(data: Path) -> Path:
    directory = data / DIRECTORY_NAME
    directory.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(directory.stat().st_mode) != 0o700:
        directory.chmod(0o700)
    return directory


@contextmanager
def _short_path(socket_path: Path) -> Iterator[str]:
    """A path of a socket that fits an address, while the context is open."""
    path = socket_path.absolute()
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
