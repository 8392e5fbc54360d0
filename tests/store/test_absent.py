"""The filter may say "perhaps" too often, never "surely not" of a key that is there."""

import random

from replicator.store.absent import BITS, AbsentFilter
from replicator.store.local import _FILTER_MASK


def test_perhaps_until_it_is_ready() -> None:
    keys = AbsentFilter()
    assert keys.may_contain(b"k")
    keys.ready = True
    assert not keys.may_contain(b"k")


def test_what_was_added_is_found() -> None:
    chance = random.Random(1)
    keys = AbsentFilter()
    keys.ready = True
    added = [chance.randbytes(chance.randrange(20)) for _ in range(2000)]
    for key in added:
        keys.add(key)
    assert all(map(keys.may_contain, added))
    others = [chance.randbytes(21) for _ in range(2000)]
    assert sum(map(keys.may_contain, others)) < 20


def test_the_write_path_reads_the_same_bits() -> None:
    """It has the filter written out in place."""
    assert len(AbsentFilter().bits) == BITS // 8 == _FILTER_MASK + 1 == AbsentFilter.MASK + 1
