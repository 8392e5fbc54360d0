"""What one commit of a peer's records makes known: dots, claims, timestamps (R3)."""

import time
from dataclasses import dataclass, field

from replicator.core.clock import to_ms
from replicator.core.known import KnownSet
from replicator.core.ranges import Bounds
from replicator.store.knowledge import OriginChange
from replicator.store.state import State


@dataclass(slots=True)
class LearntOrigin:
    """One origin of a chunk: its number here, what is known of it, what is learnt, the timestamps
    of what is new."""

    origin: int
    number: int
    bounds: Bounds
    seqs: list[int] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)


class Learning:
    """Collects what the records of one plan teach. Used under what a plan is made under."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._learnt: dict[int, LearntOrigin] = {}

    def has_repeated_dots(self) -> bool:
        """Whether two records share a dot."""
        return any(len(set(one.seqs)) != len(one.seqs) for one in self._learnt.values())

    def origin(self, origin: int) -> LearntOrigin:
        """What is learnt of one origin; it is interned already."""
        entry = self._learnt.get(origin)
        if entry is None:
            state = self._state
            if origin == state.origin:
                # What no peer was shown, no peer can know: such a dot is a fork's (R13).
                bounds = [1, state.shown + 1] if state.shown else []
            else:
                bounds = state.learnt.bounds(origin)
            entry = LearntOrigin(origin, state.origins.number(origin), bounds)
            self._learnt[origin] = entry
        return entry

    def changes(self, claim: KnownSet | None) -> dict[int, OriginChange]:
        """What becomes known: the dots applied, and the claim (R3).

        Returns:
            Origin → its change, to be written in the batch of the records.
        """
        state = self._state
        changes = {}
        for origin, entry in self._learnt.items():
            if entry.seqs and origin != state.origin:
                change = changes[origin] = OriginChange(entry.number, state.learnt.bounds(origin))
                change.add_seqs(entry.seqs)
        for origin, bounds in claim.items() if claim else ():
            if origin == state.origin or bounds == state.learnt.bounds(origin):
                continue
            if origin not in changes:
                number = state.origins.number(origin)
                changes[origin] = OriginChange(number, state.learnt.bounds(origin))
            for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
                changes[origin].add(start, stop)
        return changes

    def observe(self) -> list[int]:
        """Let the hybrid clock see what was applied, and note whose clocks are too far ahead.

        Returns:
            The origins of those.
        """
        state, skewed = self._state, []
        for entry in self._learnt.values():
            latest = max(entry.stamps, default=0)
            if latest > state.clock.last:
                wall_ms = time.time_ns() // 1_000_000
                count = state.clock.observe_all(entry.stamps, wall_ms)
                if count:
                    state.ahead.note(entry.origin, count, to_ms(latest) - wall_ms)
                    skewed.append(entry.origin)
        return skewed
