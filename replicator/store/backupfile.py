"""The backup file: what is written of a store, in blocks that are checked one by one.

A file is one *full* backup, or an *increment*: what has changed since another file, its base. All
numbers are big-endian, and these bytes never change::

    file    magic, head block, state blocks, data blocks, end block; nothing behind it
    magic   89 52 50 4c 42 0d 0a 1a
    block   kind u8 | packing u8 (0 as it is, 1 zlib) | size u32 | body, `size` bytes | digest 16
    digest  BLAKE2b with 16 bytes of the magic and of kind … body of every block up to this one

A digest covers all before it, so a block that was changed, lost, repeated or taken from another
file is found at that block; the end block shows that the file is whole.

====  ======================================================================================
kind  body
====  ======================================================================================
h     msgpack map: `Head`; its ``format`` is read first, whatever else a later format changes
s     rows: origins, known set, purge floor, closed set, members; of the meta rows, some
u     rows: the user's
i     rows: the log index
v     rows: values kept aside
p     keys: of an increment in which absence counts, every key there is, ascending
e     u64 blocks before it, u64 rows and keys in them, u64 octets of their bodies, unpacked
====  ======================================================================================

Rows are as `replicator.store.keyspace` has them, keys without the prefix of a wrapped
``PrefixedDB``, as msgpack arrays of at most `BACKUP_PIECE_ROWS` pairs [key, row] one behind the
other; keys likewise as arrays of keys. A full backup holds u, i and v in key order. An increment
holds for some changed keys at a time first the i rows, then the u and v rows there are: a key
without a u row shows nothing. What is not in a file is made anew by whoever restores it: the log,
the expiry rows, the identity.

Example: the block of the user's row ``k`` → ``v``, digest left out::

    75 00 00000008 91 92 c4 01 6b c4 01 76
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from replicator.config import (
    BACKUP_BLOCK_BYTES,
    BACKUP_BLOCK_BYTES_MAX,
    BACKUP_PIECE_ROWS,
)
from replicator.errors import CorruptionError, FormatError, StorageError

MAGIC = b"\x89RPLB\r\n\x1a"
FORMAT = 1

HEAD, STATE, USER, INDEX_ROWS, ASIDE, PRESENT, END = (ord(kind) for kind in "hsuivpe")
_KINDS = frozenset((HEAD, STATE, USER, INDEX_ROWS, ASIDE, PRESENT, END))

_BLOCK = struct.Struct(">BBI")
_END = struct.Struct(">QQQ")
DIGEST_BYTES = 16
TAIL_BYTES = _BLOCK.size + _END.size + DIGEST_BYTES
"""Length of the end block."""

_PLAIN, _DEFLATED = 0, 1
DEFLATE_LEVEL = 1

Row = tuple[bytes, bytes]
Piece = list[Any]
"""Rows or keys that were read at once."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a backup is of.

    Attributes:
        format: of the file.
        id: 16 random bytes; an increment names its base by them.
        base: `id` of the file that this is an increment to; None for a full backup.
        base_name: how that file was called.
        absence_counts: whether keys that no p block of this increment names are gone.
        made_ms: wall clock of the snapshot, milliseconds since the epoch.
        node: name of the node, as far as it was known.
        origin: who issued the node's writes.
        prefix: of the wrapped ``PrefixedDB``.
        version: of the software.
    """

    format: int
    id: bytes
    base: bytes | None
    base_name: str
    absence_counts: bool
    made_ms: int
    node: str
    origin: int
    prefix: bytes
    version: str


class Writer:
    """Writes one file. For one thread.

    Args:
        file: written from its beginning.
        compress: whether bodies are deflated.

    Attributes:
        rows, records: rows written, and index rows among them.
        size_bytes: octets of all bodies so far, as they were before packing.
    """

    def __init__(self, file: BinaryIO, head: Head, *, compress: bool) -> None:
        self._file = file
        self._compress = compress
        self._hash = blake2b(MAGIC, digest_size=DIGEST_BYTES)
        self._blocks = 0
        self.rows = 0
        self.records = 0
        self.size_bytes = 0
        file.write(MAGIC)
        self._block(HEAD, msgpack.packb(asdict(head)))

    def add(self, kind: int, found: Iterable[Any]) -> Iterator[int]:
        """Write rows, or keys, as blocks of one kind; steps once a block, giving its size."""
        rows = iter(found)
        pack = msgpack.Packer().pack
        while True:
            parts: list[bytes] = []
            size = count = 0
            while size < BACKUP_BLOCK_BYTES and (piece := list(islice(rows, BACKUP_PIECE_ROWS))):
                part = pack(piece)
                parts.append(part)
                size += len(part)
                count += len(piece)
            if not parts:
                return
            self.rows += count
            if kind == INDEX_ROWS:
                self.records += count
            self._block(kind, b"".join(parts))
            yield size

    def end(self) -> None:
        """Write the end block."""
        self._block(END, _END.pack(self._blocks, self.rows, self.size_bytes))

    def _block(self, kind: int, body: bytes) -> None:
        packing = _PLAIN
        self.size_bytes += len(body)
        if self._compress and kind not in (HEAD, END):
            body, packing = zlib.compress(body, DEFLATE_LEVEL), _DEFLATED
        head = _BLOCK.pack(kind, packing, len(body))
        self._hash.update(head)
        self._hash.update(body)
        self._file.write(head)
        self._file.write(body)
        self._file.write(self._hash.digest())
        self._blocks += 1


class Reader:
    """Reads one file, each block checked before anything of it is given out. For one thread.

    Args:
        path: of the file, for messages.
        file: read from its beginning.

    Attributes:
        head: of the file.
        position: octets read so far.
        size: octets of the file.

    Raises:
        FormatError: it is no backup, or one of a newer format.
        CorruptionError: it is damaged, or was cut short.
        StorageError: it cannot be read.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self.size = file.seek(0, 2)
        file.seek(0)
        self.position = len(MAGIC)
        self._hash = blake2b(MAGIC, digest_size=DIGEST_BYTES)
        self._blocks = 0
        self._rows = 0
        self._size_bytes = 0
        try:
            magic = file.read(len(MAGIC))
        except OSError as error:
            raise unreadable(path, error) from error
        if magic != MAGIC:
            raise FormatError(f"{path} is no backup of a replicator")
        kind, body = self._block()
        self.head = self._decoded_head(kind, body)

    def blocks(self) -> Iterator[tuple[int, Iterator[Piece]]]:
        """The state and data blocks, each as its kind and its pieces; to be used up in order.

        Raises:
            CorruptionError: the file is damaged or was cut short; it says where.
        """
        while True:
            kind, body = self._block()
            if kind == END:
                self._end(body)
                return
            if kind == HEAD:
                raise self._damaged("a second head")
            yield kind, self._pieces(body)

    def check_tail(self) -> None:
        """Make sure, without reading it all, that the file ends with an end block.

        Raises:
            CorruptionError: it does not.
        """
        place = self._file.tell()
        self._file.seek(max(0, self.size - TAIL_BYTES))
        kind, packing, size = _BLOCK.unpack(self._file.read(_BLOCK.size).ljust(_BLOCK.size))
        self._file.seek(place)
        if (kind, packing, size) != (END, _PLAIN, _END.size):
            raise CorruptionError(f"{self.path} was cut short: {_ADVICE}")

    def _block(self) -> tuple[int, bytes]:
        """The next block, checked."""
        head = self._read(_BLOCK.size)
        kind, packing, size = _BLOCK.unpack(head)
        if kind not in _KINDS or packing > _DEFLATED:
            raise self._damaged("the head of a block makes no sense")
        body = self._read(size)
        self._hash.update(head)
        self._hash.update(body)
        if self._read(DIGEST_BYTES) != self._hash.digest():
            raise self._damaged("the checksum does not fit")
        self._blocks += 1
        if packing == _DEFLATED:
            body = self._inflated(body)
        self._size_bytes += len(body)
        return kind, body

    def _read(self, size: int) -> bytes:
        if size > self.size - self.position:
            raise self._damaged("the file ends too early")
        try:
            data = self._file.read(size)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(data) < size:
            raise self._damaged("the file ends too early")
        self.position += size
        return data

    def _inflated(self, body: bytes) -> bytes:
        inflate = zlib.decompressobj()
        try:
            data = inflate.decompress(body, BACKUP_BLOCK_BYTES_MAX)
        except zlib.error as error:
            raise self._damaged(str(error)) from error
        if not inflate.eof:
            raise self._damaged("a block is larger than any")
        return data

    def _pieces(self, body: bytes) -> Iterator[Piece]:
        unpacker = msgpack.Unpacker(max_buffer_size=len(body))
        unpacker.feed(body)
        try:
            for piece in unpacker:
                self._rows += len(piece)
                yield piece
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise self._damaged(f"a block does not decode: {error!r}") from error

    def _end(self, body: bytes) -> None:
        told = (self._blocks - 1, self._rows, self._size_bytes - len(body))
        if len(body) != _END.size or _END.unpack(body) != told:
            raise self._damaged("the counts at the end do not fit")
        if self.position != self.size:
            raise self._damaged("something follows behind the end")

    def _decoded_head(self, kind: int, body: bytes) -> Head:
        try:
            told = msgpack.unpackb(body)
            found = told["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{self.path} has no head: {_ADVICE}") from error
        if kind != HEAD or not isinstance(found, int) or found > FORMAT:
            raise FormatError(
                f"{self.path} was written by a newer replicator (backup format {found!r}, this one "
                f"knows {FORMAT}): restore it with that version"
            )
        names = {field.name for field in fields(Head)}
        if set(told) != names:
            raise FormatError(f"{self.path} has a malformed head: {_ADVICE}")
        return Head(**told)

    def _damaged(self, what: str) -> CorruptionError:
        return CorruptionError(
            f"{self.path} is damaged or was cut short in block {self._blocks + 1}, by octet "
            f"{self.position:,} of {self.size:,} ({what}): {_ADVICE}"
        )


def unreadable(path: Path, error: OSError) -> StorageError:
    """What to raise where a file cannot be opened or read."""
    return StorageError(f"the backup {path} cannot be read: {error.strerror}")


_ADVICE = "take another copy of it, or an earlier backup"
