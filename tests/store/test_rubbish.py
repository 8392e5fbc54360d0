"""Any chunk whatever: accepted, or refused as the peer's error; never anything else, and the store
is whole afterwards."""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.errors import ForkedContentsError, ForkError, ProtocolError
from replicator.store.store import Store

from .checker import check_store
from .conftest import MEMORY
from .places import Place, memory, patient, records
from .rounds import Round

REFUSALS = (ProtocolError, ForkError, ForkedContentsError)


class World:
    """A store, and chunks that peers really sent: what the mutations begin with."""

    def __init__(self, path: Path) -> None:
        self.place = Place(path / "a", settings=patient())
        self.store = self.place.open()
        self.chunks: list[tuple[Chunk, KnownSet]] = []
        with (
            Place(path / "b", settings=patient()) as peer,
            Place(path / "c", settings=patient()) as other,
        ):
            for index in range(6):
                self.store.put(b"%d" % index, b"ours %d" % index)
                peer.put(b"%d" % (index + 3), b"theirs %d" % index)
                other.put(b"%d" % (index % 4), b"others'")
            Round(peer, self.store).whole()
            Round(other, peer).whole()
            peer.delete(b"4")
            other.put(b"8", b"seen")
            Round(peer, other).whole()
            peer.put(b"new", b"x")
            for source in (peer, other):
                one = Round(self.store, source)
                self.chunks += [(chunk, one.known) for chunk in one.chunks]
                opened = source.open_source()
                self.chunks += [(chunk, opened.known) for chunk in opened.read_all()]
                opened.close()
            Round(self.store, other).whole()
        check_store(self.store)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = MEMORY if MEMORY.is_dir() else tmp_path_factory.mktemp("rubbish")
    with tempfile.TemporaryDirectory(prefix="replicator-", dir=base) as name:
        made = World(Path(name))
        yield made
        made.place.close()


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What to do to a chunk: bytes flipped, columns cut, doubled, exchanged, tables rewritten."""
    one = st.one_of(
        st.tuples(
            st.just("flip"), st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 7))
        ),
        st.tuples(
            st.just("byte"), st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 255))
        ),
        st.tuples(st.just("cut row"), st.tuples(st.integers(0, 99), st.integers(0, 60))),
        st.tuples(
            st.just("drop"),
            st.tuples(st.sampled_from(["keys", "rows", "values"]), st.integers(0, 99)),
        ),
        st.tuples(
            st.just("double"),
            st.tuples(st.sampled_from(["keys", "rows", "values"]), st.integers(0, 99)),
        ),
        st.tuples(
            st.just("swap"),
            st.tuples(
                st.sampled_from(["keys", "rows", "values"]), st.integers(0, 99), st.integers(0, 99)
            ),
        ),
        st.tuples(
            st.just("key"),
            st.tuples(st.integers(0, 99), st.sampled_from([b"", b"0", b"9", b"\xff" * 5])),
        ),
        st.tuples(st.just("origin"), st.tuples(st.integers(0, 9), st.integers(0, 9))),
        st.tuples(st.just("forget origin"), st.tuples(st.integers(0, 9))),
        st.tuples(st.just("known"), st.tuples(st.integers(0, 9), st.integers(1, 20))),
        st.tuples(st.just("forget known"), st.tuples(st.integers(0, 9))),
    )
    return draw(st.lists(one, min_size=1, max_size=4))


def _mutate(chunk: Chunk, known: KnownSet, store: Store, changes: list[tuple[str, Any]]) -> None:
    for what, how in changes:
        numbers = sorted(chunk.origins)
        origins = [*sorted(store.origins.numbers), 0xDEAD, 0xBEEF]
        if what in ("flip", "byte") and chunk.rows:
            place, offset, bit = how
            row = bytearray(chunk.rows[place % len(chunk.rows)])
            if row:
                octet = offset % len(row)
                row[octet] = bit if what == "byte" else row[octet] ^ 1 << bit
            chunk.rows[place % len(chunk.rows)] = bytes(row)
        elif what == "cut row" and chunk.rows:
            place, length = how
            chunk.rows[place % len(chunk.rows)] = chunk.rows[place % len(chunk.rows)][:length]
        elif what in ("drop", "double", "swap"):
            column = getattr(chunk, how[0])
            if not column:
                continue
            place = how[1] % len(column)
            if what == "drop":
                del column[place]
            elif what == "double":
                column.insert(place, column[place])
            else:
                other = how[2] % len(column)
                column[place], column[other] = column[other], column[place]
        elif what == "key" and chunk.keys:
            chunk.keys[how[0] % len(chunk.keys)] = how[1]
        elif what == "origin" and numbers:
            table = dict(chunk.origins)
            table[numbers[how[0] % len(numbers)]] = origins[how[1] % len(origins)]
            chunk.origins = table
        elif what == "forget origin" and numbers:
            table = dict(chunk.origins)
            del table[numbers[how[0] % len(numbers)]]
            chunk.origins = table
        elif what == "known":
            known.add(origins[how[0] % len(origins)], how[1])
        elif what == "forget known":
            known.replace(origins[how[0] % len(origins)], [])


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    which=st.integers(0, 99),
    changes=mutations(),
    call=st.sampled_from(["apply", "finish", "claim", "full", "stretch"]),
)
def test_mutated_chunks(
    world: World, which: int, changes: list[tuple[str, Any]], call: str
) -> None:
    store = world.store
    original, known = world.chunks[which % len(world.chunks)]
    chunk, known = copy.deepcopy(original), known.copy()
    _mutate(chunk, known, store, changes)
    calls = {
        "apply": lambda: store.apply(chunk, known),
        "finish": lambda: store.finish(chunk, known, None, {}),
        "claim": lambda: store.finish(chunk, known, known, {0xBEEF: 3}),
        "full": lambda: store.apply_full(chunk, known, {0xDEAD: 2}, None, None),
        "stretch": lambda: store.apply_full(chunk, known, {}, b"0", b"5"),
    }
    held, before = records(store), memory(store)
    try:
        calls[call]()
    except REFUSALS:
        del before["origins"], before["number"]  # new origins keep the numbers they got
        after = memory(store)
        assert {name: after[name] for name in before} == before
        assert records(store) == held
    check_store(store)


@settings(max_examples=200)
@given(
    rows=st.lists(st.binary(max_size=90), max_size=3),
    keys=st.lists(st.binary(max_size=6), max_size=3),
    values=st.lists(st.binary(max_size=3), max_size=3),
    origins=st.dictionaries(st.integers(0, 3), st.integers(0, 5), max_size=3),
)
def test_arbitrary_chunks(
    world: World, rows: list[bytes], keys: list[bytes], values: list[bytes], origins: dict[int, int]
) -> None:
    store = world.store
    held = records(store)
    chunk = Chunk(origins=origins, keys=keys, rows=rows, values=values)
    for call in (
        lambda: store.apply(chunk, KnownSet()),
        lambda: store.apply_full(chunk, KnownSet(), {}, None, None),
    ):
        try:
            call()
        except REFUSALS:
            assert records(store) == held
    check_store(store)
