"""Full-state rounds: absence counts (R9)."""

import pytest

from replicator.store import apply as apply_module
from replicator.store.store import Store

from .checker import check_store
from .places import contents
from .rounds import FullRound, collect, exchange, pull


class TestFullState:
    """R9."""

    def test_what_it_drops_raises_the_floor_at_once(
        self, store: Store, peer: Store, third: Store
    ) -> None:
        """R8, in the same batch. The peer has collected a delete and is then gone for good, amid
        the round: `third`, which has an older version, must still lose it, by a full-state
        round with the store that dropped the record. Without the floor it would claim that it
        knows what superseded its version, and keep it for ever."""
        third.put(b"k", b"oldest")
        for one in (store, peer):
            pull(one, third)
        third_late = third
        peer.put(b"k", b"newer")
        pull(store, peer)
        peer.delete(b"k")
        collect(peer, b"k")
        steps = FullRound(store, peer).steps()
        next(steps)
        assert contents(store) == {}
        assert store.floor == {peer.origin: 1, third.origin: 1}
        check_store(store)
        steps.close()  # type: ignore[attr-defined]
        exchange(store, third_late)
        assert contents(third_late) == contents(store) == {}
        assert store.known() == third_late.known()

    def test_a_local_write_survives_it(self, store: Store, peer: Store) -> None:
        peer.put(b"k", b"theirs")
        exchange(store, peer)
        store.put(b"k", b"ours, not seen there")
        store.put(b"new", b"ours")
        peer.delete(b"k")
        collect(peer, b"k")
        list(FullRound(store, peer).steps())
        assert contents(store) == {b"k": b"ours, not seen there", b"new": b"ours"}
        check_store(store)

    def test_many_keys_in_bounded_steps(
        self, store: Store, peer: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apply_module, "CHUNK_RECORDS_MAX", 7)
        both = [b"b%03d" % index for index in range(40)]
        peer.write([(key, b"v") for key in both])
        exchange(store, peer)
        store.write([(b"s%03d" % index, b"v") for index in range(40)])
        store.write([(b"a%03d" % index, b"v") for index in range(40)])
        gone = both[::3]
        peer.write([(key, None) for key in gone])
        for key in gone:
            collect(peer, key)
        commits = store.level.commit
        count = []
        monkeypatch.setattr(
            store.level, "commit", lambda batch: (count.append(batch), commits(batch))[1]
        )
        list(FullRound(store, peer).steps())
        assert len(count) >= 120 // 7
        assert set(contents(store)) == (set(both) - set(gone)) | {
            b"%s%03d" % (name, index) for name in (b"a", b"s") for index in range(40)
        }
        check_store(store)

    def test_nothing_from_the_year_before_comes_back(
        self, store: Store, peer: Store, third: Store
    ) -> None:
        """A key deleted while a node was away, and the delete collected since."""
        for one in (store, peer, third):
            one.put(b"own " + bytes([one.prefix == b""]), b"v")
        peer.put(b"k", b"old")
        exchange(store, peer, third)
        peer.delete(b"k")
        exchange(store, peer)
        for one in (store, peer):
            collect(one, b"k")
        pull(third, store)
        assert b"k" not in contents(third)
        exchange(store, peer, third)
        for one in (store, peer, third):
            check_store(one)
            assert b"k" not in contents(one)
        assert store.digest(0) == peer.digest(0) == third.digest(0)
