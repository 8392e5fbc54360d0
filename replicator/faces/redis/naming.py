"""Names that clients give to themselves."""

from replicator.faces.redis.limits import RESP_NAME_BYTES_MAX
from replicator.faces.stepwise import CommandError


def check_name(name: bytes, what: str) -> None:
    """Refuse what would break the lists it stands in.

    Args:
        what: what it is, for the error.

    Raises:
        CommandError: it has other characters than those Redis allows, or too many of them.
    """
    if not all(0x21 <= byte <= 0x7E for byte in name):
        raise CommandError(f"ERR {what} cannot contain spaces, newlines or special characters.")
    if len(name) > RESP_NAME_BYTES_MAX:
        raise CommandError(f"ERR {what} are of {RESP_NAME_BYTES_MAX} bytes at most")
