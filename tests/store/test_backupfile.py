"""The bytes of a backup file, and that none of them changes unseen."""

import io
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from random import Random

import msgpack
import pytest

from replicator.errors import CorruptionError, FormatError
from replicator.store.backupfile import (
    FORMAT,
    INDEX_ROWS,
    MAGIC,
    STATE,
    TAIL_BYTES,
    USER,
    Head,
    Reader,
    Row,
    Writer,
)

HEAD = Head(
    format=FORMAT,
    id=bytes(range(16)),
    base=None,
    base_name="",
    absence_counts=False,
    made_ms=1_790_000_000_000,
    node="n",
    origin=0x1122334455667788,
    prefix=b"",
    version="0.1.0",
)


def written(*sections: tuple[int, list[Row]], head: Head = HEAD, compress: bool = False) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, head, compress=compress)
    for kind, rows in sections:
        list(writer.add(kind, rows))
    writer.end()
    return file.getvalue()


def read(data: bytes) -> list[tuple[int, list[list[bytes]]]]:
    reader = Reader(Path("b"), io.BytesIO(data))
    return [
        (kind, [pair for piece in pieces for pair in piece]) for kind, pieces in reader.blocks()
    ]


SOME = written((STATE, [(b"s", b"1")]), (USER, [(b"k", b"v")]), (INDEX_ROWS, [(b"i", b"r")]))


def test_the_example_of_the_module() -> None:
    assert bytes.fromhex("75 00 00000008 91 92 c4 01 6b c4 01 76") in SOME


