"""When a provider looks again: regularly, and after failures less and less often."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import trio

from replicator.chance import uniform
from replicator.config import DISCOVERED_ADDRESSES_MAX, DISCOVERY_RETRY_SECONDS
from replicator.errors import ConfigError
from replicator.net.address import Address
from replicator.net.discovery.lines import excerpt
from replicator.net.discovery.provider import Outlook

JITTER = 0.2
"""Share by which a pause is shortened at random: nodes that start together drift apart."""

ERROR_CHARACTERS_MAX = 200
"""What is shown of an error that somebody else's code raises."""

INTERVAL_MIN = 0.01
INTERVAL_MAX = 86_400.0


class LookError(Exception):
    """A look found nothing out; the text says what to do. What was found before stays."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found.

    Attributes:
        addresses: all that there are now; None where that is not known yet.
        complaint: what is wrong with part of it, and what to do.
        pause: seconds until the next look; None takes the provider's interval.
        is_complete: whether everything could be asked; if not, it is asked again after a pause
            as after a failure.
    """

    addresses: Collection[Address] | None
    complaint: str | None = None
    pause: float | None = None
    is_complete: bool = True


class Backoff:
    """Pauses that double.

    Args:
        longest: seconds.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._next = min(DISCOVERY_RETRY_SECONDS, longest)

    def next(self) -> float:
        """Seconds to wait now."""
        pause = self._next
        self._next = min(2 * pause, self._longest)
        return jittered(pause)

    def reset(self) -> None:
        """Begin again with the first pause."""
        self._next = min(DISCOVERY_RETRY_SECONDS, self._longest)


def jittered(seconds: float) -> float:
    """A little less than `seconds`, at random."""
    return seconds * uniform(1 - JITTER, 1)


def checked_interval(what: str, seconds: float) -> float:
    """An interval or time limit of a provider.

    Raises:
        ConfigError: it is no number of seconds, or out of range.
    """
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not INTERVAL_MIN <= seconds <= INTERVAL_MAX:
        raise ConfigError(
            f"{what} is {seconds!r}: give seconds, from {INTERVAL_MIN:g} to {INTERVAL_MAX:g}"
        )
    return float(seconds)


class Report:
    """What a provider tells its outlook: a change of addresses once, no more than allowed."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        self._told: set[Address] | None = None

    def tell(self, finding: Finding) -> None:
        """Pass on a finding, and whether something is wrong with it."""
        complaint = finding.complaint
        if finding.addresses is not None:
            addresses = list(dict.fromkeys(finding.addresses))
            if len(addresses) > DISCOVERED_ADDRESSES_MAX:
                del addresses[DISCOVERED_ADDRESSES_MAX:]
                complaint = (
                    f"more than {DISCOVERED_ADDRESSES_MAX} addresses: the rest is left out; name "
                    "a few peers, they pass on the others"
                )
            if self._told != set(addresses):
                self._told = set(addresses)
                self._outlook.found(addresses)
        if complaint is None:
            self._outlook.works()
        else:
            self._outlook.trouble(complaint)

    def failed(self, error: Exception) -> None:
        """Pass on that a look failed. What was found before stays."""
        if isinstance(error, LookError):
            self._outlook.trouble(str(error))
        else:
            text = excerpt(str(error), ERROR_CHARACTERS_MAX)
            self._outlook.trouble(f"{type(error).__name__}: {text}")


async def keep_looking(
    outlook: Outlook, look: Callable[[], Awaitable[Finding]], interval: float
) -> None:
    """Look until cancelled, and tell what comes of it.

    Args:
        look: one look. Whatever it raises is told, and it is tried again.
        interval: seconds between two looks, and the longest pause after a failure.
    """
    report = Report(outlook)
    backoff = Backoff(interval)
    while True:
        try:
            finding = await look()
        except Exception as error:
            report.failed(error)
            pause = backoff.next()
        else:
            report.tell(finding)
            if finding.is_complete:
                backoff.reset()
                pause = jittered(interval if finding.pause is None else finding.pause)
            else:
                pause = backoff.next()
        await trio.sleep(pause)
