"""The node behind a handle: who it is, its peers, the cluster."""

from collections.abc import Callable

from replicator.core.dots import format_origin
from replicator.faces.shape import Handle
from replicator.net.address import Address
from replicator.status import MemberStatus, Status


class Peering(Handle):
    """What a handle tells of its node, and has it do. Thread-safe."""

    __slots__ = ()

    @property
    def origin(self) -> str:
        """Who issues this handle's writes: 16 hex digits. A copied directory takes a new one."""
        return format_origin(self._engine.store.origin)

    @property
    def cluster_id(self) -> str | None:
        """The cluster this store belongs to, in hex; None before its first write or peer."""
        cluster_id = self._engine.store.cluster_id
        return None if cluster_id is None else cluster_id.hex()

    # Peers

    @property
    def address(self) -> Address | None:
        """Where peers reach this node: host and port; None where it does not listen."""
        return self._engine.node.address

    def add_peer(self, address: str) -> None:
        """Dial ``host:port`` from now on. Idempotent.

        Stores that both hold data are merged by that, as by `peers` of `replicate`.

        Raises:
            ConfigError: it is no address.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        self._engine.node.add_peer(address)

    def remove_peer(self, address: str) -> None:
        """Dial it no more, and end the conversation with it. Idempotent. Raises as `add_peer`."""
        self._check_open()
        self._engine.node.remove_peer(address)

    def join(self, address: str, timeout: float | None = None) -> None:
        """Merge with the cluster of the node at ``host:port``, for good, and get into step with it.

        Nodes that only find each other never merge data by themselves.

        Args:
            timeout: seconds; None waits as long as there is progress.

        When it returns, each of the two nodes holds what the other one held.

        Raises:
            ConfigError: it is no address.
            PeerError: it did not come to that; the message says why.
            UsageError: called in the trio thread of `open_replica`.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        self._engine.node.join(address, timeout)

    def members(self) -> tuple[MemberStatus, ...]:
        """Every node of the cluster as this one knows it, in the order of names.

        Raises:
            UsageError: called in the function given to `update`, or in a resolver.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        return self._engine.node.members()

    def forget(self, node: str) -> None:
        """Take a node that is gone for good off the list of members.

        Should it come back, it joins as a new one, with its data.

        Args:
            node: its name or its origin.

        Raises:
            UsageError: it is no member, it lives, it is this node, or several have that name.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        self._engine.node.forget(node)

    def sync(self, timeout: float | None = None) -> bool:
        """Have a round with every known peer now: each side gets what the other one holds.

        Args:
            timeout: seconds for all of them; None waits as long as they make progress.

        Returns:
            Whether that succeeded with all of them; True where there is none.

        Raises:
            UsageError: called in the trio thread of `open_replica`: await `synchronize` there.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        return self._engine.node.sync(timeout)

    def status(self) -> Status:
        """This node and its peers at this moment.

        Raises:
            UsageError: called in the function given to `update`, or in a resolver.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        return self._engine.node.status()

    def on(self, event: str, callback: Callable[..., object]) -> None:
        """Call `callback` whenever `event` happens.

        Callbacks run in a thread of their own, one after the other; what they raise is logged.

        Args:
            event: "connect" (host and port: this node dialled), "connection" (host and port: it
                was dialled), "round" (a `replicator.status.Round`), "conflict" (key and versions,
                winner first), "error" (an exception).

        Raises:
            UsageError: there is no such event.
            RuntimeError: the handle is closed.
        """
        self._check_open()
        self._engine.events.on(event, callback)

    def off(self, event: str, callback: Callable[..., object]) -> None:
        """Take back one `on` of the same event and callback. Raises as that."""
        self._check_open()
        self._engine.events.off(event, callback)
