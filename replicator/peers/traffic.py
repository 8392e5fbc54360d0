"""Totals of all conversations of a node, which outlive the contacts they came from."""

from replicator.net.transport import FramedStream
from replicator.protocol.effects import Report
from replicator.status import TrafficStatus


class Traffic:
    """Counts rounds, records and bytes of a node. For its trio thread."""

    def __init__(self) -> None:
        self._rounds = 0
        self._records_in = 0
        self._records_out = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._open: set[FramedStream] = set()

    def count(self, report: Report) -> None:
        """A round from a peer, or for one, is complete."""
        if report.kind == "round":
            self._rounds += 1
            self._records_in += report.records
        else:
            self._records_out += report.records

    def met(self, stream: FramedStream) -> None:
        """A conversation over this stream begins."""
        self._open.add(stream)

    def parted(self, stream: FramedStream) -> None:
        """It is over."""
        self._open.discard(stream)
        self._bytes_in += stream.bytes_in
        self._bytes_out += stream.bytes_out

    def status(self) -> TrafficStatus:
        """The totals so far, open conversations included."""
        return TrafficStatus(
            rounds=self._rounds,
            records_in=self._records_in,
            records_out=self._records_out,
            bytes_in=self._bytes_in + sum(stream.bytes_in for stream in self._open),
            bytes_out=self._bytes_out + sum(stream.bytes_out for stream in self._open),
        )
