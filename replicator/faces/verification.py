"""`db.verify()`: the faults of an open store, one after the other."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from replicator.faces.lease import Lease, leased
from replicator.store.verify.faults import Fault, Kind
from replicator.store.verify.scan import Scan

if TYPE_CHECKING:
    from replicator.faces.shape import Handle

_END: Final = object()


class Verification:
    """One verification of one snapshot: iterate over it for the faults. For one thread.

    Ends with the last fault, or with `close`; it holds a snapshot until then. Raises RuntimeError
    where the handle is closed meanwhile.
    """

    def __init__(self, handle: "Handle", scan: Scan) -> None:
        self._handle = handle
        self._scan = scan
        self._steps = scan.steps()

    @property
    def _lease(self) -> Lease:
        return self._handle._lease

    @property
    def keys(self) -> int:
        """How many records were looked at so far."""
        return self._scan.keys

    @property
    def counts(self) -> Counter[Kind]:
        """How many faults of each kind so far."""
        return self._scan.counts

    @property
    def notes(self) -> list[str]:
        """What is unfinished, in words: no damage."""
        return self._scan.notes

    def __iter__(self) -> Iterator[Fault]:
        return (step for step in self.steps() if step is not None)

    def steps(self) -> Iterator[Fault | None]:
        """The same in steps of bounded length: None where one has no fault."""
        try:
            while (step := self._step()) is not _END:
                yield step
        finally:
            self.close()

    @leased
    def _step(self) -> Any:
        return next(self._steps, _END)

    def close(self) -> None:
        """Let go of the snapshot. Idempotent."""
        self._handle._release(self._scan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
