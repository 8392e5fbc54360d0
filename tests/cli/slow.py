"""Runs a command whose store takes long to close:
``python slow.py BOUND SECONDS replicator serve …``.

BOUND is what stands for `CLOSE_SECONDS_MAX`, SECONDS how much longer than usual it takes.
"""

import sys
import time

from replicator.faces import daemon
from replicator.faces.cli import main
from replicator.store.store import Store


def run() -> None:
    _, bound, seconds, *command = sys.argv
    close = Store.close
    daemon.CLOSE_SECONDS_MAX = float(bound)

    def closed_late(store: Store) -> None:
        time.sleep(float(seconds))
        close(store)

    Store.close = closed_late  # type: ignore[method-assign]
    sys.argv = command
    main()


if __name__ == "__main__":
    run()
