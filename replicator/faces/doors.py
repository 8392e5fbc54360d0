"""What a daemon listens on for programs and operators, as its configuration says, and what of that
can be read again while it runs: secrets and certificates.
"""

import logging
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from replicator.errors import UsageError
from replicator.faces.access import Access, read_access
from replicator.faces.configuration.config import Config, HttpConfig, RespConfig
from replicator.faces.listening import (
    ServerContext,
    TlsServerFiles,
    UnixListener,
    addresses_of,
    beyond_loopback,
    bound_tcp,
    listen,
    listening_on,
    refuse_strangers,
)
from replicator.net.address import Address

logger = logging.getLogger("replicator")

_OTHERS_MAY_WRITE = 0o002


@dataclass(frozen=True, slots=True)
class Keys:
    """What is read from files of secrets and certificates.

    Attributes:
        access: who may do what.
        resp, http: of connections by TCP; None where they go without TLS.
    """

    access: Access
    resp: ServerContext | None
    http: ServerContext | None


def read_keys(config: Config) -> Keys:
    """Read the files that a configuration names. Blocks.

    Raises:
        ConfigError: one cannot be used.
    """
    return Keys(read_access(config.access), _context(config.resp.tls), _context(config.http.tls))


def _context(files: TlsServerFiles | None) -> ServerContext | None:
    return None if files is None else ServerContext(files)


class Doors:
    """The listening sockets of a daemon beside the one in its data directory. Blocks while it is
    made; for one thread afterwards. Nobody can connect before `open`.

    Args:
        config: says where to listen.

    Attributes:
        keys: as they were read last; the contexts in it are those that connections use.
        resp, http: the sockets of TCP; empty where that is not wanted.
        unix: the further Unix socket, where one is wanted, and open.

    Raises:
        ConfigError, UsageError: it cannot listen like that, or refuses to.
        StorageError: the Unix socket cannot be made.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.keys = read_keys(config)
        self.resp: list[socket.socket] = []
        self.http: list[socket.socket] = []
        self.unix: UnixListener | None = None
        self._resp_at = _addresses(config.resp.listen)
        self._http_at = _addresses(config.http.listen)
        self.refuse(self.keys.access)
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.resp = _bound(config.resp.listen, self._resp_at)
            self.http = _bound(config.http.listen, self._http_at)
            on_failure.pop_all()

    def open(self) -> None:
        """Let clients connect: there is somebody to answer them.

        Raises:
            ConfigError, UsageError, StorageError: as by the class.
        """
        for one in (*self.resp, *self.http):
            listen(one)
        resp = self._config.resp
        if resp.socket is not None:
            self.unix = UnixListener(resp.socket, resp.socket_mode, resp.socket_group)

    @property
    def resp_address(self) -> Address | None:
        """Where programs connect by TCP."""
        return listening_on(self.resp[0]) if self.resp else None

    @property
    def http_address(self) -> Address | None:
        """Where operators connect."""
        return listening_on(self.http[0]) if self.http else None

    def refuse(self, access: Access) -> None:
        """Refuse passwords and a token, or the lack of them, with which strangers could come in.

        Raises:
            UsageError: they could; the message says what is lacking.
        """
        has_password = access.has_password
        refuse_resp(self._config.resp, self._resp_at, has_password=has_password)
        refuse_socket(self._config.resp, has_password=has_password)
        refuse_http(self._config.http, self._http_at, has_token=access.has_token)

    def use(self, keys: Keys) -> None:
        """Let in who comes from now on by these keys; who is in stays in.

        Args:
            keys: read anew, of the same configuration but for names of files.
        """
        ours = self.keys
        for context, new in ((ours.resp, keys.resp), (ours.http, keys.http)):
            if context is not None and new is not None:
                context.use(new)
        self.keys = Keys(keys.access, ours.resp, ours.http)

    def warn(self) -> None:
        """Log what was allowed although strangers can come in."""
        for section, config, addresses, has_secret in (
            ("resp", self._config.resp, self._resp_at, self.keys.access.has_password),
            ("http", self._config.http, self._http_at, self.keys.access.has_token),
        ):
            strangers = beyond_loopback(addresses)
            if strangers and not (_has_tls(config) and has_secret):
                logger.warning(
                    "[%s] listens on %s without %s: whoever reaches that address can do "
                    "everything; keep it within a network you trust",
                    section,
                    ", ".join(strangers),
                    "TLS" if has_secret else "a secret" if _has_tls(config) else "TLS or a secret",
                )

    def close(self) -> None:
        """Stop listening. Idempotent."""
        for one in (*self.resp, *self.http):
            one.close()
        if self.unix is not None:
            self.unix.close()


def refuse_resp(config: RespConfig, addresses: list[str], *, has_password: bool) -> None:
    """Refuse to let programs in by TCP where strangers could come in.

    Raises:
        UsageError: see `refuse_strangers`.
    """
    refuse_strangers(
        addresses,
        "resp",
        has_tls=config.tls is not None,
        has_secret=has_password,
        insecure=config.insecure,
    )


def refuse_http(config: HttpConfig, addresses: list[str], *, has_token: bool) -> None:
    """Refuse to let operators in where strangers could come in.

    Raises:
        UsageError: see `refuse_strangers`.
    """
    refuse_strangers(
        addresses,
        "http",
        has_tls=config.tls is not None,
        has_secret=has_token,
        insecure=config.insecure,
    )


def refuse_socket(config: RespConfig, *, has_password: bool) -> None:
    """Refuse to open the further Unix socket to every user of the machine without a password.

    Raises:
        UsageError: that was asked for.
    """
    is_for_all = config.socket is not None and config.socket_mode & _OTHERS_MAY_WRITE
    if is_for_all and not has_password and not config.insecure:
        raise UsageError(
            f"[resp] refuses to open {config.socket} to every user (socket_mode "
            f"{config.socket_mode:04o}) without a password: give admin_password_file under "
            '[access], or a mode such as "0660" and a socket_group; or say insecure = true'
        )


def _has_tls(config: RespConfig | HttpConfig) -> bool:
    return config.tls is not None


def _addresses(listen: Address | None) -> list[str]:
    return [] if listen is None else addresses_of(listen.host)


def _bound(address: Address | None, addresses: list[str]) -> list[socket.socket]:
    return [] if address is None else bound_tcp(address, addresses)
