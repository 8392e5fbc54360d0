"""Who may talk to whom, and under which cluster id (R15). Both sides decide alike."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.core.known import KnownSet
from replicator.errors import PeerRefusedError
from replicator.protocol.greeting import (
    check_peer,
    choose_cluster,
    differing_blocks,
    warnings,
)
from replicator.protocol.messages import Hello
from tests.protocol.samples import ME, hello

MINE = hello(origin=ME, instance=b"instance", node="me")


def theirs(**changes: object) -> Hello:
    return hello(**changes)


def test_a_peer_of_the_same_cluster_is_welcome() -> None:
    check_peer(MINE, theirs())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"versions": (2, 3)}, "this node speaks 1, node 'peer' speaks 2 to 3"),
        ({"cluster": "other"}, "is of cluster 'other'"),
        ({"instance": b"instance"}, "self"),
    ],
)
def test_a_peer_that_does_not_belong_here(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(PeerRefusedError, match=reason):
        check_peer(MINE, theirs(**changes))


def test_overlapping_versions_are_enough() -> None:
    check_peer(MINE, theirs(versions=(1, 4)))
    check_peer(replace(MINE, versions=(1, 4)), theirs(versions=(2, 3)))
    with pytest.raises(PeerRefusedError, match="upgrade"):
        check_peer(replace(MINE, versions=(3, 4)), theirs(versions=(1, 2)))


def test_only_blocks_that_differ_need_be_sent() -> None:
    mine = KnownSet.of((1, 1), (0xA << 60, 1), (0xB << 60, 1))
    others = KnownSet.of((1, 1), (0xA << 60, 2), (0xC << 60, 1))
    a, b = hello(mine), hello(others)
    assert differing_blocks(a, b) == differing_blocks(b, a) == {0xA, 0xB, 0xC}


def test_equal_ids_stay() -> None:
    assert choose_cluster(MINE, theirs(), shared=False) == MINE.cluster_id


def test_a_store_without_data_takes_the_others_id() -> None:
    empty = replace(MINE, has_data=False)
    peer = theirs(cluster_id=b"zzz")
    assert choose_cluster(empty, peer, shared=False) == b"zzz"
    assert choose_cluster(peer, empty, shared=False) == b"zzz"
    assert choose_cluster(replace(empty, cluster_id=None), peer, shared=False) == b"zzz"
    adopted_data = replace(MINE, cluster_id=None)
    assert choose_cluster(adopted_data, replace(peer, has_data=False), shared=False) == b"zzz"


def test_two_stores_with_data_and_different_ids_are_not_merged_by_discovery() -> None:
    with pytest.raises(PeerRefusedError, match="run `replicator join` with its address"):
        choose_cluster(MINE, theirs(cluster_id=b"zzz"), shared=False)
    with pytest.raises(PeerRefusedError):
        choose_cluster(replace(MINE, cluster_id=None), theirs(cluster_id=None), shared=False)


def test_a_person_may_merge_them_and_the_smaller_id_wins() -> None:
    peer = theirs(cluster_id=b"aaa")
    for mine, other in [
        (replace(MINE, explicit=True), peer),
        (MINE, replace(peer, explicit=True)),
        (replace(MINE, cluster="ours"), replace(peer, cluster="ours")),
    ]:
        assert choose_cluster(mine, other, shared=False) == b"aaa"
        assert choose_cluster(other, mine, shared=False) == b"aaa"


def test_stores_that_share_a_dot_were_one_cluster_already() -> None:
    """Clusters X and Y were merged by two nodes; the rest of Y meets them under the name of X."""
    assert choose_cluster(MINE, theirs(cluster_id=b"aaa"), shared=True) == b"aaa"


def test_two_new_stores_agree_on_a_new_id() -> None:
    mine = replace(MINE, cluster_id=None, has_data=False)
    peer = theirs(cluster_id=None, has_data=False)
    chosen = choose_cluster(mine, peer, shared=False)
    assert len(chosen) == 16
    assert choose_cluster(peer, mine, shared=False) == chosen
    assert choose_cluster(mine, replace(peer, instance=b"another!"), shared=False) != chosen


_ids = st.sampled_from([None, b"a", b"b"])


@given(_ids, _ids, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_both_sides_choose_the_same(
    one: bytes | None, other: bytes | None, has: bool, others_has: bool, told: bool, shared: bool
) -> None:
    a = replace(MINE, cluster_id=one, has_data=has, explicit=told)
    b = theirs(cluster_id=other, has_data=others_has)

    def outcome(mine: Hello, peer: Hello) -> bytes | None:
        try:
            return choose_cluster(mine, peer, shared)
        except PeerRefusedError:
            return None

    assert outcome(a, b) == outcome(b, a)
    if has and others_has and (one != other or one is None):
        assert (outcome(a, b) is not None) == (told or shared)
    else:
        assert outcome(a, b) is not None
        if has and one is not None:
            assert outcome(a, b) == one, "whoever has data keeps its id"


def test_warnings() -> None:
    assert list(warnings(MINE, theirs(), 60)) == []
    (resolver,) = warnings(MINE, theirs(resolver="json_merge"), 60)
    assert resolver.kind == "resolver"
    assert "'json_merge'" in resolver.text
    (ahead,) = warnings(MINE, theirs(wall_ms=MINE.wall_ms + 61_000), 60)
    assert ahead.kind == "skew"
    assert "about 61 seconds ahead" in ahead.text
    (behind,) = warnings(MINE, theirs(wall_ms=MINE.wall_ms - 61_000), 60)
    assert "61 seconds behind" in behind.text
    assert not list(warnings(MINE, theirs(wall_ms=MINE.wall_ms - 60_000), 60))
    assert list(warnings(MINE, theirs(wall_ms=MINE.wall_ms - 60_001), 60))
