"""Lets plyvel's tests make wrapped handles where they make a ``plyvel.DB``."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import plyvel
import pytest

from replicator import Replica, replicate

SUITE_SHA256 = "f085b9ecaa19094bae1e383a297d28b082a6a6fbfa886004e8836d9bddb8d887"
"""Of ``test/test_plyvel.py`` in plyvel-1.5.1.tar.gz."""

EXCLUDED = {
    "test_comparator": "a custom comparator is refused: replication needs LevelDB's byte order",
}

NOBODY = 65534


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = item.name.partition("[")[0]
        if item.path.parent == Path(__file__).parent and name in EXCLUDED:
            item.add_marker(pytest.mark.skip(reason=EXCLUDED[name]))


def open_wrapped(*arguments: Any, **options: Any) -> Replica:
    """In place of ``plyvel.DB``."""
    return replicate(plyvel.DB(*arguments, **options), port=None)


@pytest.fixture(autouse=True)
def wrapped_handles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the suite a plyvel whose ``DB`` makes wrapped handles."""
    wrapped = ModuleType("plyvel")
    vars(wrapped).update(vars(plyvel))
    wrapped.DB = open_wrapped  # type: ignore[attr-defined]
    monkeypatch.setattr(request.module, "plyvel", wrapped)


@pytest.fixture(autouse=True)
def without_privileges(request: pytest.FixtureRequest) -> Iterator[None]:
    """No directory is read-only for root, so the test that needs one runs as somebody else."""
    if request.node.name != "test_open_read_only_dir" or os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="session", autouse=True)
def unchanged_suite() -> None:
    """The suite is plyvel's own."""
    suite = Path(__file__).with_name("test_plyvel.py").read_bytes()
    assert hashlib.sha256(suite).hexdigest() == SUITE_SHA256
