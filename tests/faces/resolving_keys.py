"""What the resolver of `resolving.py` does, by key."""

FAULTY = (
    "raises",
    "nonsense",
    "hangs",
    "huge",
    "exits",
    "interrupts",
    "mutates",
    "settles",
)
"""There the default order decides."""

KEYS = (*FAULTY, "good", "merges", "reads", "writes", "tombstone")
