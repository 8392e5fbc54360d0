"""The table of members: whatever nodes say of themselves, it is printed."""

import pytest

from replicator.faces.cli.cluster import _table
from replicator.protocol.messages import WALL_MS_MAX


@pytest.mark.parametrize(
    ("since_ms", "shown"),
    [(0, "–"), (1_700_000_000_000, "2023-11-14 22:13"), (2**48, "?"), (WALL_MS_MAX, "?")],
)
def test_when_a_member_joined_by_its_own_clock(since_ms: int, shown: str) -> None:
    row = {
        "name": "a",
        "origin": "0" * 16,
        "is_self": False,
        "connected": False,
        "alive": True,
        "addresses": ["192.0.2.1:9000"],
        "since_ms": since_ms,
        "last_seen_seconds": 5.0,
        "lag_entries": 0,
        "lag_seconds": 0.0,
        "version": "1",
    }
    head, cells = _table([row])
    at = head.index("since")
    assert cells[at : at + len(shown)] == shown
