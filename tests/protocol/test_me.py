"""What a node tells of itself."""

from replicator.config import PROTOCOL_VERSION, PROTOCOL_VERSION_LEAST
from tests.protocol.samples import CLUSTER, ME, WALL_MS, Node, known


def test_own_dots_that_nobody_was_shown_are_not_presented() -> None:
    node = Node(known=known(me=5, peer=3))
    node.shown = 2
    assert node.me().presentable() == known(me=2, peer=3)
    node.shown = 0
    assert node.me().presentable() == known(peer=3)
    assert node.known == known(me=5, peer=3), "the store's own set is as it was"


def test_the_hello() -> None:
    node = Node()
    hello = node.me().hello(known(peer=3), explicit=True, dialled="peer:1")
    assert hello.versions == (PROTOCOL_VERSION_LEAST, PROTOCOL_VERSION)
    assert (hello.cluster, hello.cluster_id, hello.node) == ("default", CLUSTER, "me")
    assert (hello.origin, hello.instance, hello.resolver) == (ME, b"instance", "default")
    assert (hello.explicit, hello.has_data, hello.wall_ms) == (True, True, WALL_MS)
    assert (hello.port, hello.dialled) == (0, "peer:1")
    assert hello.block_hashes == known(peer=3).block_hashes()
