"""Networks made of namespaces: skipped where they cannot be made, but for CI, where they must."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.network import Network, why_not
from tests.netns.sites import Sites


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of the test's own."""
    reason = why_not()
    if reason is not None and os.environ.get("CI"):
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    with Network() as made:
        yield made


@pytest.fixture
def sites(network: Network, tmp_path: Path) -> Iterator[Sites]:
    """The nodes that run in it."""
    with Sites(tmp_path) as made:
        yield made
