"""How far a peer is behind."""

from replicator.core.known import KnownSet
from replicator.peers.lag import Lag


def upto(seq: int) -> KnownSet:
    return KnownSet({7: [1, seq + 1]})


def test_lag_is_what_the_peer_lacks_and_since_when() -> None:
    lag, theirs = Lag(), upto(10)
    lag.watch(upto(10), theirs, 100.0)
    assert lag.measure(upto(10), theirs, 200.0) == (0, 0.0)
    lag.watch(upto(15), theirs, 300.0)
    lag.watch(upto(20), theirs, 301.0)
    assert lag.measure(upto(20), theirs, 305.0) == (10, 5.0)
    theirs.update(upto(15))
    lag.watch(upto(20), theirs, 306.0)
    assert lag.measure(upto(20), theirs, 308.0) == (5, 2.0)
    theirs.update(upto(20))
    assert lag.measure(upto(20), theirs, 309.0) == (0, 0.0)
