"""What happened in a run, in virtual time, to be read by people.

Origins appear as the node's letter and the number of its incarnation: ``B2`` is what B issued as
after it took its second origin; ``B2:7`` is a dot.
"""

import re

from replicator.core.chunk import Chunk
from replicator.core.dots import format_origin
from replicator.core.known import KnownSet
from replicator.core.record import Record
from replicator.protocol.messages import Begin, Hello, Known, Message, Records, Want

_ORIGIN = re.compile(r"\b[0-9a-f]{16}\b")


class Transcript:
    """Lines of one run. Switched off it costs a call a line.

    Attributes:
        wanted: whether lines are kept; callers need not format any otherwise.
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self._lines: list[str] = []
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def name_origin(self, origin: int, node: str) -> None:
        """`node` issues as `origin` from now on."""
        text = format_origin(origin)
        if text not in self._names:
            self._counts[node] = self._counts.get(node, 0) + 1
            self._names[text] = f"{node}{self._counts[node]}"

    def say(self, now: float, who: str, text: str) -> None:
        if self.wanted:
            self._lines.append(f"{now:8.3f}  {who:<5} {text}")

    def readable(self, text: str) -> str:
        """`text` with the origins by name."""
        return _ORIGIN.sub(lambda match: self._names.get(match[0], match[0]), text)

    def lines(self) -> list[str]:
        return [self.readable(line) for line in self._lines]


def describe(message: Message) -> str:
    """A message in a line."""
    match message:
        case Hello(node=node, origin=origin, cluster_id=cluster_id):
            cluster = "no cluster id" if cluster_id is None else f"cluster {cluster_id.hex()[:8]}"
            return f"Hello from {node} as {format_origin(origin)}, {cluster}"
        case Known(known=known):
            return f"Known {describe_known(known)}"
        case Want(round=number, wanted=wanted):
            what = "everything" if wanted is None else describe_known(wanted)
            return f"Want {number}: {what}"
        case Begin(round=number, known=known, floor=floor, full=full):
            kind = "full-state round" if full else "round"
            below = ", ".join(f"{format_origin(origin)}:{seq}" for origin, seq in floor.items())
            return f"Begin {kind} {number}, known {describe_known(known)}, floor {below or 'none'}"
        case Records(round=number, chunk=chunk):
            return f"Records {number}: {describe_chunk(chunk)}"
        case _:
            return repr(message)


def describe_known(known: KnownSet) -> str:
    return repr(known).removeprefix("KnownSet(").removesuffix(")") or "nothing"


def describe_chunk(chunk: Chunk) -> str:
    return "; ".join(
        f"{key.decode()} = {describe_record(record)}" for key, record in chunk.records()
    )


def describe_record(record: Record) -> str:
    """Live versions and context."""
    versions = ", ".join(
        f"{version.dot} {'deleted' if version.value is None else version.value.decode()}"
        for version in record.versions
    )
    context = " ".join(f"{format_origin(o)}:{seq}" for o, seq in sorted(record.context.items()))
    return f"[{versions or 'absent'}] over {{{context}}}"
