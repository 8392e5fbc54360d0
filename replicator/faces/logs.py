"""The log on standard error: lines for people on a terminal, JSON for programs elsewhere.

A message may quote a stranger: a key, a peer's name, what it said. So nothing that moves a cursor
or hides text goes out as it is, and nothing that is quoted can look like an entry of its own: an
entry for people begins at the edge, its further lines (a traceback) are indented; JSON is one
ASCII object a line.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_OURS = logging.getLogger("replicator")


class LineFormatter(logging.Formatter):
    """For people: time, level and message, what does not print escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record)
        entry = f"{time} {record.levelname} {printable(record.getMessage())}"
        return "\n    ".join([entry, *map(printable, _trace(self, record).splitlines())])


class JsonFormatter(logging.Formatter):
    """For programs: ``time`` (UTC), ``level``, ``logger``, ``message``, and ``trace`` where
    something was raised."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        entry = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(self, record):
            entry["trace"] = trace
        return json.dumps(entry)


def log_to_stderr(level: str, form: str = "text") -> None:
    """Send the package's log from a level on, and warnings of everything else, to standard error.
    Called again it changes both.

    Args:
        level: one of `LEVELS`.
        form: "text", "json", or "auto" for text on a terminal and JSON elsewhere.
    """
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    handler = _Handler(sys.stderr)
    handler.setFormatter(_formatter(form, sys.stderr))
    root.addHandler(handler)
    logging.captureWarnings(True)
    set_level(level)


def set_level(level: str) -> None:
    """Log from this level on: one of `LEVELS`."""
    _OURS.setLevel(LEVELS[level])


def printable(text: str) -> str:
    """Text on one line in which whatever does not print is escaped."""
    if text.isprintable():
        return text
    return "".join(part if part.isprintable() else ascii(part)[1:-1] for part in text)


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be found again."""


def _formatter(form: str, stream: TextIO) -> logging.Formatter:
    is_text = form == "text" or (form == "auto" and stream.isatty())
    return LineFormatter() if is_text else JsonFormatter()


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)
