"""What can still be read of a record, and which origins that makes doubtful."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from replicator.core import rows
from replicator.core.dots import Dot
from replicator.core.record import ABSENT, Record, Version
from replicator.errors import FormatError
from replicator.store.expiry import keeps_aside
from replicator.store.keyspace import INDEX, value_key

Reader = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Remains:
    """One key as its rows have it.

    Attributes:
        record: what the index says, values not loaded; None where its row does not decode, ABSENT
            where there is none.
        visible: the place of the version shown, or `rows.MERGED`.
        intact: the versions whose values could be read, values loaded.
        value: the user's row.
    """

    record: Record | None
    visible: int
    intact: tuple[Version, ...]
    value: bytes | None

    @property
    def is_whole(self) -> bool:
        """Whether every version can be read."""
        return self.record is not None and len(self.intact) == len(self.record.versions)

    @property
    def lost(self) -> Sequence[Dot]:
        """The dots of the versions that cannot be read, as far as the index tells."""
        intact = {version.dot for version in self.intact}
        versions = () if self.record is None else self.record.versions
        return [version.dot for version in versions if version.dot not in intact]


def remains_of(
    key: bytes, get: Reader, origins: Mapping[int, int], *, decodes: bool = True
) -> Remains:
    """Read a key.

    Args:
        get: reads rows.
        origins: number → origin.
        decodes: whether the index row may be believed.
    """
    value, row = get(key), get(INDEX + key)
    if row is None:
        return Remains(ABSENT, 0, (), value)
    try:
        record, visible = rows.unpack(row, key, origins)
    except FormatError:
        decodes = False
    if not decodes:
        return Remains(None, 0, (), value)
    aside = keeps_aside(record)
    intact = []
    for version in record.versions:
        found = [value, *(_aside(version.dot, get, origins) if aside else ())]
        fitting = [one for one in found if one is not None and crc32(one) == version.checksum]
        if version.is_delete:
            intact.append(version)
        elif fitting:
            intact.append(replace(version, value=fitting[0]))
    return Remains(record, visible, tuple(intact), value)


def _aside(dot: Dot, get: Reader, origins: Mapping[int, int]) -> list[bytes | None]:
    """The values kept aside for a dot, under every number that its origin has."""
    numbers = [number for number, origin in origins.items() if origin == dot.origin]
    return [get(value_key(number, dot.seq)) for number in numbers]
