"""Chance for pauses and schedules, of a generator of its own.

The generator that the `random` module shares belongs to the program: one that seeds it, to have its
own work repeatable, would put nodes in step, and their draws would disturb its sequence.
"""

from random import Random

_own = Random()

random = _own.random
"""Evenly distributed in [0, 1). Thread-safe."""

uniform = _own.uniform
"""Evenly distributed between two bounds. Thread-safe."""
