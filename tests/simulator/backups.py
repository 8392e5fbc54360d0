"""Backups of a node: a full one and increments, and the directory that is restored from them.

By the rules of `replicator.store.backup` and `replicator.store.restore`: an increment holds the
records with live dots that its base does not know, and, where the base lies below the purge floor,
says which keys are there at all (R9). What it restores has no durable known set and no identity.
"""

from replicator.core.known import KnownSet, below_floor

from .disk import Batch


class Backups:
    """The backups of one node so far.

    Attributes:
        restored: all rows of the directory that they restore; None before the first.
        increments: how many increments there are, and those in which absence counts.
    """

    def __init__(self) -> None:
        self.restored: Batch | None = None
        self.increments = 0
        self.absences = 0

    def add(self, image: Batch) -> None:
        """Take a backup: an increment where the one before fits, else a full one."""
        before = self.restored
        if before is None or not known_of(image).issuperset(known_of(before)):
            self.restored = _state(image) | _records(image)
            return
        self.increments += 1
        records = _records(before) | self.changed(before, image)
        if self.absence_counts(before, image):
            self.absences += 1
            records = {key: entry for key, entry in records.items() if key in image}
        self.restored = _state(image) | records

    def absence_counts(self, before: Batch, image: Batch) -> bool:
        """Whether the increment says which keys there are."""
        return below_floor(known_of(before), image.get("floor", {}))

    def changed(self, before: Batch, image: Batch) -> Batch:
        """The records of the increment."""
        lack = known_of(image).difference(known_of(before))
        return {
            key: entry
            for key, entry in _records(image).items()
            if any(version.dot in lack for version in entry.record.versions)
        }


def known_of(image: Batch) -> KnownSet:
    """The known set of a directory."""
    return image.get("known") or KnownSet()


def _records(image: Batch) -> Batch:
    return {key: entry for key, entry in image.items() if type(key) is bytes}


def _state(image: Batch) -> Batch:
    return {key: row for key, row in image.items() if type(key) is not bytes and key != "durable"}