def test_golden_bytes() -> None:
    """Files that were written are read for years: these bytes never change."""
    assert SOME.hex() == (
        "8952504c420d0a1a"
        "68000000007e8aa6666f726d617401a26964c410000102030405060708090a0b0c0d0e0fa462617365c0a96261"
        "73655f6e616d65a0ae616273656e63655f636f756e7473c2a76d6164655f6d73cf000001a0c4506c00a46e6f64"
        "65a16ea66f726967696ecf1122334455667788a6707265666978c400a776657273696f6ea5302e312e30e5ee78"
        "60730599dbbd5ffb85fb8986607300000000089192c40173c40131f13b8770c88fdc6649197585bee041af7500"
        "000000089192c4016bc40176633d8b04e888bbfc6ba897642c8cd4b76900000000089192c40169c40172d6c534"
        "7a08213771a2b460c5d175b1f26500000000180000000000000004000000000000000300000000000000960249"
        "82de338d767e243da31ceb2342bc"
    )
    assert read(SOME) == [
        (STATE, [[b"s", b"1"]]),
        (USER, [[b"k", b"v"]]),
        (INDEX_ROWS, [[b"i", b"r"]]),
    ]


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Head, body and digest of each block, read by the grammar alone."""
    place = 8
    while place < len(data):
        head = data[place : place + 6]
        (size,) = struct.unpack(">I", head[2:])
        yield head, data[place + 6 : place + 6 + size], data[place + 6 + size : place + 22 + size]
        place += 22 + size


def test_the_grammar() -> None:
    assert SOME.startswith(bytes.fromhex("89 52 50 4c 42 0d 0a 1a"))
    kinds = []
    passed = MAGIC
    for head, body, digest in blocks(SOME):
        passed += head + body
        assert digest == blake2b(passed, digest_size=16).digest()
        kinds.append(head[:1])
    assert b"".join(kinds) == b"hsuie"
    assert body == struct.pack(">QQQ", 4, 3, len(passed) - 8 - 5 * 6 - 24)
    assert TAIL_BYTES == 6 + 24 + 16


def test_rows_are_read_as_they_were_written() -> None:
    rows = [(b"k%d" % number, bytes(number)) for number in range(3000)]
    for compress in (False, True):
        data = written((USER, rows), (INDEX_ROWS, rows[:5]), compress=compress)
        found = read(data)
        assert len(found) > 10 and {kind for kind, _ in found} == {USER, INDEX_ROWS}
        together = [tuple(pair) for _, pairs in found for pair in pairs]
        assert together == rows + rows[:5]
        assert (len(data) < 1_000_000) == compress


@pytest.mark.parametrize("compress", [False, True])
def test_a_flipped_bit_is_found_wherever_it_is(compress: bool) -> None:
    data = written((STATE, [(b"s", b"1")]), (USER, [(b"k", b"value" * 9)]), compress=compress)
    for place in range(len(data)):
        for bit in (0, 3, 7):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            with pytest.raises((CorruptionError, FormatError)):
                read(bytes(broken))


def test_a_cut_is_found_wherever_it_is() -> None:
    for size in range(len(SOME)):
        with pytest.raises((CorruptionError, FormatError)):
            read(SOME[:size])
    with pytest.raises(CorruptionError, match="something follows"):
        read(SOME + b"x")


def test_lost_repeated_and_strange_blocks_are_found() -> None:
    parts = [b"".join(block) for block in blocks(SOME)]
    others = [b"".join(block) for block in blocks(written((USER, [(b"k", b"w")])))]
    for wrong in (
        [*parts[:1], *parts[2:]],
        [*parts[:2], parts[1], *parts[2:]],
        [parts[0], parts[2], parts[1], *parts[3:]],
        [*parts[:2], others[1], *parts[3:]],
    ):
        with pytest.raises(CorruptionError, match="block"):
            read(MAGIC + b"".join(wrong))


def test_the_message_says_where_and_what_to_do() -> None:
    broken = bytearray(SOME)
    broken[SOME.index(b"\xc4\x01v")] ^= 1
    with pytest.raises(CorruptionError) as found:
        read(bytes(broken))
    assert str(found.value).startswith("b is damaged or was cut short in block 3, by octet ")
    assert str(found.value).endswith(": take another copy of it, or an earlier backup")


def forged(kind: bytes, packing: int, body: bytes, after: bytes = MAGIC) -> bytes:
    """A block whose digest fits."""
    head = kind + struct.pack(">BI", packing, len(body))
    return head + body + blake2b(after + head + body, digest_size=16).digest()


def test_a_newer_format_says_so() -> None:
    head = msgpack.packb({"format": FORMAT + 1, "unheard": "of"})
    with pytest.raises(FormatError, match=r"newer replicator \(backup format 2"):
        Reader(Path("b"), io.BytesIO(MAGIC + forged(b"h", 0, head)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 something else",
        MAGIC + forged(b"h", 0, b"\x91\x01"),
        MAGIC + forged(b"h", 0, msgpack.packb({"format": FORMAT})),
        MAGIC + forged(b"u", 0, msgpack.packb({"format": FORMAT})),
        MAGIC + forged(b"h", 0, b"\xc1"),
    ],
)
def test_what_is_no_backup(data: bytes) -> None:
    with pytest.raises(FormatError):
        Reader(Path("b"), io.BytesIO(data))


def test_rubbish_behind_good_checksums() -> None:
    first = next(blocks(SOME))
    start = MAGIC + first[0] + first[1]
    for packing, body in ((1, b"no zlib"), (0, b"\xc1"), (0, b"\x01")):
        data = MAGIC + b"".join(first) + forged(b"u", packing, body, start)
        with pytest.raises(CorruptionError):
            read(data)


def test_counts_that_do_not_fit() -> None:
    """Checksums fit, and blocks are missing all the same."""
    first = next(blocks(SOME))
    start = MAGIC + first[0] + first[1]
    for counts in ((1, 0, len(first[1])), (2, 0, 0), (1, 1, len(first[1]))):
        end = forged(b"e", 0, struct.pack(">QQQ", *counts), start)
        data = MAGIC + b"".join(first) + end
        if counts == (1, 0, len(first[1])):
            assert read(data) == []
            continue
        with pytest.raises(CorruptionError, match="counts at the end"):
            read(data)


def test_random_damage_never_passes() -> None:
    """Any byte of a larger file."""
    random = Random("damage")
    rows = [(random.randbytes(9), random.randbytes(random.randint(0, 500))) for _ in range(2000)]
    data = written((STATE, rows[:9]), (USER, rows), (INDEX_ROWS, rows))
    for _ in range(150):
        broken = bytearray(data)
        broken[random.randrange(len(data))] ^= 1 << random.randrange(8)
        with pytest.raises((CorruptionError, FormatError)):
            read(bytes(broken))
