"""The log on standard error, for people."""

import logging
import sys


class LineFormatter(logging.Formatter):
    """Time, level and message. What does not print is escaped: a message may quote a stranger."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        return "\n".join(map(_printable, lines))


def log_to_stderr(level: int) -> None:
    """Send the package's log from `level` on to standard error. Call it once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("replicator")
    logger.addHandler(handler)
    logger.setLevel(level)


def _printable(line: str) -> str:
    return "".join(part if part.isprintable() else ascii(part)[1:-1] for part in line)
