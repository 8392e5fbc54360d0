"""The reader takes typed fields and nothing else, and spends no memory on claims."""

import tracemalloc
from collections.abc import Callable

import msgpack
import pytest

from replicator.errors import ProtocolError
from replicator.protocol.reader import Reader


def test_fields_come_out_in_order() -> None:
    reader = Reader(msgpack.packb([7, b"blob", "text", True, [b"a", b"b"], {b"k": 1}]))
    assert reader.array(6, 6, "fields") == 6
    assert reader.whole(0, 7, "a number") == 7
    assert reader.blob(4, 4, "a blob") == b"blob"
    assert reader.text(4, "a text") == "text"
    assert reader.flag("a flag") is True
    assert reader.blobs(reader.array(0, 2, "blobs"), 1, "blobs") == [b"a", b"b"]
    assert reader.map(1, "entries") == 1
    reader.skip(2)


Take = Callable[[Reader], object]


@pytest.mark.parametrize(
    ("value", "take"),
    [
        (1.0, lambda reader: reader.whole(0, 9, "x")),
        (True, lambda reader: reader.whole(0, 9, "x")),
        (10, lambda reader: reader.whole(0, 9, "x")),
        (-1, lambda reader: reader.whole(0, 9, "x")),
        ("text", lambda reader: reader.blob(0, 9, "x")),
        (b"", lambda reader: reader.blob(1, 9, "x")),
        (b"longer", lambda reader: reader.blob(0, 5, "x")),
        (b"bytes", lambda reader: reader.text(9, "x")),
        ("ääää", lambda reader: reader.text(7, "x")),
        (1, lambda reader: reader.flag("x")),
        (None, lambda reader: reader.flag("x")),
        ("text", lambda reader: reader.blobs(1, 9, "x")),
        (b"longer", lambda reader: reader.blobs(1, 5, "x")),
        ([1, 2], lambda reader: reader.array(0, 1, "x")),
        ([], lambda reader: reader.array(1, 1, "x")),
        ({1: 2}, lambda reader: reader.map(0, "x")),
    ],
)
def test_a_wrong_type_length_or_range_is_a_protocol_error(value: object, take: Take) -> None:
    with pytest.raises(ProtocolError, match="x"):
        take(Reader(msgpack.packb(value)))


@pytest.mark.parametrize("value", [[1], {1: 1}, msgpack.ExtType(5, b"x")])
def test_a_container_is_no_element(value: object) -> None:
    with pytest.raises(ValueError):
        Reader(msgpack.packb(value)).next()


def test_claims_reserve_nothing() -> None:
    nested_lists = b"\xdd\xff\xff\xff\xff" * 1000
    long_blob = b"\xc6\x7f\xff\xff\xff"
    tracemalloc.start()
    for payload in (nested_lists, long_blob, b"\xdf\xff\xff\xff\xff"):
        with pytest.raises((ValueError, msgpack.UnpackException)):
            Reader(payload).next()
    with pytest.raises(msgpack.OutOfData):
        Reader(b"\x01").blobs(2**32, 10, "x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
