"""The write batch of a wrapped handle beside plyvel's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import plyvel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.errors import ReservedKeyError, UsageError
from replicator.faces.batch import WriteBatch
from replicator.faces.handle import Replica

operations = st.lists(
    st.tuples(st.binary(max_size=300), st.none() | st.binary(max_size=300)), max_size=20
)


@pytest.fixture(scope="module")
def size_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """plyvel's own approximate size of operations."""
    db = plyvel.DB(str(tmp_path_factory.mktemp("db")), create_if_missing=True)

    def size_of(operations: list[tuple[bytes, bytes | None]]) -> int:
        batch = db.write_batch()
        for key, value in operations:
            batch.delete(key) if value is None else batch.put(key, value)
        return batch.approximate_size()

    yield size_of
    db.close()


@given(operations)
def test_approximate_size_is_levels_own(
    size_of: Callable[..., int], operations: list[tuple[bytes, bytes | None]]
) -> None:
    batch = WriteBatch.__new__(WriteBatch)
    batch._operations = operations
    batch._handle = Alone()
    assert batch.approximate_size() == size_of(operations)


class Alone:
    """As much of a handle as a batch asks for its size."""

    prefix = b""

    class _lease:
        store = None


def test_sizes_of_large_values(size_of: Callable[..., int], replica: Replica) -> None:
    for length in (127, 128, 16_383, 16_384, 2_097_151, 2_097_152):
        batch = replica.write_batch()
        batch.put(b"k", bytes(length))
        assert batch.approximate_size() == size_of([(b"k", bytes(length))])


def test_it_is_one_commit(replica: Replica) -> None:
    replica.put(b"a", b"old")
    with replica.write_batch() as batch:
        batch.put(b"a", b"1")
        batch.put(b"a", b"2")
        batch.delete(b"b")
        batch.put(b"c", b"3")
        assert replica.get(b"a") == b"old"
    assert list(replica) == [(b"a", b"2"), (b"c", b"3")]
    writes = replica.known().count()
    assert writes == 1 + 3, "each key takes one dot"


def test_a_batch_may_be_written_again(replica: Replica) -> None:
    batch = replica.write_batch()
    batch.put(b"k", b"v")
    batch.write()
    replica.delete(b"k")
    batch.write()
    assert replica.get(b"k") == b"v"
    batch.clear()
    batch.put(b"other", b"")
    batch.write()
    assert replica.get(b"k") == b"v"
    assert replica.get(b"other") == b""


def test_an_empty_batch_writes_nothing(replica: Replica) -> None:
    with replica.write_batch():
        pass
    assert not replica.known()


def test_the_value_is_taken_when_it_is_put(replica: Replica) -> None:
    value = bytearray(b"before")
    with replica.write_batch() as batch:
        batch.put(b"k", value)
        value[:] = b"after!"
    assert replica.get(b"k") == b"before"


def test_append(replica: Replica) -> None:
    first, second = replica.write_batch(), replica.prefixed_db(b"p:").write_batch()
    first.put(b"k", b"first")
    second.put(b"k", b"second")
    first.append(second)
    first.append(first)
    second.put(b"later", b"")
    first.write()
    assert list(replica) == [(b"k", b"first"), (b"p:k", b"second")]


def test_append_from_another_store(
    replica: Replica, tmp_path: Path, wrap: Callable[..., Replica]
) -> None:
    other = wrap(plyvel.DB(str(tmp_path / "other"), create_if_missing=True))
    source = other.write_batch()
    source.put(b"k", b"v")
    batch = replica.write_batch()
    batch.append(source)
    batch.write()
    assert replica.get(b"k") == b"v"
    assert other.get(b"k") is None


def test_append_from_another_prefix(tmp_path: Path, wrap: Callable[..., Replica]) -> None:
    root = plyvel.DB(str(tmp_path), create_if_missing=True)
    a, b = wrap(root.prefixed_db(b"a:")), wrap(root.prefixed_db(b"b:"))
    with pytest.raises(UsageError, match="two stores"):
        a.write_batch().append(b.write_batch())
    a.close(), b.close(), root.close()


def test_append_of_a_plain_batch(replica: Replica, raw: plyvel.DB) -> None:
    with pytest.raises(TypeError, match=r"plyvel.*WriteBatch.*write_batch\(\)"):
        replica.write_batch().append(raw.write_batch())


def test_what_is_too_large_is_refused_where_it_is_put(replica: Replica) -> None:
    batch = replica.write_batch()
    with pytest.raises(ReservedKeyError, match="at most"):
        batch.put(bytes(KEY_BYTES_MAX + 1), b"")
    with pytest.raises(ReservedKeyError, match="at most"):
        batch.put(b"k", bytes(VALUE_BYTES_MAX + 1))
    batch.put(b"fits", b"")
    batch.write()
    assert list(replica) == [(b"fits", b"")]


@pytest.mark.parametrize("transaction", [False, True])
def test_a_block_that_raises(replica: Replica, transaction: bool) -> None:
    with pytest.raises(LookupError), replica.write_batch(transaction=transaction) as batch:
        batch.put(b"k", b"v")
        raise LookupError
    assert replica.get(b"k") == (None if transaction else b"v")
    batch.write()
    assert replica.get(b"k") == (None if transaction else b"v"), "it was cleared"


def test_in_a_prefixed_view(replica: Replica) -> None:
    with replica.prefixed_db(b"p:").write_batch(sync=True) as batch:
        batch.put(b"k", b"v")
        batch.delete(b"absent")
    assert list(replica) == [(b"p:k", b"v")]
