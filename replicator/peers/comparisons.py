"""What becomes of comparing this node's data with that of its peers (R16)."""

from replicator.chance import random
from replicator.core.dots import format_origin
from replicator.events import Events
from replicator.peers.contacts import Contact
from replicator.peers.journal import Journal
from replicator.protocol.digests import Digests
from replicator.protocol.effects import Report
from replicator.status import DigestStatus


class Comparisons:
    """Keeps the schedule of one node, and tells people what came of it. For one trio thread.

    Args:
        interval: see `Settings.digest_interval`.

    Attributes:
        digests: the schedule, for the conversations.
    """

    def __init__(self, interval: float, journal: Journal, events: Events) -> None:
        self.digests = Digests(interval, random)
        self._journal = journal
        self._events = events

    def reported(self, contact: Contact, report: Report) -> None:
        """Digests were compared with a contact, or what differed was mended."""
        subject = f"data of node {contact.name}"
        if report.kind == "compared":
            self._journal.works(subject)
        elif report.kind == "differs":
            self._journal.failed(subject, report.text)
            self._events.emit("difference", contact.name, format_origin(contact.origin))
        else:
            self._journal.info(f"{subject}: what differed is mended, {report.changed} records here")

    def status(self) -> DigestStatus:
        """What came of it so far."""
        digests = self.digests
        return DigestStatus(digests.compared, digests.differences, digests.mends)
