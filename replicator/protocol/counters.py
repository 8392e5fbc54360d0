"""What a conversation has done so far, for status pages."""

from dataclasses import dataclass, replace

from replicator.protocol.effects import Report


@dataclass(frozen=True, slots=True)
class Counters:
    """Complete rounds, their records, and what these counted against limits, in bytes: those
    pulled from the peer and those served to it."""

    rounds: int = 0
    records: int = 0
    size_bytes: int = 0
    rounds_served: int = 0
    records_served: int = 0
    size_bytes_served: int = 0

    def after(self, report: Report) -> "Counters":
        """The counters with what a report says counted in."""
        match report.kind:
            case "round":
                return replace(
                    self,
                    rounds=self.rounds + 1,
                    records=self.records + report.records,
                    size_bytes=self.size_bytes + report.size_bytes,
                )
            case "served":
                return replace(
                    self,
                    rounds_served=self.rounds_served + 1,
                    records_served=self.records_served + report.records,
                    size_bytes_served=self.size_bytes_served + report.size_bytes,
                )
            case _:
                return self
