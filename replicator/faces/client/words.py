"""Words of requests out of what a program gives, checked as the library's handle checks it."""

from typing import Any

from replicator.config import KEY_BYTES_MAX, VALUE_BYTES_MAX
from replicator.errors import ReservedKeyError, UsageError
from replicator.faces.seen import Seen, seen_by
from replicator.faces.ttl import expiry_after


def key_of(key: object) -> bytes:
    """A key.

    Raises:
        TypeError: it is no bytes.
        ReservedKeyError: it is too large.
    """
    if not isinstance(key, bytes):
        raise TypeError(f"a key must be bytes, not {type(key).__name__}")
    if len(key) > KEY_BYTES_MAX:
        raise ReservedKeyError(f"a key of {len(key)} bytes: at most {KEY_BYTES_MAX} are accepted")
    return key


def value_of(value: Any) -> bytes:
    """A value.

    Raises:
        TypeError: it has no buffer.
        ReservedKeyError: it is too large.
    """
    made = value if type(value) is bytes else bytes(memoryview(value))
    if len(made) > VALUE_BYTES_MAX:
        raise ReservedKeyError(
            f"a value of {len(made)} bytes: at most {VALUE_BYTES_MAX} are accepted"
        )
    return made


def lifetime_of(ttl: float | None) -> tuple[bytes, ...]:
    """``PX ms``.

    Raises:
        TypeError: it is no number.
        ExpiryError: it is out of range.
    """
    return () if ttl is None else (b"PX", b"%d" % expiry_after(ttl, 0))


def promises_of(
    sync: bool | None, replicas: int | None, timeout: float | None
) -> tuple[tuple[bytes, ...], float]:
    """``[SYNC 1] [REPLICAS n] [TIMEOUT ms]``, and how long the daemon may wait for that.

    Raises:
        TypeError: `sync` is no truth value, or `replicas` or `timeout` no number.
        UsageError: `sync` is False, which only the daemon's own setting can say; or the others
            make no sense.
    """
    if sync is not None and not isinstance(sync, bool):
        raise TypeError(f"sync must be True or None, not {type(sync).__name__}")
    if sync is False:
        raise UsageError("sync=False is not for a client to say: None follows the daemon's setting")
    words: list[bytes] = [b"SYNC", b"1"] if sync else []
    if replicas is None:
        if timeout is not None:
            raise UsageError("timeout= says how long to wait for replicas=: give both, or none")
        return tuple(words), 0.0
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise TypeError(f"replicas must be a number of peers, not {type(replicas).__name__}")
    if replicas < 1:
        raise UsageError(f"replicas={replicas}: a write is in at the daemon anyway; wait for 1 on")
    words += [b"REPLICAS", b"%d" % replicas]
    if timeout is None:
        return tuple(words), float("inf")
    words += [b"TIMEOUT", milliseconds(timeout)]
    return tuple(words), timeout


def milliseconds(timeout: float) -> bytes:
    """Seconds as whole milliseconds.

    Raises:
        TypeError: it is no number.
        UsageError: it is below 0, or none that a clock knows.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not 0 <= timeout < 1e9:
        raise UsageError(f"a timeout of {timeout} seconds: it must be 0 or more, or None")
    return b"%d" % round(timeout * 1000)


def seen_of(key: bytes, seen: Seen | None) -> tuple[bytes, ...]:
    """``SEEN dot …``. Raises as `seen_by`."""
    dots, _ = seen_by(key, seen)
    return () if dots is None else (b"SEEN", *(str(dot).encode() for dot in sorted(dots)))
