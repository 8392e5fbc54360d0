"""How a node finds out whether those who dial it can be dialled."""

from dataclasses import replace
from pathlib import Path

import pytest

from replicator.errors import StorageError
from replicator.store.store import Store

from .peers import HELLO, by_hand, running, until


async def test_a_store_that_fails_while_a_peer_is_asked_back_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: Store) -> bool:
        raise StorageError("a simulated failure")

    async with running(tmp_path / "a") as a, running(tmp_path / "b") as b:
        assert b.node.address is not None
        async with by_hand(a.address) as peer:
            await peer.greet(replace(HELLO, port=b.node.address.port))
            with monkeypatch.context() as patched:
                patched.setattr(type(a.store), "has_data", fail)
                await until(lambda: "a simulated failure" in a.errors())
        assert a.node.status().running
