"""Handles that find each other: by multicast, which is the default, and by what others tell."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import plyvel
import pytest

from replicator import discovery
from replicator.errors import ConfigError, PeerError
from replicator.faces import library
from replicator.faces.handle import Replica
from replicator.faces.library import replicate

from .waiting import until

DEFAULT = library.DISCOVERY_DEFAULT


@pytest.fixture
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Replica]:
    """Makes nodes of a cluster of this test's own, closed in the end."""
    stack = ExitStack()
    request.addfinalizer(stack.close)

    def node(name: str, **keywords: Any) -> Replica:
        db = plyvel.DB(str(tmp_path / name), create_if_missing=True)
        cluster = f"{request.node.name}-{tmp_path.name}-{time.time_ns()}"[:200]
        given = {"cluster": clusters.setdefault("name", cluster), "name": name, "port": 0}
        return stack.enter_context(replicate(db, **(given | keywords)))

    clusters: dict[str, str] = {}
    return node


def test_the_default_is_multicast() -> None:
    assert [provider.name for provider in DEFAULT] == ["multicast"]


def test_two_nodes_of_one_machine_find_each_other_with_no_list(
    node: Callable[..., Replica],
) -> None:
    a = node("a", discovery=DEFAULT)
    b = node("b", discovery=DEFAULT)
    a.put(b"from a", b"1")
    b.put(b"from b", b"2")
    until(lambda: list(a) == list(b) == [(b"from a", b"1"), (b"from b", b"2")])
    for one in (a, b):
        until(lambda one=one: one.status().discovery == {"multicast": "1 found"})


def test_one_seed_address_is_enough_and_the_list_survives(
    node: Callable[..., Replica], tmp_path: Path
) -> None:
    """B, C and D name A only; when A is gone, they still find each other, after a restart too."""
    a = node("a", linger=0.2)
    seed = [str(a.address)]
    b, c = node("b", peers=seed, linger=0.2), node("c", peers=seed, linger=0.2)
    until(lambda: all(len(one.members()) == 3 for one in (a, b, c)))
    until(lambda: all(len(row.addresses) == 1 for one in (a, b, c) for row in one.members()))
    a.close()
    b.put(b"key", b"value")
    until(lambda: c.get(b"key") == b"value")
    port = c.address.port if c.address else 0
    c.close()
    b.put(b"later", b"value")
    c = node("c", port=port, linger=0.2)
    until(lambda: c.get(b"later") == b"value")
    until(lambda: c.status().write_gate == "caught up")


def test_a_node_that_only_its_peer_lists_is_dialled_too(node: Callable[..., Replica]) -> None:
    """The idle conversation ends; a write on the other side does not wait for the next dial."""
    b = node("b", linger=1.0, interval_max=3600.0)
    a = node("a", linger=1.0, interval_max=3600.0, peers=[str(b.address)])
    until(lambda: any(row.name == "a" and row.addresses for row in b.members()))
    until(lambda: not any(peer.connected for peer in b.status().peers))
    b.put(b"key", b"value")
    until(lambda: a.get(b"key") == b"value")


def test_stores_that_both_hold_data_are_merged_by_join_alone(tmp_path: Path) -> None:
    """R15. Discovery under the default name never does."""
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(
                replicate(plyvel.DB(str(tmp_path / name), create_if_missing=True), port=0)
            )
            for name in ("one", "other")
        )
        one.put(b"one", b"1")
        other.put(b"other", b"2")
        found = [str(one.address)]
        third = stack.enter_context(
            replicate(
                plyvel.DB(str(tmp_path / "third"), create_if_missing=True),
                port=0,
                discovery=[discovery.function(lambda: [*found, str(other.address)])],
            )
        )
        third.put(b"third", b"3")

        def refused() -> list[str]:
            return [
                peer.address
                for peer in third.status().peers
                if "replicator join" in str(peer.last_error)
            ]

        until(refused)
        assert len(list(third)) == 2, "an empty store has joined whom it met first"
        third.join(*refused())
        until(lambda: list(one) == list(other) == list(third))
        assert len(list(one)) == 3


def test_joining_where_nobody_is_says_so_and_is_not_kept(node: Callable[..., Replica]) -> None:
    a = node("a")
    with pytest.raises(PeerError, match=r"not joined with 127\.0\.0\.1:1: cannot connect"):
        a.join("127.0.0.1:1")
    assert a.status().peers == ()


def test_the_gate_waits_for_whom_it_may_find(node: Callable[..., Replica]) -> None:
    asked = threading.Event()

    def slow() -> list[str]:
        asked.wait()
        return []

    alone = node("alone", discovery=[discovery.function(slow)], join_timeout=60.0)
    assert alone.get(b"key") is None, "reads never wait"
    assert alone.status().write_gate == "waiting"
    asked.set()
    alone.put(b"key", b"value")
    assert alone.status().write_gate == "nobody there"


@pytest.mark.parametrize("wrong", ["multicast", [3], 7, [discovery.multicast]])
def test_what_is_no_provider_is_refused(wrong: object, node: Callable[..., Replica]) -> None:
    with pytest.raises(ConfigError, match="a list of providers"):
        node("a", discovery=wrong)
