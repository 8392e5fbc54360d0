"""SECURITY.md names the limits that are in force."""

from pathlib import Path

from replicator.config import (
    CONNECTIONS_PER_HOST_MAX,
    FRAME_BYTES_MAX,
    GREETING_BYTES_MAX,
    INBOX_BYTES_MAX,
    INBOX_MESSAGES_MAX,
    Settings,
)
from replicator.faces.redis.limits import RESP_CLIENTS_MAX, RESP_REQUEST_BYTES_MAX
from replicator.net.credentials import EXPIRY_WARNING_DAYS
from replicator.net.tls import LOOK_SECONDS
from replicator.protocol.timing import SILENCES_MAX

TEXT = " ".join((Path(__file__).parent.parent / "SECURITY.md").read_text().split())
SETTINGS = Settings()


def test_limits() -> None:
    for told in (
        f"{SETTINGS.connections_max} (`connections_max`), {CONNECTIONS_PER_HOST_MAX} from one IP",
        f"{SETTINGS.connect_timeout:g} s (`connect_timeout`) each",
        f"times {SETTINGS.keepalive:g} s (`keepalive`)",
        f"| the first frame | {GREETING_BYTES_MAX >> 10} KiB |",
        f"| {FRAME_BYTES_MAX >> 20} MiB |",
        f"{INBOX_MESSAGES_MAX} messages or {INBOX_BYTES_MAX >> 10} KiB",
        f"{RESP_CLIENTS_MAX:,}, a request of at most {RESP_REQUEST_BYTES_MAX >> 20} MiB",
        f"can fill the {SETTINGS.connections_max} connections",
    ):
        assert told in TEXT, told
    assert (SILENCES_MAX, LOOK_SECONDS, EXPIRY_WARNING_DAYS) == (3, 2.0, 7), "told in words"
