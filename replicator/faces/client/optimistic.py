"""Read, change and write one key at one daemon, with no other write of that in between.

The write names the versions that were read, and is refused where others are live by then (``IF`` of
``REPL.PUT``); then all of it is done again. So nothing is held between the two, and what is written
is decided by exactly what was read, as in the function given to `Replica.update`.
"""

from collections.abc import Callable
from typing import Any

from replicator import chance
from replicator.core.record import Version
from replicator.errors import ContendedError, RefusedError
from replicator.faces.client.answers import without_expired
from replicator.faces.client.calling import Call, Caller, call_of
from replicator.faces.client.limits import CLIENT_UPDATE_PAUSE_MAX, CLIENT_UPDATES_MAX
from replicator.faces.client.replies import CHANGED
from replicator.faces.client.retries import Retry
from replicator.faces.client.words import value_of

Decide = Callable[[list[Version]], bytes | None]
"""Given the live versions, winner first; the new value, None to delete."""


async def change(
    caller: Caller[Any],
    key: bytes,
    decide: Decide,
    *,
    promises: tuple[bytes, ...] = (),
    lifetime: tuple[bytes, ...] = (),
    seconds: float = 0.0,
) -> bytes | None:
    """Write what `decide` makes of a key, which may be asked several times.

    Args:
        promises, lifetime, seconds: see `replicator.faces.client.words`.

    Returns:
        What it decided.

    Raises:
        OutcomeUnknown: the answer was lost.
        ContendedError: others wrote the key each time.
        What `decide` raises.
    """
    pause = 0.001
    for _ in range(CLIENT_UPDATES_MAX):
        told = await caller.call(call_of(b"REPL.VERSIONS", key))
        value = decide(without_expired(key, told))
        words: tuple[bytes, ...] = (b"REPL.DELETE", key)
        if value is not None:
            words = (b"REPL.PUT", key, value_of(value), *lifetime)
        only_over = (b"IF", *(version[b"dot"] for version in told))
        try:
            await caller.call(Call((*words, *promises, *only_over), Retry.NEVER, seconds))
        except RefusedError as error:
            if error.code != CHANGED:
                raise
        else:
            return value
        await caller.world.pause(pause * chance.uniform(0.5, 1.0))
        pause = min(2 * pause, CLIENT_UPDATE_PAUSE_MAX)
    raise ContendedError(
        f"others wrote key {key[:40]!r} in between, {CLIENT_UPDATES_MAX} times: write it from "
        "fewer places, or keep the function short"
    )
