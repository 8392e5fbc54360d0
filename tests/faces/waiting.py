"""Waiting for what another thread does."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 30.0
"""Only a test that fails anyway takes this long."""


def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)
