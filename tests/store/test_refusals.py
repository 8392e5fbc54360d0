"""What a peer may not send: an error of its kind, and the store as it was (R13)."""

from collections.abc import Callable, Iterator
from zlib import crc32

import pytest

from replicator.config import VALUE_BYTES_MAX
from replicator.core import rows
from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.errors import (
    ForkedContentsError,
    ForkError,
    ProtocolError,
)
from replicator.store.store import Store

from .checker import check_store
from .chunks import A, B, chunk_of, single, version
from .places import contents, memory, records


class TestRefusals:
    """What a peer gets wrong: an error of the peer's kind, and the store as it was."""

    @pytest.fixture(autouse=True)
    def _unchanged(self, store: Store) -> Iterator[None]:
        store.put(b"mine", b"v")
        store.apply(chunk_of(single(b"known", A, 1, b"theirs")), KnownSet({A: [1, 2]}))
        store.origins.intern(A, B)
        before = memory(store), records(store)
        yield
        assert (memory(store), records(store)) == before
        check_store(store)

    def _refused(
        self, store: Store, chunk: Chunk, known: KnownSet, match: str | None = None
    ) -> None:
        for refused in (
            lambda: store.apply(chunk, known),
            lambda: store.finish(chunk, known, known, {}),
            lambda: store.apply_full(chunk, known, {}, None, None),
        ):
            with pytest.raises(ProtocolError, match=match):
                refused()

    def test_a_dot_of_two_keys_in_one_chunk(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2, b"j"), single(b"v", A, 2, b"k"))
        self._refused(store, chunk, KnownSet({A: [1, 3]}), "dot twice")

    def test_a_dot_of_two_keys_in_general_rows(self, store: Store) -> None:
        first, second = version(b"1", A, 2, key=b"j"), version(b"2", B, 1, key=b"j")
        chunk = chunk_of((b"j", Record((first, second), {A: 2, B: 1})), single(b"2", B, 1, b"k"))
        self._refused(store, chunk, KnownSet({A: [1, 3], B: [1, 2]}), "dot twice")

    def test_a_key_twice(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2), single(b"v", A, 3))
        self._refused(store, chunk, KnownSet({A: [1, 4]}), "twice")

    def test_columns_of_different_lengths(self, store: Store) -> None:
        for spoil in (
            lambda chunk: chunk.rows.pop(),
            lambda chunk: chunk.keys.pop(),
            lambda chunk: chunk.values.pop(),
            lambda chunk: chunk.values.append(b"more"),
            lambda chunk: chunk.rows.append(chunk.rows[0]),
        ):
            chunk = chunk_of(single(b"v", A, 2, b"j"), single(b"v", A, 3, b"k"))
            spoil(chunk)
            self._refused(store, chunk, KnownSet({A: [1, 4]}))

    @pytest.mark.parametrize("key", [b"\xff\xff\xff\xffmformat", b"k" * ((1 << 20) + 1)])
    def test_a_reserved_or_large_key(self, store: Store, key: bytes) -> None:
        self._refused(store, chunk_of(single(b"v", A, 2, key)), KnownSet({A: [1, 3]}), "reserved")

    def test_a_large_value(self, store: Store) -> None:
        chunk = chunk_of(single(bytes(VALUE_BYTES_MAX + 1), A, 2))
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    def test_a_damaged_value(self, store: Store) -> None:
        for record in (
            single(b"v", A, 2),
            (b"k", Record((version(b"v", A, 2),), {A: 2, B: 7})),
        ):
            chunk = chunk_of(record)
            chunk.values[0] = b"w"
            self._refused(store, chunk, KnownSet({A: [1, 3], B: [1, 8]}), "damaged")

    def test_an_origin_that_no_table_explains(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2))
        chunk.origins = {7: B}
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    @pytest.mark.parametrize(
        ("seq", "clock", "timestamp", "flags"),
        [
            (0, 0, 0, 0),
            (2**63, 0, 0, 0),
            (2, 2**63, 0, 0),
            (2, 0, 2**63, 0),
            (2, 0, 0, 2),
            (2, 0, 0, 4),
        ],
    )
    def test_numbers_out_of_range(
        self, store: Store, seq: int, clock: int, timestamp: int, flags: int
    ) -> None:
        chunk = Chunk(origins={1: A})
        row = rows.SINGLE_ROW.pack(rows.SINGLE, flags, 1, seq, clock, timestamp, crc32(b"v"))
        chunk.append(b"k", row, [b"v"])
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    def test_a_delete_with_a_checksum(self, store: Store) -> None:
        chunk = Chunk(origins={1: A})
        row = rows.SINGLE_ROW.pack(rows.SINGLE, rows.DELETE, 1, 2, 0, 0, 5)
        chunk.append(b"k", row, [])
        self._refused(store, chunk, KnownSet({A: [1, 3]}))

    def test_a_record_outside_of_its_stretch(self, store: Store) -> None:
        chunk = chunk_of(single(b"v", A, 2))
        known = KnownSet({A: [1, 3]})
        for after, upto in ((b"k", b"z"), (None, b"j")):
            with pytest.raises(ProtocolError, match="stretch"):
                store.apply_full(chunk, known, {}, after, upto)

    def test_a_record_that_contradicts_the_known_set(self, store: Store) -> None:
        """Only a full-state round may make a key vanish."""
        chunk = chunk_of((b"theirs", Record((version(b"v", B, 1, key=b"theirs"),), {A: 5, B: 1})))
        store.learnt.add(B, 1)
        try:
            with pytest.raises(ProtocolError, match="contradicts"):
                store.apply(chunk, KnownSet({A: [1, 6], B: [1, 2]}))
        finally:
            store.learnt.replace(B, [])

    def test_more_versions_than_a_row_holds(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "VERSIONS_MAX", 1)
        chunk = chunk_of(single(b"other", B, 1, b"theirs"))
        with pytest.raises(ProtocolError, match="more than 1 versions"):
            store.apply(chunk, KnownSet({B: [1, 2]}))
        monkeypatch.undo()

    def test_more_origins_than_anybody_has(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("replicator.store.origins.ORIGINS_MAX", 5)
        known = KnownSet({origin: [1, 2] for origin in range(100, 110)})
        with pytest.raises(ProtocolError, match="origins"):
            store.finish(Chunk(), known, known, {})

    def test_the_same_dot_with_other_contents(self, store: Store) -> None:
        """R13: stops, overwrites nothing."""
        known = KnownSet({A: [1, 2], B: [1, 2]})
        for record in (
            single(b"different", A, 1, b"theirs"),
            single(None, A, 1, b"theirs"),
            (b"theirs", Record((version(b"different", A, 1, key=b"theirs"),), {A: 1, B: 1})),
        ):
            for refused in (
                lambda record=record: store.apply(chunk_of(record), known),
                lambda record=record: store.apply_full(chunk_of(record), known, {}, None, None),
            ):
                with pytest.raises(ForkedContentsError, match="two forks"):
                    refused()

    def test_the_same_dot_as_a_write_of_another_key(self, store: Store) -> None:
        """R13: a dot names one write, of one key. Silence here would hide it for ever."""
        known = KnownSet({A: [1, 2], B: [1, 2]})
        for record in (
            single(b"known", A, 1, b"elsewhere"),
            (b"elsewhere", Record((version(b"v", A, 1, key=b"elsewhere"),), {A: 1, B: 1})),
            (b"mine", Record((version(b"v", A, 1, key=b"mine"),), {A: 1})),
        ):
            for refused in (
                lambda record=record: store.apply(chunk_of(record), known),
                lambda record=record: store.apply_full(chunk_of(record), known, {}, None, None),
            ):
                with pytest.raises(ForkedContentsError, match="two forks"):
                    refused()


class TestForksNoticed:
    """R13: a peer knows an own seq above `shown`."""

    @pytest.mark.parametrize("where", ["known", "claim", "floor", "row", "context"])
    def test_wherever_it_shows(self, store: Store, where: str) -> None:
        for _ in range(3):
            store.put(b"k", b"v")
        store.show(2)
        own = store.origin
        store.origins.intern(A)
        before = memory(store), records(store)
        harmless = KnownSet({own: [1, 3], A: [1, 2]})
        above = KnownSet({own: [1, 4], A: [1, 2]})
        calls: dict[str, Callable[[], object]] = {
            "known": lambda: store.apply(Chunk(), above),
            "claim": lambda: store.finish(Chunk(), harmless, above, {}),
            "floor": lambda: store.finish(Chunk(), harmless, harmless, {own: 3}),
            "row": lambda: store.apply(chunk_of(single(b"w", own, 3)), harmless),
            "context": lambda: store.apply(
                chunk_of((b"k", Record((version(b"w", A, 1),), {A: 1, own: 3}))), harmless
            ),
        }
        with pytest.raises(ForkError, match="rolled back or cloned"):
            calls[where]()
        assert (memory(store), records(store)) == before
        check_store(store)

    def test_what_was_shown_is_fine(self, store: Store) -> None:
        for _ in range(3):
            store.put(b"k", b"v")
        store.show(3)
        known = KnownSet({store.origin: [1, 4], A: [1, 2]})
        record = Record((version(b"w", A, 1),), {A: 1, store.origin: 3})
        store.finish(chunk_of((b"k", record)), known, known, {store.origin: 2})
        assert contents(store) == {b"k": b"w"}
        check_store(store)
