"""The states of a conversation: three small tables, the same for both sides.

The *link* greets, compares known sets, stays open and leaves. While it is open, two halves work
independently of each other: the *pull* half gets what this node lacks, the *serve* half gives the
peer what it lacks.

House rules:

- A trigger with a capital letter is a message of the peer or an event of the driver, by its class
  name; one without is a decision of our own.
- A state changes by its table only. A message without an entry is the peer's mistake
  (`ProtocolError`), anything else without one is a mistake of ours (`UsageError`).
- What a trigger means beyond the change of state is in `conversation`, `pulling` and `serving`.

The diagrams in ``docs/PROTOCOL.md`` are made from these tables by `diagram`.
"""

from collections.abc import Mapping
from typing import get_args

from replicator.errors import ProtocolError, UsageError
from replicator.protocol.messages import Message

Table = Mapping[str, Mapping[str, str]]
"""State → trigger → next state. The first state is where it begins."""

LINK: Table = {
    "new": {"start": "greeting", "end": "ending"},
    "greeting": {"Hello": "comparing", "Bye": "ending", "end": "ending"},
    "comparing": {
        "Known": "open",
        "Ping": "comparing",
        "Pong": "comparing",
        "part": "parting",
        "Bye": "ending",
        "end": "ending",
    },
    "open": {
        "Known": "open",
        "Want": "open",
        "Begin": "open",
        "Records": "open",
        "End": "open",
        "Ping": "open",
        "Pong": "open",
        "Revisions": "open",
        "Call": "open",
        "Members": "open",
        "Accounts": "open",
        "Closed": "open",
        "WantFull": "open",
        "Durable": "open",
        "Secure": "open",
        "Compare": "open",
        "Verdict": "open",
        "Digest": "open",
        "leave": "leaving",
        "Bye": "ending",
        "end": "ending",
    },
    # The peer was told that it is forgotten; it may be about to tell us the same.
    "parting": {
        "Known": "parting",
        "Ping": "parting",
        "Pong": "parting",
        "Bye": "ending",
        "end": "ending",
    },
    # What the peer sent before it saw our Bye is taken in and left alone.
    "leaving": {
        "Known": "leaving",
        "Want": "leaving",
        "Begin": "leaving",
        "Records": "leaving",
        "End": "leaving",
        "Ping": "leaving",
        "Pong": "leaving",
        "Revisions": "leaving",
        "Call": "leaving",
        "Members": "leaving",
        "Accounts": "leaving",
        "Closed": "leaving",
        "WantFull": "leaving",
        "Durable": "leaving",
        "Secure": "leaving",
        "Compare": "leaving",
        "Verdict": "leaving",
        "Digest": "leaving",
        "Bye": "ending",
        "end": "ending",
    },
    # What is being applied is waited for, so that a full-state round keeps its turn (R9).
    "ending": {"close": "closed"},
    "closed": {},
}

PULL: Table = {
    "idle": {"ask": "asked", "mend": "asked", "claim": "finishing"},
    "asked": {"Begin": "log", "Begin full": "full", "Begin compare": "comparing"},
    "log": {"Records": "log", "Applied": "log", "End": "log_ended"},
    "log_ended": {"Applied": "log_ended", "finish": "finishing"},
    "full": {"Records": "full", "Applied": "full", "End": "full_ended"},
    "comparing": {
        "Scanned": "comparing",
        "Verdict": "comparing",
        "Records": "comparing",
        "Applied": "comparing",
        "End": "full_ended",
    },
    "full_ended": {"Applied": "full_ended", "finish": "finishing"},
    "finishing": {"Applied": "idle"},
}

SERVE: Table = {
    "idle": {"Want": "opening", "WantFull": "opening", "Digest mend": "opening"},
    "opening": {"SourceOpened": "walking", "SourceOpened compare": "answering"},
    "walking": {"ChunkRead": "walking", "ChunkRead last": "idle"},
    "answering": {"Compare": "answering", "AnswerRead": "answering", "AnswerRead last": "idle"},
}

_MESSAGES = {kind.__name__ for kind in get_args(Message)}


class Machine:
    """One table and the state it is in."""

    __slots__ = ("_table", "state")

    def __init__(self, table: Table) -> None:
        self._table = table
        self.state = next(iter(table))

    def step(self, trigger: str) -> None:
        """Go to the next state.

        Raises:
            ProtocolError: the peer sent a message that has no place in this state.
            UsageError: the driver, or this package, did something that has none.
        """
        following = self._table[self.state].get(trigger)
        if following is None:
            kind = ProtocolError if trigger.split()[0] in _MESSAGES else UsageError
            raise kind(f"{trigger} has no place in state {self.state!r}")
        self.state = following


def diagram(table: Table) -> str:
    """The table as a mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(table))}"]
    for state, triggers in table.items():
        by_next: dict[str, list[str]] = {}
        for trigger, following in triggers.items():
            by_next.setdefault(following, []).append(trigger)
        lines += [
            f"    {state} --> {following}: {', '.join(names)}"
            for following, names in by_next.items()
        ]
        if not triggers:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)
