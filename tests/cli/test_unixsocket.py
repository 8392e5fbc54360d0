"""The socket in the data directory: any path length, its owner's alone, stale ones replaced."""

import os
import socket
import stat
import struct
from pathlib import Path

import plyvel
import pytest

from replicator.errors import StorageError, UsageError
from replicator.faces import unixsocket
from replicator.faces.unixsocket import DIRECTORY_NAME, SOCKET_NAME


def exchange(data: Path) -> bytes:
    """What a client hears from a server on the directory's socket."""
    with unixsocket.listen(data, 1) as listener:
        client = unixsocket.connect(data, 5)
        assert client is not None
        server, _ = listener.accept()
        with client, server:
            server.sendall(b"hello")
            return client.recv(5)


@pytest.mark.parametrize("length", [10, 80, 106, 107, 108, 109, 200, 3000])
def test_paths_of_any_length(tmp_path: Path, length: int) -> None:
    data = tmp_path
    while len(str(data)) < length:
        data /= "d" * min(200, max(1, length - len(str(data)) - 1))
    data.mkdir(parents=True, exist_ok=True)
    assert exchange(data) == b"hello"


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    assert exchange(Path("data")) == b"hello"


def test_only_the_owner_gets_in(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY_NAME).mkdir(mode=0o755)
    with unixsocket.listen(tmp_path, 1):
        directory = tmp_path / DIRECTORY_NAME
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / SOCKET_NAME).stat().st_mode) == 0o600


def test_a_stale_socket_is_nobody_and_is_replaced(tmp_path: Path) -> None:
    unixsocket.listen(tmp_path, 1).close()
    assert (tmp_path / DIRECTORY_NAME / SOCKET_NAME).exists()
    assert unixsocket.connect(tmp_path, 1) is None
    assert exchange(tmp_path) == b"hello"


def test_nobody_is_there(tmp_path: Path) -> None:
    assert unixsocket.connect(tmp_path, 1) is None
    assert unixsocket.connect(tmp_path / "missing", 1) is None
    (tmp_path / "file").touch()
    assert unixsocket.connect(tmp_path / "file", 1) is None


def test_removing_is_idempotent(tmp_path: Path) -> None:
    unixsocket.listen(tmp_path, 1).close()
    unixsocket.remove(tmp_path)
    unixsocket.remove(tmp_path)
    assert not (tmp_path / DIRECTORY_NAME / SOCKET_NAME).exists()


def test_a_socket_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY_NAME).touch()
    with pytest.raises(StorageError, match=r"daemon\.sock: File exists"):
        unixsocket.listen(tmp_path, 1)


def test_a_socket_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(UsageError, match="as the user of the daemon"):
        unixsocket.connect(tmp_path, 1)


class Peer:
    """A connection from a process of some user."""

    def __init__(self, uid: int) -> None:
        self.uid = uid

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", 1, self.uid, 1)


def test_who_may_connect() -> None:
    assert unixsocket.peer_is_allowed(Peer(os.geteuid()))
    assert unixsocket.peer_is_allowed(Peer(0))
    assert not unixsocket.peer_is_allowed(Peer(os.geteuid() + 4242))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert unixsocket.peer_is_allowed(ours)


def test_leveldb_leaves_the_directory_alone(tmp_path: Path) -> None:
    with unixsocket.listen(tmp_path, 1):
        for turn in range(3):
            with plyvel.DB(str(tmp_path), create_if_missing=True) as db:
                db.put(b"turn", b"%d" % turn)
                db.compact_range()
        plyvel.repair_db(str(tmp_path))
        with plyvel.DB(str(tmp_path)) as db:
            assert db.get(b"turn") == b"2"
        assert (tmp_path / DIRECTORY_NAME / SOCKET_NAME).exists()
