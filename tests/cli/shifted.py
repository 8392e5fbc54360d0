"""Runs a command by another wall clock: ``python shifted.py FILE replicator serve …``.

The file holds by how many seconds the clock is off; it is read at every look at the clock, so a
test sets the clock of a running process by writing the file.
"""

import sys
import time
from pathlib import Path

from replicator.faces.cli import main


def run() -> None:
    file, *command = sys.argv[1:]
    path, time_ns = Path(file), time.time_ns

    def shifted_ns() -> int:
        text = path.read_text()
        return time_ns() + int(text or 0) * 1_000_000_000

    time.time_ns = shifted_ns
    time.time = lambda: shifted_ns() / 1e9
    sys.argv = command
    main()


if __name__ == "__main__":
    run()
