"""What a conversation tells of itself: one of its effects (`replicator.protocol.effects`)."""

from dataclasses import dataclass
from typing import Literal

ReportKind = Literal[
    "reached", "met", "round", "served", "resolver", "skew", "compared", "differs", "mended"
]


@dataclass(frozen=True, slots=True)
class Report:
    """Something that people may want to know.

    Attributes:
        kind: "reached": the peer has found this node at the address in `text`; "met": the peer has
            greeted and belongs here; "round": a round from the peer is complete; "served": a round
            for the peer was sent; "resolver": the peer resolves conflicts with another resolver
            (R6); "skew": the wall clocks lie too far apart; "compared": the digests of both are
            equal (R16); "differs": they are not; "mended": a round that mends that is complete.
        text: for people; empty where the numbers say all.
        records, changed, size_bytes: of a round: records sent or received, how many of the
            received ones changed something here, and what they counted against limits.
        full: whether it was a full-state round.
    """

    kind: ReportKind
    text: str = ""
    records: int = 0
    changed: int = 0
    size_bytes: int = 0
    full: bool = False
