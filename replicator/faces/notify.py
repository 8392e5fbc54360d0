"""What the daemon tells the service manager: systemd's notification protocol (``sd_notify``).

A datagram of ``NAME=value`` lines to the Unix socket that the environment names. Where it names
none, nobody is told. The protocol is stable and documented in sd_notify(3).
"""

import logging
import os
import socket
import time
from collections.abc import MutableMapping

from replicator.faces.limits import NOTIFY_SECONDS

logger = logging.getLogger("replicator")

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


class Notifier:
    """Tells the service manager how the daemon is. Not thread-safe; never raises.

    Args:
        address: path of its socket, or ``@`` and a name in the abstract space; None tells nobody.
        watchdog_seconds: how long the manager waits for a sign of life before it ends the process;
            None waits for none.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self._address = address and ("\0" + address[1:] if address[0] == "@" else address)

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """What the manager has left in the environment. It is taken out: programs that the daemon
        starts must not speak for it."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        process = environ.pop("WATCHDOG_PID", "")
        if address[:1] not in ("/", "@"):
            return cls()
        is_watched = microseconds.isdecimal() and process in ("", str(os.getpid()))
        return cls(address, int(microseconds) / 1e6 if is_watched and int(microseconds) else None)

    @property
    def is_heard(self) -> bool:
        """Whether there is a manager."""
        return self._address is not None

    def tell(self, *lines: str, patience: float = NOTIFY_SECONDS) -> None:
        """Send one message.

        Args:
            patience: seconds in which the manager must take it; 0 does not wait.
        """
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(patience)
                manager.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.warning("the service manager does not hear: %s", error)

    def reloading(self) -> None:
        """Say that a reload begins; `READY` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
