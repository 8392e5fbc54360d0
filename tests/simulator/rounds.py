"""Rounds without a conversation, for tests that tell a story step by step."""

from random import Random

from replicator.core.chunk import Chunk
from replicator.core.known import KnownSet
from replicator.core.resolve import default_resolver

from .disk import Disk
from .model_store import Habits, ModelStore
from .oracle import Oracle


def make_store(
    name: str,
    oracle: Oracle,
    store: type[ModelStore] = ModelStore,
    *,
    switch: float = 0.0,
    seed: int = 0,
    chunk_records: int = 1,
) -> ModelStore:
    """An empty store of a node called `name`."""
    random = Random(f"{name} {seed}")
    habits = Habits(
        name, random, lambda: 1_790_000_000_000, default_resolver, "concurrent", chunk_records
    )
    return store.open(Disk(random, switch), habits, oracle, lost_power=False, copied=False)


def reopen(store: ModelStore, *, lost_power: bool = False, copied: bool = False) -> ModelStore:
    """The store that the next process finds."""
    store.disk.reopen(power_lost=lost_power)
    return type(store).open(
        store.disk, store.habits, store.ledger, lost_power=lost_power, copied=copied
    )


def log_round(
    receiver: ModelStore,
    sender: ModelStore,
    *,
    withheld: KnownSet | None = None,
    cut_after: int | None = None,
) -> None:
    """The receiver pulls a round from the sender, piece by piece.

    Args:
        withheld: what is not asked for; then nothing is claimed.
        cut_after: pieces after which the round is cut.
    """
    source = sender.open_source()
    sender.show(sender.seq)
    lack = source.known.difference(receiver.known_now()).difference(withheld or KnownSet())
    for count, chunk in enumerate(source.read(lack)):
        if count == cut_after:
            return
        receiver.apply(chunk, source.known)
    if cut_after is None and withheld is None:
        receiver.finish(Chunk(), source.known, source.known, source.floor)


def full_round(receiver: ModelStore, sender: ModelStore, *, cut_after: int | None = None) -> None:
    """The receiver pulls a full-state round from the sender."""
    source = sender.open_source()
    sender.show(sender.seq)
    after = None
    for count, chunk in enumerate(source.read_all()):
        if count == cut_after:
            return
        receiver.apply_full(chunk, source.known, source.floor, after, chunk.keys[-1])
        after = chunk.keys[-1]
    if cut_after is None:
        receiver.apply_full(Chunk(), source.known, source.floor, after, None)
        receiver.finish(Chunk(), source.known, source.known, source.floor)
