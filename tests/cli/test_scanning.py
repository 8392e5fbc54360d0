"""REPL.SCAN: pages in both directions, with and without values, beside a plain sorted list."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.faces.handle import Replica
from replicator.faces.resp import Failure
from replicator.faces.scanning import bounded
from tests.cli.test_commands import opened, run

KEYS = sorted({bytes([a]) * n for a in (1, 5, 254, 255) for n in (1, 2, 3)} | {b"k", b"k\0", b"ka"})
SOME = st.sampled_from([*KEYS, b"", b"k\0\0", b"\x05\x06", b"\xff" * 3])


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    directory: Path = tmp_path_factory.mktemp("scanning")
    with opened(directory / "store") as replica:
        for key in KEYS:
            replica.put(key, b"v" + key)
        yield replica


def pages(replica: Replica, *options: bytes) -> list[Any]:
    """All that the pages of a scan hold."""
    found: list[Any] = []
    after: list[bytes] = []
    while True:
        last, page = run(replica, b"REPL.SCAN", *options, *after)
        found += page
        if last is None:
            return found
        after = [b"AFTER", last]


@settings(max_examples=150, deadline=None)
@given(
    prefix=st.none() | SOME,
    start=st.none() | SOME,
    stop=st.none() | SOME,
    is_reverse=st.booleans(),
    has_values=st.booleans(),
    count=st.integers(1, 20),
)
def test_pages_are_slices_of_all_keys(
    replica: Replica,
    prefix: bytes | None,
    start: bytes | None,
    stop: bytes | None,
    is_reverse: bool,
    has_values: bool,
    count: int,
) -> None:
    expected = [
        key
        for key in KEYS
        if key.startswith(prefix or b"") and key >= (start or b"") and (stop is None or key < stop)
    ]
    options = [b"COUNT", b"%d" % count]
    for name, bound in ((b"PREFIX", prefix), (b"START", start), (b"STOP", stop)):
        if bound is not None:
            options += [name, bound]
    if is_reverse:
        options += [b"REVERSE", b"1"]
        expected.reverse()
    if not has_values:
        options += [b"VALUES", b"0"]
    found = pages(replica, *options)
    if has_values:
        assert found == [part for key in expected for part in (key, b"v" + key)]
    else:
        assert found == expected


def test_options_that_make_no_sense(replica: Replica) -> None:
    for options in ([b"REVERSE"], [b"REVERSE", b"x"], [b"BACK", b"1"], [b"COUNT", b"1"] * 2):
        assert isinstance(run(replica, b"REPL.SCAN", *options), Failure)


def test_a_page_is_bounded_by_its_bytes() -> None:
    items = [b"x" * 600_000] * 5
    assert bounded(items, 10, len) == (items[:2], True)
    assert bounded(items[:2], 10, len) == (items[:2], False)
    assert bounded(items, 1, len) == (items[:1], True)
