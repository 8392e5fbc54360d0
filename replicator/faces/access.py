"""Who may connect to the daemon, and as what: roles, their passwords, the token of HTTP.

Secrets come from files or from environment variables, never from options or the configuration
file: those are read by others, ``ps`` among them. Kept are only keyed hashes, made with a key of
this process, so neither a look at an object nor how long a comparison takes tells anything.

A password file holds the password and nothing else; one newline at its end is left out. It must be
this user's own or root's, and closed to others: the group may read it, as it must in Kubernetes.
"""

import hmac
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from replicator.errors import ConfigError
from replicator.faces.limits import SECRET_BYTES_MAX

SECRETS = ("readonly_password", "application_password", "admin_password", "http_token")
"""What secrets there are. The key of a file is ``[access] NAME_file``, the variable of the secret
itself ``REPLICATOR_ACCESS_NAME``."""


class Role(IntEnum):
    """What a client may do; a greater one may do all that a smaller one may."""

    READONLY = 1
    """Read data."""
    APPLICATION = 2
    """Read and write data."""
    ADMIN = 3
    """Anything: settle conflicts, delete everything, stop the daemon."""


_USERS = {
    b"readonly": Role.READONLY,
    b"application": Role.APPLICATION,
    b"admin": Role.ADMIN,
}


class Secret:
    """A secret that was given, and where. It shows in no text and no traceback, only by `reveal`.

    Args:
        text: the secret; one newline at its end is left out.
        where: the file or the variable that it comes from, for messages.

    Raises:
        ConfigError: it is empty, too long, or several lines.
    """

    __slots__ = ("_data", "where")

    def __init__(self, text: str | bytes, where: str) -> None:
        data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        data = data.removesuffix(b"\n").removesuffix(b"\r")
        if not data:
            raise ConfigError(f"{where} is empty: write the secret there, or name it nowhere")
        if len(data) > SECRET_BYTES_MAX:
            raise ConfigError(
                f"{where} is longer than {SECRET_BYTES_MAX} bytes: take a shorter one"
            )
        if b"\n" in data or b"\r" in data or b"\0" in data:
            raise ConfigError(f"{where} is more than one line: write the secret alone")
        self._data = data
        self.where = where

    def __repr__(self) -> str:
        return f"<secret of {self.where}>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be copied elsewhere")

    def reveal(self) -> bytes:
        """The secret itself."""
        return self._data


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Where the secrets are.

    Attributes:
        files: by their names, see `SECRETS`; not looked at yet.
        secrets: those that were given directly.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def has_password(self) -> bool:
        """Whether any role has a password."""
        return any(name.endswith("_password") for name in (*self.files, *self.secrets))

    @property
    def has_token(self) -> bool:
        """Whether there is a token for HTTP."""
        return "http_token" in self.files or "http_token" in self.secrets


class Access:
    """Judges who connects. Immutable; for any thread.

    Args:
        passwords: of those roles that have one.
        token: of HTTP, where there is one.
    """

    __slots__ = ("_key", "_passwords", "_token")

    def __init__(
        self, passwords: Mapping[Role, bytes] | None = None, token: bytes | None = None
    ) -> None:
        self._key = os.urandom(32)
        self._passwords = {role: self._hash(one) for role, one in (passwords or {}).items()}
        self._token = None if token is None else self._hash(token)

    def __repr__(self) -> str:
        names = ", ".join(role.name.lower() for role in self._passwords) or "nobody"
        token = "a token" if self.has_token else "no token"
        return f"<Access: passwords of {names}; {token}>"

    @property
    def has_password(self) -> bool:
        """Whether any role has a password."""
        return bool(self._passwords)

    @property
    def has_token(self) -> bool:
        """Whether there is a token for HTTP."""
        return self._token is not None

    @property
    def default_role(self) -> Role | None:
        """What a client is that has not logged in: an admin where there is no password at all,
        else nobody."""
        return None if self._passwords else Role.ADMIN

    def login(self, user: bytes | None, password: bytes) -> Role | None:
        """The role of a client that shows a password, in a time that does not depend on how much of
        it is right.

        Args:
            user: "readonly", "application" or "admin"; None or "default" for whichever role has
                this password.

        Returns:
            None where the password is wrong, the user unknown, or that role has no password.
        """
        shown = self._hash(password)
        found = None
        for role, right in self._passwords.items():
            if hmac.compare_digest(shown, right):
                found = role
        if user is None or user == b"default" or found is _USERS.get(user):
            return found
        return None

    def is_token(self, token: str) -> bool:
        """Whether this is the token of HTTP; False where there is none."""
        shown = self._hash(token.encode(errors="replace"))
        return self._token is not None and hmac.compare_digest(shown, self._token)

    def _hash(self, secret: bytes) -> bytes:
        # A longer one is never right; its length is its sender's own.
        return hmac.digest(self._key, secret[: SECRET_BYTES_MAX + 1], "sha256")


OPEN_ACCESS = Access()
"""Without any password: whoever connects is an admin; and without a token."""


def read_access(config: AccessConfig) -> Access:
    """Read the secrets.

    Raises:
        ConfigError: a file cannot be used, a secret is given twice, or two roles have the same.
    """
    secrets = dict(config.secrets)
    for name, path in config.files.items():
        if name in secrets:
            raise ConfigError(
                f"{secrets[name].where} and {name}_file = {str(path)!r} are both given: keep one"
            )
        secrets[name] = read_secret(path)
    _check_distinct(secrets)
    passwords = {
        role: secrets[f"{user.decode()}_password"].reveal()
        for user, role in _USERS.items()
        if f"{user.decode()}_password" in secrets
    }
    token = secrets.get("http_token")
    if token is not None and not all(0x21 <= byte <= 0x7E for byte in token.reveal()):
        raise ConfigError(
            f"{token.where} must be printable ASCII without spaces, as HTTP sends it: "
            "`openssl rand -hex 32` makes one"
        )
    return Access(passwords, None if token is None else token.reveal())


def read_secret(path: Path) -> Secret:
    """The secret in a file.

    Raises:
        ConfigError: the file is missing, open to others, another user's, or holds no one line.
    """
    try:
        # A pipe would block, and could not be read again on a reload.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read ({reason}): name the right file") from error
    try:
        _check_file(path, os.fstat(descriptor))
        data = os.read(descriptor, SECRET_BYTES_MAX + 3)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    finally:
        os.close(descriptor)
    return Secret(data, str(path))


def _check_file(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is no regular file: write the secret into one")
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"{path} belongs to another user (number {found.st_uid}): chown it to the user of the "
            "daemon"
        )
    if mode & 0o027:
        raise ConfigError(
            f"{path} is open to other users (mode {mode:04o}): chmod 600 it (a Kubernetes secret: "
            "defaultMode 0400, or 0440); if others have seen it, take a new one"
        )


def _check_distinct(secrets: Mapping[str, Secret]) -> None:
    seen: dict[bytes, Secret] = {}
    for secret in secrets.values():
        other = seen.setdefault(secret.reveal(), secret)
        if other is not secret:
            raise ConfigError(
                f"{secret.where} and {other.where} hold the same secret: each role needs its own"
            )
