"""The two ways in for programs: `replicate` for any program, `open_replica` within trio."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import plyvel
import trio
from plyvel._plyvel import PrefixedDB

from replicator.background import NodeThread
from replicator.config import CLUSTER_DEFAULT, HOST_DEFAULT, PORT_DEFAULT, Settings
from replicator.core.resolve import Resolver, ResolverMode
from replicator.errors import DoubleWrapError
from replicator.events import Events
from replicator.faces.engine import Engine
from replicator.faces.handle import Replica
from replicator.faces.keywords import Keywords, Tuning, check_resolver, make_settings
from replicator.faces.leveldb import open_leveldb
from replicator.faces.nursery import NurseryNode, TrioReplica
from replicator.faces.views import Writable
from replicator.net.discovery.multicast import Multicast
from replicator.net.discovery.provider import Provider
from replicator.net.tls import Tls, TlsFiles
from replicator.node import Node
from replicator.store.store import Store

DISCOVERY_DEFAULT: tuple[Provider, ...] = (Multicast(),)
"""How peers are found where nobody says otherwise."""

AdoptionProgress = Callable[[int], None]


def replicate(
    db: plyvel.DB | PrefixedDB,
    *,
    host: str = HOST_DEFAULT,
    port: int | None = PORT_DEFAULT,
    peers: Iterable[str] = (),
    discovery: Iterable[Provider] | None = None,
    cluster: str = CLUSTER_DEFAULT,
    name: str | None = None,
    resolver: Resolver | None = None,
    resolver_mode: ResolverMode = "concurrent",
    join_timeout: float = 2.0,
    sync: bool = False,
    tls: Mapping[str, str] | None = None,
    adoption_progress: AdoptionProgress | None = None,
    **tuning: Unpack[Tuning],
) -> Replica:
    """Wrap an open LevelDB: a handle of the same shape, whose writes are replicated.

    The node runs in a thread of its own until the handle is closed. From now on use the handle
    alone: what is written to `db` itself is not replicated. Existing data is adopted first.

    Args:
        db: an open ``plyvel.DB``, or a ``PrefixedDB`` of one; then just that prefix is replicated.
        host, port: where to listen; port 0 takes a free one (`Replica.address` tells), None does
            not listen.
        peers: addresses to dial, ``host:port``, IPv6 in brackets.
        discovery: providers of further peers, see `replicator.discovery`; None is multicast on the
            interfaces that the node listens on, an empty list is none.
        cluster: nodes of different cluster names never talk. Two stores that both hold data are
            merged where one dials the other, or both have the same name other than "default".
        name: what people call this node; None takes its address.
        resolver: ``resolver(a, b)`` settles a conflict: True for `a`, False for `b`, bytes for
            both merged; the same on all nodes. None is the default order: higher clock, then
            later timestamp, then greater dot. See `replicator.resolvers`.
        resolver_mode: "concurrent": it settles every conflict; "equal-clock": a higher clock wins
            by itself.
        join_timeout: seconds that the first write waits for an attempt to replicate.
        sync: whether every write returns only when it survives a power cut.
        tls: the files of mutual TLS, a mapping of ca, certificate, key and revoked to paths; None
            talks without, and then listens on loopback alone unless `insecure` is said.
        adoption_progress: told the number of existing keys adopted, now and then.
        tuning: see `Tuning`.

    Raises:
        UsageError: `db` is no open handle, the port is in use, or others than this machine could
            connect without TLS.
        DoubleWrapError: `db`, or a prefix that overlaps, is wrapped already.
        ConfigError: a keyword's value is malformed; the message says what to write.
        StorageError: LevelDB failed, or holds what cannot be replicated.
        On every error `db` stays open.
    """
    settings = _with_discovery(
        host=host,
        port=port,
        peers=peers,
        discovery=discovery,
        cluster=cluster,
        name=name,
        join_timeout=join_timeout,
        sync=sync,
        tls=tls,
        **tuning,
    )
    store = _open_store(db, settings, resolver, resolver_mode, adoption_progress)
    return _run(db, store, settings)


def visit(
    db: plyvel.DB | PrefixedDB,
    *,
    resolver: Resolver | None = None,
    resolver_mode: ResolverMode = "concurrent",
    adoption_progress: AdoptionProgress | None = None,
    **keywords: Unpack[Keywords],
) -> Replica:
    """Wrap a LevelDB that belongs to another program, for a moment and without peers.

    What its keys show stands for that program's resolver, which the store remembers by name, and
    stays as it is.

    Args:
        adoption_progress: told the number of existing keys adopted, now and then.
        keywords: as for `replicate`; where to listen and whom to dial is left out of account.

    Raises:
        What `replicate` raises.
    """
    alone: Keywords = {"port": None, "peers": (), "discovery": (), "dial_members": False}
    settings = make_settings(**keywords | alone)
    store = _open_store(db, settings, resolver, resolver_mode, adoption_progress, visiting=True)
    return _run(db, store, settings)


def _run(db: plyvel.DB | PrefixedDB, store: Store, settings: Settings) -> Replica:
    """A handle with its node in a thread of its own; closes the store where that fails."""
    events = Events(settings.name or "")
    try:
        node = Node(store, settings, events, tls=_tls_of(settings))
        thread = NodeThread(node)
        thread.start()
    except BaseException:
        store.close()
        raise
    return Replica(Engine(db, store, node, thread, events))


@asynccontextmanager
async def open_replica(
    db_or_path: plyvel.DB | PrefixedDB | str | bytes | os.PathLike[str],
    *,
    resolver: Resolver | None = None,
    resolver_mode: ResolverMode = "concurrent",
    adoption_progress: AdoptionProgress | None = None,
    **keywords: Unpack[Keywords],
) -> AsyncIterator[TrioReplica]:
    """Wrap a LevelDB within a trio program: the node runs in a nursery of the caller's.

    ``async with open_replica(...) as db:`` gives a handle, closed at the end of the block, also
    where that is cancelled or raises. See `TrioReplica` about calls that block.

    Args:
        db_or_path: as for `replicate`; or a directory, opened or made here, and closed in the end.
        keywords: as for `replicate`.

    Raises:
        What `replicate` raises; then a handle that was given stays open.
    """
    settings = _with_discovery(**keywords)
    with ExitStack() as on_failure:
        db: plyvel.DB | PrefixedDB
        if isinstance(db_or_path, str | bytes | os.PathLike):
            directory = Path(os.fsdecode(db_or_path))
            opened = await trio.to_thread.run_sync(partial(open_leveldb, directory, create=True))
            on_failure.callback(opened.close)
            db = opened
        else:
            db = db_or_path
        store = await trio.to_thread.run_sync(
            _open_store, db, settings, resolver, resolver_mode, adoption_progress
        )
        on_failure.callback(store.close)
        events = Events(settings.name or "")
        node = Node(store, settings, events, tls=_tls_of(settings))
        runner = NurseryNode(node)
        with _ungrouped():
            async with trio.open_nursery() as nursery:
                await nursery.start(runner.run)
                on_failure.pop_all()
                replica = TrioReplica(Engine(db, store, node, runner, events), runner)
                try:
                    yield replica
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(replica.close)


def _with_discovery(**keywords: Any) -> Settings:
    """The settings, multicast in force where no way to find peers was chosen."""
    settings = make_settings(**{"discovery": None} | keywords)
    if settings.discovery is None:
        return replace(settings, discovery=DISCOVERY_DEFAULT)
    return settings


def _tls_of(settings: Settings) -> Tls | None:
    """The credentials, where there are any.

    Raises:
        ConfigError, MissingExtraError: see `Tls`.
    """
    return None if settings.tls is None else Tls(TlsFiles.from_mapping(settings.tls))


@contextmanager
def _ungrouped() -> Iterator[None]:
    """Raise an exception from within a nursery as what it is, where it is the only one: that the
    node has a nursery of its own is none of the caller's business."""
    alone = None
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        alone = group.exceptions[0]
    if alone is not None:
        try:
            raise alone
        finally:
            del alone  # else its traceback and this frame keep each other alive


def _open_store(
    db: plyvel.DB | PrefixedDB,
    settings: Settings,
    resolver: Resolver | None,
    resolver_mode: ResolverMode,
    adoption_progress: AdoptionProgress | None,
    *,
    visiting: bool = False,
) -> Store:
    if isinstance(db, Writable):
        raise DoubleWrapError(f"{db!r} is replicated already: use it as it is")
    check_resolver(resolver, resolver_mode)
    return Store.open(
        db,
        settings=settings,
        resolver=resolver,
        resolver_mode=resolver_mode,
        adoption_progress=adoption_progress,
        visiting=visiting,
    )
