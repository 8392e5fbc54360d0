"""Records out of a file of lines: KEY, a tab, VALUE; or as any other format has them."""

from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.errors import UsageError
from replicator.faces.cli.output import unescaped
from replicator.store.local import check_key, check_value

LINE_BYTES_MAX = 4 * (KEY_BYTES_MAX + VALUE_BYTES_MAX) + 2
"""The longest line that can be a record: each byte of it an escape."""


class Record(NamedTuple):
    """What a line writes.

    Attributes:
        key, value: a key and its value; None where it is to be deleted.
        expiry_ms: wall clock at which it expires, milliseconds since the epoch; None for never.
    """

    key: bytes
    value: bytes | None
    expiry_ms: int | None = None


class Records:
    """Iterates over the records of a file, once.

    Args:
        file: read from where it stands.
        parse: the record that a line writes; raises UsageError where it writes none.
        line_bytes_max: the longest line.
        on_bad: called with the message for a line that is no record, and its line is skipped;
            None raises the message as UsageError.

    Attributes:
        lines: how many were read.
        skipped: how many of them were no record.
        size_bytes: how far the file was read.
    """

    def __init__(
        self,
        file: BinaryIO,
        parse: Callable[[bytes], Record],
        line_bytes_max: int = LINE_BYTES_MAX,
        *,
        on_bad: Callable[[str], object] | None = None,
    ) -> None:
        self._file = file
        self._name = getattr(file, "name", "input")
        self._parse = parse
        self._line_bytes_max = line_bytes_max
        self._on_bad = on_bad
        self.lines = 0
        self.skipped = 0
        self.size_bytes = 0

    def __iter__(self) -> Iterator[Record]:
        while line := self._file.readline(self._line_bytes_max):
            self.lines += 1
            self.size_bytes += len(line)
            content = line.removesuffix(b"\n").removesuffix(b"\r")
            if not content:
                continue
            try:
                yield self._parse(content)
            except UsageError as error:
                self._bad(error)
                self._skip_rest(line)

    def _bad(self, error: UsageError) -> None:
        message = f"{self._name}, line {self.lines}: {error}"
        if self._on_bad is None:
            raise UsageError(message) from error
        self.skipped += 1
        self._on_bad(message)

    def _skip_rest(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(self._line_bytes_max)
            self.size_bytes += len(line)


def parse(line: bytes, with_escapes: bool = False) -> Record:
    """The record that a line writes.

    Args:
        with_escapes: whether key and value are written with escapes.

    Raises:
        UsageError: it writes none.
    """
    key, tab, value = line.partition(b"\t")
    if not tab:
        raise UsageError("there is no tab between a key and a value")
    if not key:
        raise UsageError("there is no key in front of the tab")
    if with_escapes:
        key, value = (unescaped(part.decode(errors="surrogateescape")) for part in (key, value))
    check_key(key)
    check_value(key, value)
    return Record(key, value)
