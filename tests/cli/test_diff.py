"""``replicator diff``: between stopped directories, running daemons, and one of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replicator.config import PAGE_ITEMS_MAX
from replicator.faces.cli.diff import Entry, differences
from tests.cli.daemons import documents, replicator, serving, until


def store(data: Path, content: bytes) -> Path:
    assert replicator("load", "-", "--data", str(data), stdin=content).exit_code == 0
    return data


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return store(tmp_path / "a", b"same\t1\nother\tfrom a\nonly a\t1\ngone\t1\n")


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return store(tmp_path / "b", b"same\t1\nother\tfrom b\nonly b\t1\n")


def compared(a: Path, b: Path, *options: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """The differences by key, the last document and the first."""
    first, *found, last = documents("diff", str(a), str(b), *options)
    return {one.pop("key"): one for one in found}, last, first


def test_every_kind_of_difference(a: Path, b: Path) -> None:
    replicator("delete", "gone", "--data", str(a))
    found, last, first = compared(a, b, "--values")
    assert found == {
        "same": {"how": "other-versions", "value_a": "1", "value_b": "1"},
        "other": {"how": "other-value", "value_a": "from a", "value_b": "from b"},
        "only a": {"how": "only-in-a", "value_a": "1", "value_b": None},
        "only b": {"how": "only-in-b", "value_a": None, "value_b": "1"},
    }
    assert first == {"a_lacks": 3, "b_lacks": 5}
    assert not last["equal"]
    text = replicator("diff", str(a), str(b), "--limit", "1")
    assert text.exit_code == 1
    assert text.stdout == (
        "A lacks 3 writes of B\nB lacks 5 writes of A\nonly a  only in A\n"
        "4 keys differ: 1 only in A, 1 only in B, 1 another value, "
        "1 the same value, other versions\n"
    )


def test_a_store_is_equal_to_its_copy(a: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(a, tmp_path / "copy")
    result = replicator("diff", str(a), str(tmp_path / "copy"))
    assert (result.exit_code, result.stdout) == (0, "equal\n")


@pytest.mark.processes
def test_two_daemons_and_a_stopped_one(a: Path, b: Path, tmp_path: Path) -> None:
    c = store(tmp_path / "c", b"mine\t1\n")
    with serving(a) as first, serving(b, "--peer", first.address):
        until(lambda: replicator("diff", str(a), str(b)).exit_code == 0)
        found, last, first_line = compared(a, c)
        assert first_line["b_lacks"] == 7
        assert found["mine"] == {"how": "only-in-b"}
        assert found["other"] == {"how": "only-in-a"}
        assert last["differences"] == {"only-in-a": 5, "only-in-b": 1}
        lines = b"".join(b"key%05d\t1\n" % n for n in range(2 * PAGE_ITEMS_MAX + 1))
        store(c, lines)
        assert compared(a, c)[1]["differences"]["only-in-b"] == 2 * PAGE_ITEMS_MAX + 2


def test_what_cannot_be_compared(a: Path, tmp_path: Path) -> None:
    result = replicator("diff", str(a), str(tmp_path / "missing"))
    assert result.exit_code == 2
    assert "there is no LevelDB" in result.stderr
    assert not (tmp_path / "missing").exists()


def entry(key: bytes, *contents: bytes | None) -> Entry:
    versions: list[list[Any]] = [
        [b"%d" % place, b"delete" if value is None else b"put", 0, 0, None, hash(value)]
        for place, value in enumerate(contents)
    ]
    return Entry(key, None if contents[0] is None else hash(contents[0]), versions)


@pytest.mark.parametrize(
    ("ours", "theirs", "how"),
    [
        (entry(b"k", b"1", b"2"), entry(b"k", b"1"), "conflict-in-a"),
        (entry(b"k", b"1"), entry(b"k", b"1", None), "conflict-in-b"),
        (entry(b"k", b"1", b"2"), entry(b"k", b"2", b"1"), "other-value"),
        (entry(b"k", b"1", b"1"), entry(b"k", b"1"), "other-versions"),
        (entry(b"k", b"1"), entry(b"k", b"1"), None),
    ],
)
def test_how_two_records_differ(ours: Entry, theirs: Entry, how: str | None) -> None:
    found = list(differences(iter([ours]), iter([theirs])))
    assert found == ([] if how is None else [(b"k", how)])


def test_side_by_side() -> None:
    def side(keys: bytes) -> Iterator[Entry]:
        return (entry(bytes([key]), b"v") for key in keys)

    found = differences(side(b"acdz"), side(b"bcy"))
    assert list(found) == [
        (b"a", "only-in-a"),
        (b"b", "only-in-b"),
        (b"d", "only-in-a"),
        (b"y", "only-in-b"),
        (b"z", "only-in-a"),
    ]
