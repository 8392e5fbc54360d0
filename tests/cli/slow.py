"""Runs a command whose store takes for ever to close: ``python slow.py BOUND replicator serve …``.

BOUND is what stands for `CLOSE_SECONDS_MAX`.
"""

import sys
import time

from replicator.faces import daemon
from replicator.faces.cli import main
from replicator.store.store import Store


def run() -> None:
    _, bound, *command = sys.argv
    daemon.CLOSE_SECONDS_MAX = float(bound)
    Store.close = lambda _: time.sleep(600)  # type: ignore[method-assign]
    sys.argv = command
    main()


if __name__ == "__main__":
    run()
