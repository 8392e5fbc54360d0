"""What a node writes into the log: each failure once until it changes, nothing raw from peers."""

import logging

from replicator.config import LOGGED_FAILURES_MAX

SHOWN_CHARACTERS_MAX = 300
"""Longest text of a peer that is shown."""

logger = logging.getLogger("replicator")


def printable(text: str) -> str:
    """Text of a stranger, safe for logs and terminals: control characters are escaped, and what
    is too long is cut."""
    text = "".join(part if part.isprintable() else ascii(part)[1:-1] for part in text)
    if len(text) > SHOWN_CHARACTERS_MAX:
        text = f"{text[:SHOWN_CHARACTERS_MAX]}…"
    return text


class Journal:
    """Logs failures that come again and again once, until they change. For one thread.

    Args:
        who: the node, at the head of every line.
    """

    def __init__(self, who: str = "") -> None:
        self.who = who
        self._failures: dict[str, str] = {}

    def info(self, text: str) -> None:
        logger.info("%s: %s", printable(self.who), printable(text))

    def failed(self, subject: str, text: str) -> bool:
        """Log that `subject` fails, unless it did with the same text the last time.

        Returns:
            Whether it was new.
        """
        known = self._failures.get(subject) == text
        if not known:
            self._failures.pop(subject, None)
            if len(self._failures) >= LOGGED_FAILURES_MAX:
                del self._failures[next(iter(self._failures))]
            self._failures[subject] = text
            logger.warning("%s: %s: %s", *map(printable, (self.who, subject, text)))
        return not known

    def works(self, subject: str) -> None:
        """Log that `subject` works again, if it had failed."""
        if self._failures.pop(subject, None) is not None:
            logger.info("%s: %s: works again", printable(self.who), printable(subject))

    def bug(self, subject: str, error: BaseException) -> None:
        """Log what should not happen, with its traceback."""
        logger.error("%s: %s", printable(self.who), printable(subject), exc_info=error)
