"""What the tests of the client share."""

import pytest

from replicator.faces.client import choosing


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with more to do than these tests makes no daemon of theirs unreachable."""
    monkeypatch.setattr(choosing, "CLIENT_DIAL_SECONDS", 30.0)
