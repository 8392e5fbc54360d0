"""Where the daemon listens for programs and operators: addresses, TLS, sockets, and who it refuses.

Whoever connects may do what its password allows. So beyond loopback there is no listening without
TLS, which keeps passwords from being read on the way, and a password, unless a person says that
nobody else can reach that network.
"""

import errno
import grp
import ipaddress
import os
import re
import socket
import ssl
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicator.config import HOST_DEFAULT
from replicator.errors import ConfigError, StorageError, UsageError
from replicator.faces.redis.limits import RESP_BACKLOG
from replicator.net.address import Address, parse_address
from replicator.net.listen import refusal

UNIX_PATH_BYTES_MAX = 107
"""What the address of a Unix socket holds."""

_PORT_ALONE = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class TlsServerFiles:
    """Files of a server that speaks TLS, each PEM.

    Attributes:
        certificate: its own, those between it and the CA behind it.
        key: of it, without a password, and closed to other users.
        client_ca: certificates of the CAs of which clients must show a certificate; None asks for
            none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


def parse_listen(text: str) -> Address:
    """The address that ``[HOST:]PORT`` writes; a port alone is one of loopback, 0 a free one.

    Raises:
        ConfigError: it writes none; the message says what to write.
    """
    alone = _PORT_ALONE.fullmatch(text)
    return parse_address(f"{HOST_DEFAULT}:{text}" if alone else text, listening=True)


def addresses_of(host: str) -> list[str]:
    """The IP addresses of a host. Blocks where it is a name.

    Raises:
        ConfigError: the name does not resolve.
    """
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"cannot listen on {host!r}: the name does not resolve ({reason})"
        ) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def beyond_loopback(addresses: Iterable[str]) -> list[str]:
    """Those of some IP addresses at which others than this machine may connect."""
    return [
        text for text in addresses if not ipaddress.ip_address(text.partition("%")[0]).is_loopback
    ]


def refuse_strangers(
    addresses: Iterable[str], section: str, *, has_tls: bool, has_secret: bool, insecure: bool
) -> None:
    """Refuse to listen where others than this machine may connect, without TLS and a secret.

    Args:
        addresses: where to listen.
        section: "resp" or "http", for the message.
        has_secret: whether whoever connects has to show a password; for HTTP, a token.
        insecure: whether a person has said that nobody else can reach that network.

    Raises:
        UsageError: it is refused; the message says what is lacking.
    """
    strangers = beyond_loopback(addresses)
    if not strangers or insecure or (has_tls and has_secret):
        return
    lacking = []
    if not has_tls:
        lacking.append(f"TLS (certificate and key under [{section}])")
    if not has_secret:
        name = "http_token" if section == "http" else "admin_password"
        lacking.append(
            f"a {name.partition('_')[2]} ({name}_file under [access], or the environment variable "
            f"REPLICATOR_ACCESS_{name.upper()})"
        )
    raise UsageError(
        f"[{section}] refuses to listen on {', '.join(strangers)} without {' and '.join(lacking)}: "
        "whoever reaches it could do everything. Give what is lacking, or say --insecure "
        f"(insecure = true under [{section}]) where nobody else can reach that network"
    )


class ServerContext(ssl.SSLContext):
    """A server's side of TLS, version 1.2 or newer, whose files can be read again: connections made
    from then on use the new ones, those that are open go on.

    Args:
        files: read at once.

    Raises:
        ConfigError: a file is missing, garbage, open to others, or does not fit the others.
    """

    def __new__(cls, files: TlsServerFiles) -> "ServerContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, files: TlsServerFiles) -> None:
        self._current = _prepared(files)

    def use(self, other: "ServerContext") -> None:
        """Serve connections made from now on as another one does."""
        self._current = other._current

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`, with the files last read."""
        return self._current.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As `ssl.SSLContext.wrap_socket`, with the files last read."""
        return self._current.wrap_socket(*args, **kwargs)


def _prepared(files: TlsServerFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    _check_key(files.key)
    for path in (files.certificate, files.client_ca):
        if path is not None:
            _check_readable(path)
    try:
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ConfigError(
            f"{files.certificate} with {files.key} cannot be used ({error}): name a "
            "certificate and its key, both PEM, the key without a password"
        ) from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{files.client_ca} cannot be used ({error}): name certificates of a CA, PEM"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(path: Path) -> os.stat_result:
    try:
        with path.open("rb"):
            return path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read ({reason}): name the right file") from error


def _check_key(path: Path) -> None:
    mode = stat.S_IMODE(_check_readable(path).st_mode)
    if mode & 0o027:
        raise ConfigError(
            f"{path} is open to other users (mode {mode:04o}): chmod 600 it (a Kubernetes secret: "
            "defaultMode 0400, or 0440); if others have seen it, have a new one issued"
        )


def bound_tcp(address: Address, addresses: Iterable[str]) -> list[socket.socket]:
    """Take some IP addresses, all with the same port; nobody can connect before the sockets listen.
    They do not block.

    Args:
        address: the port; 0 takes a free one. Its host is for messages.
        addresses: see `addresses_of`; those that this machine has not are left out where it has
            others of them.

    Raises:
        ConfigError: the machine has none of them.
        UsageError: the port is in use or not allowed.
    """
    sockets: list[socket.socket] = []
    port = address.port
    missing: OSError | None = None
    try:
        for numeric in addresses:
            try:
                sockets.append(_bound(numeric, port))
                port = sockets[0].getsockname()[1]
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise refusal(Address(numeric, port), error) from error
                missing = error
        if not sockets:
            raise ConfigError(
                f"cannot listen on {address.host!r}: it is no address of this machine; take one of "
                "its own, 127.0.0.1 for this machine alone, or 0.0.0.0 for all of its networks"
            ) from missing
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets


def listen(bound: socket.socket) -> None:
    """Let clients connect.

    Raises:
        UsageError: another program was quicker.
    """
    try:
        bound.listen(RESP_BACKLOG)
    except OSError as error:
        raise refusal(listening_on(bound), error) from error


def _bound(numeric: str, port: int) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(
        numeric, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(where)
    except BaseException:
        one.close()
        raise
    one.setblocking(False)
    return one


def listening_on(listener: socket.socket) -> Address:
    """Where a TCP listener listens."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


