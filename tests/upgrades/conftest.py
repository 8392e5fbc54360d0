"""The version before this one, once for all tests."""

from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import directory as directory
from tests.upgrades.earlier import Earlier


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Earlier:
    return Earlier.unpacked(tmp_path_factory.mktemp("0.1.0"))


@pytest.fixture(scope="module")
def made(earlier: Earlier, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Stores of every kind that it made, each for one test to open; what it said of each."""
    directory = tmp_path_factory.mktemp("made by 0.1.0")
    return directory, earlier.make(directory)
