"""What other replicators stumble over, each by name, with real nodes over loopback TCP."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator import Replica, Version, replicate
from tests.faces.waiting import until


class Nodes:
    """Nodes by name, each in a directory of its own."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack

    def start(self, name: str, *peers: Replica, **options: Any) -> Replica:
        """Start, or start again, the node of a directory, with these nodes as its peers."""
        db = plyvel.DB(str(self.directory / name), create_if_missing=True)
        return self._stack.enter_context(
            replicate(
                db,
                **{"port": 0, "name": name, "interval_max": 0.5, "join_timeout": 0.2, **options},
                peers=[str(peer.address) for peer in peers],
            )
        )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path, stack)


def agree(*replicas: Replica) -> Callable[[], bool]:
    """Whether all know the same and so hold the same."""

    def so() -> bool:
        first = replicas[0].known()
        return all(replica.known() == first for replica in replicas[1:])

    return so


def settle(*replicas: Replica) -> None:
    until(agree(*replicas))
    assert len({replica.digest() for replica in replicas}) == 1
    assert len({tuple(replica) for replica in replicas}) == 1


def test_more_than_120_writes_before_a_first_contact(nodes: Nodes) -> None:
    a = nodes.start("a")
    for number in range(1200):
        a.put(b"%04d" % number, b"v")
    b = nodes.start("b", a)
    settle(a, b)
    assert sum(1 for _ in b) == 1200


def test_a_writer_that_restarts_is_still_read(nodes: Nodes) -> None:
    a = nodes.start("a")
    b = nodes.start("b", a)
    a.put(b"before", b"1")
    settle(a, b)
    address = str(a.address)
    a.close()
    a = nodes.start("a", port=int(address.rpartition(":")[2]))
    a.put(b"after", b"2")
    a.put(b"before", b"3")
    settle(a, b)
    assert dict(b) == {b"after": b"2", b"before": b"3"}


@pytest.mark.parametrize("writers", [(0,), (3,), (0, 1, 2, 3)])
def test_a_line_of_four_nodes_converges(nodes: Nodes, writers: tuple[int, ...]) -> None:
    line: list[Replica] = []
    for name in "abcd":
        line.append(nodes.start(name, *line[-1:]))
    for number in range(50):
        for writer in writers:
            line[writer].put(b"%d:%d" % (writer, number), b"v")
            line[writer].put(b"shared", b"%d" % writer)
    settle(*line)
    assert sum(1 for _ in line[3]) == 50 * len(writers) + 1


def test_concurrent_puts_of_one_key_end_alike_and_lose_nothing(nodes: Nodes) -> None:
    a, b, c = nodes.start("a"), nodes.start("b"), nodes.start("c")
    for replica, value in ((a, b"from a"), (b, b"from b"), (c, b"from c")):
        replica.put(b"k", value)
    b.add_peer(str(a.address))
    c.add_peer(str(b.address))
    settle(a, b, c)
    for replica in (a, b, c):
        assert {one.value for one in replica.versions(b"k")} == {b"from a", b"from b", b"from c"}
        assert len(list(replica.conflicts())) == 1


def test_a_resolver_on_put_against_delete(nodes: Nodes) -> None:
    def deletes_win(a: Version, b: Version) -> bool:
        return a.is_delete and not b.is_delete

    a = nodes.start("a", resolver=deletes_win)
    b = nodes.start("b", resolver=deletes_win)
    a.put(b"k", b"v1")
    b.add_peer(str(a.address))
    settle(a, b)
    b.remove_peer(str(a.address))
    b.close()
    a.put(b"k", b"v2")
    a.put(b"k", b"v3")
    b = nodes.start("b", resolver=deletes_win, port=None)
    b.delete(b"k")
    assert a.get(b"k") == b"v3"
    b.add_peer(str(a.address))
    settle(a, b)
    assert a.get(b"k") is None and b.get(b"k") is None
    assert [one.is_delete for one in a.versions(b"k")] == [True, False]


def test_a_put_then_a_delete_before_a_first_contact(nodes: Nodes) -> None:
    a = nodes.start("a")
    a.put(b"gone", b"v")
    a.delete(b"gone")
    a.put(b"here", b"v")
    b = nodes.start("b", a)
    settle(a, b)
    assert dict(b) == {b"here": b"v"}
    assert [one.is_delete for one in b.versions(b"gone")] == [True]


def test_local_writes_during_a_conversation_are_kept(nodes: Nodes) -> None:
    a = nodes.start("a")
    with a.write_batch() as batch:
        for number in range(20_000):
            batch.put(b"%05d" % number, b"theirs")
    b = nodes.start("b", a)
    for number in range(0, 20_000, 100):
        b.put(b"%05d" % number, b"ours")
    settle(a, b)
    for number in range(0, 20_000, 100):
        values = {one.value for one in b.versions(b"%05d" % number)}
        assert b"ours" in values


def test_a_cut_after_the_first_chunk_costs_nothing(nodes: Nodes) -> None:
    a = nodes.start("a")
    with a.write_batch() as batch:
        for number in range(20_000):
            batch.put(b"%05d" % number, b"x" * 100)
    b = nodes.start("b", a)
    until(lambda: b.known().count() >= 500)
    b.close()
    b = nodes.start("b")
    kept = b.known().count()
    assert kept >= 500
    b.add_peer(str(a.address))
    settle(a, b)
    assert sum(1 for _ in b) == 20_000
    assert sum(peer.records_in for peer in b.status().peers) <= 20_000 - kept


def test_concurrent_writers_in_one_process(nodes: Nodes) -> None:
    a = nodes.start("a")
    b = nodes.start("b", a)

    def write(number: int) -> None:
        for count in range(300):
            a.put(b"shared", b"%d:%d" % (number, count))
            a.put(b"%d:%d" % (number, count), b"v")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(a, b)
    assert sum(1 for _ in b) == 4 * 300 + 1
    assert a.versions(b"shared")[0].clock == 4 * 300 - 1
    assert list(b.conflicts()) == []


def test_a_copied_data_directory_writes_under_an_origin_of_its_own(nodes: Nodes) -> None:
    a = nodes.start("a")
    a.put(b"k", b"v")
    a.close()
    shutil.copytree(nodes.directory / "a", nodes.directory / "copy")
    a, copy = nodes.start("a"), nodes.start("copy")
    a.put(b"k", b"original's")
    copy.put(b"k", b"copy's")
    assert a.origin != copy.origin
    copy.add_peer(str(a.address))
    settle(a, copy)
    assert {one.value for one in a.versions(b"k")} == {b"original's", b"copy's"}


def test_existing_data_from_before_wrapping(nodes: Nodes) -> None:
    for name in ("a", "b"):
        with plyvel.DB(str(nodes.directory / name), create_if_missing=True) as db:
            for number in range(2000):
                db.put(b"%04d" % number, b"v")
            db.put(name.encode(), b"only here")
    a = nodes.start("a")
    b = nodes.start("b", a)
    settle(a, b)
    assert sum(1 for _ in a) == 2002
    assert list(a.conflicts()) == []


def test_a_key_deleted_while_a_node_was_away_stays_deleted(nodes: Nodes) -> None:
    a = nodes.start("a")
    b = nodes.start("b", a)
    a.put(b"k", b"v")
    settle(a, b)
    b.close()
    a.delete(b"k")
    b = nodes.start("b", a)
    b.put(b"other", b"v")
    settle(a, b)
    assert a.get(b"k") is None and b.get(b"k") is None
    assert list(a.conflicts()) == []