class UnixListener:
    """A Unix socket at a path that people choose, for programs of other users.

    What a killed daemon left there is replaced. Nobody can connect before mode and group are set.

    Args:
        path: of it; its directory must be there.
        mode: who may connect, as of a file: those that may write.
        group: its name or number; None leaves the process's own.

    Attributes:
        socket: listens, and does not block.

    Raises:
        ConfigError: the path is too long, or there is no such group.
        UsageError: another program listens there, or something else than a socket is there.
        StorageError: it cannot be made.
    """

    def __init__(self, path: Path, mode: int, group: str | None = None) -> None:
        self.path = path
        if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
            raise ConfigError(
                f"{path} is longer than the {UNIX_PATH_BYTES_MAX} bytes that a socket's path may "
                "have: choose a shorter one"
            )
        number = None if group is None else group_number(group)
        _make_room(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._identity: tuple[int, int] | None = None
        try:
            self.socket.bind(str(path))
            self._identity = _identity_of(path)
            if number is not None:
                os.chown(path, -1, number)
            path.chmod(mode)
            self.socket.listen(RESP_BACKLOG)
            self.socket.setblocking(False)
        except OSError as error:
            self.close()
            advice = ""
            if error.errno == errno.EPERM and group is not None:
                advice = f": only a member of the group {group} can give it a socket"
            raise StorageError(f"{path}: {error.strerror}{advice}") from error

    def close(self) -> None:
        """Stop listening, and remove what is at the path, if it is still this one. Idempotent."""
        self.socket.close()
        if self._identity is not None and _identity_of(self.path) == self._identity:
            with suppress(OSError):
                self.path.unlink()
        self._identity = None


def group_number(group: str) -> int:
    """The number of a group.

    Raises:
        ConfigError: there is no such group.
    """
    if re.fullmatch(r"[0-9]{1,9}", group):
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"there is no group {group!r} on this machine: name one that there is, or its number"
        ) from error


def _make_room(path: Path) -> None:
    """Remove a socket that nobody listens on any more."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"{path}: {reason}") from error
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is there, and no socket: choose another path, or move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            pass  # left by a program that is gone
        except OSError as error:
            # Full (EAGAIN), of another kind (EPROTOTYPE), or closed to us: somebody else's.
            raise UsageError(
                f"{path} is another program's ({error.strerror}): choose another path"
            ) from error
        else:
            raise UsageError(f"another program listens on {path}: stop it, or choose another path")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
