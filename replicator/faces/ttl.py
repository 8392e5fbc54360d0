"""Times to live, as people say them: seconds from now; the store knows moments (R17)."""

import math

from replicator.config import TTL_SECONDS_MAX
from replicator.errors import ExpiryError


def expiry_after(ttl: float, now_ms: int) -> int:
    """When a value expires that lives so long from now, milliseconds since the epoch.

    Args:
        ttl: seconds, above 0.
        now_ms: the wall clock.

    Raises:
        TypeError: it is no number.
        ExpiryError: it is out of range.
    """
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"ttl must be a number of seconds, not {type(ttl).__name__}")
    if not 0 < ttl <= TTL_SECONDS_MAX:  # also what is not a number at all
        raise ExpiryError(
            f"a time to live of {ttl} seconds: it must be above 0 and at most "
            f"{TTL_SECONDS_MAX:.0e}; leave ttl away for a value that never expires"
        )
    return now_ms + math.ceil(ttl * 1000)
