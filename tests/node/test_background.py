"""A node in its own thread: starts or says why not, stops, and never outlives the program."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from replicator.background import NodeThread
from replicator.errors import UsageError
from replicator.events import Events
from replicator.node import Node
from replicator.store.store import Store

from .peers import SETTINGS, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    db, store = open_store(tmp_path / "a")
    yield store
    store.close()
    db.close()


def make(store: Store, **changes: object) -> tuple[Node, NodeThread]:
    node = Node(store, replace(SETTINGS, **changes), Events())  # type: ignore[arg-type]
    return node, NodeThread(node)


def test_it_starts_and_stops(store: Store) -> None:
    node, thread = make(store, name="a")
    thread.start()
    names = [one.name for one in threading.enumerate()]
    assert "replicator a" in names
    assert node.status().running
    node.add_peer("127.0.0.1:1")
    assert [peer.address for peer in node.status().peers] == ["127.0.0.1:1"]
    assert not node.sync(10)
    assert thread.stop()
    assert thread.stop()
    assert not node.status().running
    assert "replicator a" not in [one.name for one in threading.enumerate()]


def test_it_is_no_daemon_and_named_after_its_address(store: Store) -> None:
    node, thread = make(store)
    thread.start()
    (own,) = [one for one in threading.enumerate() if one.name == f"replicator {node.address}"]
    assert not own.daemon
    assert thread.stop()


def test_what_keeps_it_from_starting_is_raised_in_start(store: Store, tmp_path: Path) -> None:
    node, thread = make(store)
    thread.start()
    assert node.address is not None
    db, other = open_store(tmp_path / "b")
    _, failing = make(other, port=node.address.port)
    with pytest.raises(UsageError, match="the port is in use"):
        failing.start()
    assert failing.stop()
    assert thread.stop()
    other.close()
    db.close()


def test_it_starts_once(store: Store) -> None:
    _, thread = make(store)
    assert thread.stop(), "there is nothing to stop"
    thread.start()
    with pytest.raises(UsageError, match="starts once"):
        thread.start()
    assert thread.stop()


def test_a_node_that_fails_is_logged_and_lets_writers_in(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node, thread = make(store, name="a", peers=("127.0.0.1:1",))

    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(node, "_drain", fail)
    thread.start()
    assert thread.stop()
    assert "a: the node has failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    store.put(b"key", b"value")


def test_status_within_update_is_refused_instead_of_hanging(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicator.peers.loopcalls.ANSWER_SECONDS", 0.05)
    node, thread = make(store)
    thread.start()
    with pytest.raises(UsageError, match="outside of update"):
        store.update(b"key", lambda versions: str(node.status()).encode())
    assert node.status().running
    assert thread.stop()


def test_a_program_that_forgets_to_stop_it_ends(tmp_path: Path) -> None:
    program = (
        "import plyvel, sys\n"
        "from replicator.background import NodeThread\n"
        "from replicator.config import Settings\n"
        "from replicator.events import Events\n"
        "from replicator.node import Node\n"
        "from replicator.store.store import Store\n"
        "db = plyvel.DB(sys.argv[1], create_if_missing=True)\n"
        "settings = Settings(port=0)\n"
        "store = Store.open(db, settings=settings)\n"
        "NodeThread(Node(store, settings, Events())).start()\n"
        "store.put(b'key', b'value')\n"
        "print('end of the main thread')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "db")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "end of the main thread\n"
