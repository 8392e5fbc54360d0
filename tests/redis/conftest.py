"""A handle to run commands on."""

from collections.abc import Iterator
from pathlib import Path

import plyvel
import pytest

from replicator.faces.handle import Replica
from replicator.faces.library import replicate
from tests.redis.beside import Ours


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    db = plyvel.DB(str(tmp_path / "store"), create_if_missing=True)
    with replicate(db, port=None, name="alone", join_timeout=0) as replica:
        yield replica


@pytest.fixture
def ours(replica: Replica) -> Ours:
    return Ours(replica)
